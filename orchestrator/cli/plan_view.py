"""Shows a plan before anything runs: as a table, or as one JSON document."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from datagen.core.device import gpus_here
from datagen.core.wording import counted
from datagen.datasets.spec import DatasetSpec, DerivedDataset, RealDataset
from orchestrator.cli.progress import duration
from orchestrator.planning.catalog import load_study, scale_names, study_names
from orchestrator.planning.cost import CORE_OF_GPU
from orchestrator.planning.downloads import sizes_words
from orchestrator.planning.plan import Plan, Spec, stored_needs
from orchestrator.provisions import GPU_CLASSES
from orchestrator.recipes import recipe_names
from trainables.evaluation.measure_spec import MeasureSpec
from trainables.evaluation.prediction_spec import PredictionSpec
from trainables.spec import TrainingSpec

SHOWN = 60
"""Lines of a plan's table at most."""


def show_studies(console: Console) -> None:
    """Lists the studies with their questions, and the scales and recipes to ask them with."""
    for name in study_names():
        console.print(Text.assemble((name, "bold"), f"\n    {load_study(name).question}"))
    console.print(f"\nScales, --scale NAME: {', '.join(scale_names())}; or a file of yours")
    console.print(f"Recipes of training, recipe=NAME: {', '.join(recipe_names())}; or a file of yours")
    console.print("\nRun one: python -m orchestrator.sweep STUDY   See what it would do: ... STUDY --plan")


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as plain values: study, scale, seconds, artifacts (needed before needing), trials, dropped points.

    An artifact's action is "run", "reuse", or "import" if only the user can provide it; `needs` are the fingerprints of
    what it is made from. `missing` says what the user must provide first; `repetitions`, which points are one training.
    """
    return {
        "study": plan.study.name,
        "scale": plan.scale.name,
        "seconds": round(plan.seconds(), 1),
        "seconds_without_shared_trunks": round(plan.seconds_alone(), 1),
        "seconds_without_sharing": round(plan.seconds_unshared(), 1),
        "missing": list(plan.missing_inputs),
        "dropped": dict(plan.dropped),
        "repetitions": list(plan.repetitions),
        "artifacts": [_artifact(plan, spec) for spec in plan.artifacts],
        "trials": [
            {
                "title": trial.spec.title,
                "fingerprint": trial.spec.fingerprint,
                "action": _action(plan, trial.spec),
                **trial.point,
                "seed": trial.seed,
            }
            for trial in plan.grid
        ],
    }


def _artifact(plan: Plan, spec: Spec) -> dict[str, Any]:
    return {
        "kind": _kind(spec),
        "title": _dataset_title(spec) if isinstance(spec, DatasetSpec) else spec.title,
        "fingerprint": spec.fingerprint,
        "action": _action(plan, spec),
        "needs": [needed.fingerprint for needed in stored_needs(spec)],
    }


def _kind(spec: Spec) -> str:
    if isinstance(spec, PredictionSpec):
        return "predictions"
    if isinstance(spec, MeasureSpec):
        return "measures"
    return "model" if isinstance(spec, TrainingSpec) else "dataset"


def _dataset_title(spec: DatasetSpec) -> str:
    return f"{spec.images} {spec.title} images" + (" (imported)" if isinstance(spec, RealDataset) else "")


def _action(plan: Plan, spec: Spec) -> str:
    if spec.fingerprint in plan.existing:
        return "reuse"
    return "import" if isinstance(spec, RealDataset) else "run"


def show_plan(plan: Plan, slots: int, console: Console) -> None:
    """Prints every artifact with its action (of a large plan the first ones), and what the missing ones will cost."""
    trials = {spec.fingerprint for spec in plan.trials}
    table = Table(box=None, pad_edge=False)
    for heading in ("artifact", "action", "fingerprint"):
        table.add_column(heading)
    listed = [spec for spec in plan.artifacts if not isinstance(spec, PredictionSpec)]
    for spec in listed[:SHOWN]:
        title = f"data set, {_dataset_title(spec)}" if isinstance(spec, DatasetSpec) else f"trial {spec.title}"
        if isinstance(spec, MeasureSpec):
            title = f"measures of {spec.title}"
        if isinstance(spec, TrainingSpec) and spec.fingerprint not in trials:
            title = f"base {spec.title}"
        table.add_row(title, _action(plan, spec), spec.fingerprint[:12])
    for row in _prediction_rows(plan):
        table.add_row(*row)
    console.print(table)
    if len(listed) > SHOWN:
        console.print(f"... and {len(listed) - SHOWN} more; --plan json has them all.")
    console.print(f"\n{plan}")
    if plan.study.search is not None:
        tried = plan.study.search.trials - plan.to_search
        console.print(
            f"A search: {tried} of {plan.study.search.trials} points tried; the others, which this estimate does not "
            "count, are chosen while it runs.",
        )
    for reason, points in plan.dropped.items():
        console.print(f"Dropped {points}: {reason}.")
    for sentence in plan.repetitions:
        console.print(sentence, style="yellow")
    for sentence in plan.missing_inputs:
        console.print(f"Missing: {sentence}", style="yellow")
    if plan.missing():
        console.print(_cost(plan, slots))
        console.print(sizes_words(plan))


def _prediction_rows(plan: Plan) -> list[tuple[str, str, str]]:
    """A row for each set that is evaluated on: of how many trainings, and how much they take."""
    sets: dict[str, list[PredictionSpec]] = {}
    for spec in plan.artifacts:
        if isinstance(spec, PredictionSpec):
            sets.setdefault(spec.images.title, []).append(spec)
    rows = []
    for title, specs in sets.items():
        missing = sum(spec.fingerprint not in plan.existing for spec in specs)
        size = 2 * specs[0].images.images * len(specs[0].training.train.class_names) / 1e6
        action = f"run {missing}" if missing else "reuse"
        rows.append((f"predictions of {len(specs)} trainings on {title}, {size:.2g} MB each", action, ""))
    return rows


def _without_gpu(seconds: float, cores: int) -> str:
    """How long a plan by the rates of an A100 takes elsewhere; all but the A100 are guesses, which is said."""
    cards = [f"{name} {duration(seconds / speed)}" for name, speed in GPU_CLASSES.items()]
    here = duration(seconds / CORE_OF_GPU / cores)
    return f"(no GPU here) for one card of {', '.join(cards)}; for these {cores} cores {here}: guesses"


def _cost(plan: Plan, slots: int) -> str:
    seconds, rates = plan.seconds(), plan.scale.rates
    if rates.device == "GPU" and not (gpus := len(gpus_here())):
        estimate = _without_gpu(seconds, slots)
    else:
        slots = gpus if rates.device == "GPU" else slots
        estimate = f"{duration(seconds / slots + rates.startup)} on {counted(slots, 'worker')}"
    made = [spec for spec in plan.missing() if isinstance(spec, DerivedDataset)]
    by = dict.fromkeys(f" Data sets at the rate of {spec.rate}." for spec in made if spec.rate and rates.made == 1)
    unknown = [f" No rate is known for {spec.title}: not counted." for spec in made if spec.rate is None]
    return (
        f"Estimated {estimate}: {duration(seconds)} of one {rates.device}, by rates measured on {rates.machine}."
        f"{''.join((*by, *dict.fromkeys(unknown)))} Without shared trunks "
        f"{duration(plan.seconds_alone())}; with nothing shared, each trial with a base of its own, "
        f"{duration(plan.seconds_unshared())}."
    )
