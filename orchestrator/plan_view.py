"""Shows a plan before anything runs: as a table, or as one JSON document."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from datagen.spec import RealDataset
from orchestrator.plan import Plan, Spec
from orchestrator.progress import duration
from orchestrator.study import load_study, study_names
from trainables.spec import TrainingSpec


def show_studies(console: Console) -> None:
    """Lists the studies with their questions."""
    for name in study_names():
        console.print(f"[bold]{name}[/bold]\n    {load_study(name).question}", highlight=False)
    console.print("\nRun one: python -m orchestrator.sweep STUDY   See what it would do: ... STUDY --plan")


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as plain values: study, scale, seconds, artifacts (needed before needing), trials.

    An artifact's action is "run", "reuse", or "import" if only the user can provide it; `needs` are the fingerprints of
    what it is made from. `lacking` says what the user must provide first.
    """
    return {
        "study": plan.study.name,
        "scale": plan.scale.name,
        "seconds": round(plan.seconds(), 1),
        "seconds_without_sharing": round(plan.seconds_alone(), 1),
        "lacking": list(plan.lacking),
        "artifacts": [_artifact(plan, spec) for spec in plan.artifacts],
        "trials": [
            {
                "title": spec.title,
                "fingerprint": spec.fingerprint,
                "action": _action(plan, spec),
                "direction": spec.direction,
                "frozen_layers": spec.frozen_layers,
                "fraction": spec.fraction,
                "seed": spec.seed,
            }
            for spec in plan.trials
        ],
    }


def _artifact(plan: Plan, spec: Spec) -> dict[str, Any]:
    needs: list[Spec] = []
    if isinstance(spec, TrainingSpec):
        needs = [spec.train, spec.validation, *([spec.source] if spec.source else [])]
    return {
        "kind": "model" if isinstance(spec, TrainingSpec) else "dataset",
        "title": spec.title if isinstance(spec, TrainingSpec) else _dataset_title(spec),
        "fingerprint": spec.fingerprint,
        "action": _action(plan, spec),
        "needs": [needed.fingerprint for needed in needs],
    }


def _dataset_title(spec: Spec) -> str:
    assert not isinstance(spec, TrainingSpec)
    return f"{spec.images} {spec.name} images" + (" (imported)" if isinstance(spec, RealDataset) else "")


def _action(plan: Plan, spec: Spec) -> str:
    if spec.fingerprint in plan.existing:
        return "reuse"
    return "import" if isinstance(spec, RealDataset) else "run"


def show_plan(plan: Plan, slots: int, console: Console) -> None:
    """Prints every artifact with its action, and what the missing ones are estimated to cost."""
    trials = {spec.fingerprint for spec in plan.trials}
    table = Table(box=None, pad_edge=False)
    for heading in ("artifact", "action", "fingerprint"):
        table.add_column(heading)
    for spec in plan.artifacts:
        title = f"trial {spec.title}" if isinstance(spec, TrainingSpec) else f"data set, {_dataset_title(spec)}"
        if isinstance(spec, TrainingSpec) and spec.fingerprint not in trials:
            title = f"base {spec.title}"
        table.add_row(title, _action(plan, spec), spec.fingerprint[:12])
    console.print(table)
    missing = len([spec for spec in plan.trials if spec.fingerprint not in plan.existing])
    seconds, alone, rates = plan.seconds(), plan.seconds_alone(), plan.scale.rates
    console.print(
        f"\n{plan.study.name} on scale {plan.scale.name}: {len(plan.trials)} trials, "
        f"{len(plan.trials) - missing} to reuse, {missing} to run.",
        highlight=False,
    )
    for sentence in plan.lacking:
        console.print(f"Missing: {sentence}", style="yellow", highlight=False)
    if missing:
        wall = seconds / slots + rates.startup
        console.print(
            f"Estimated {duration(wall)} on {slots} workers ({duration(seconds)} of work, by rates measured on "
            f"{rates.machine}); without shared trunks the work would be {duration(alone)}.",
            highlight=False,
        )
