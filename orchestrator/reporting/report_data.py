"""What a report says of a study, in words and numbers: the verdict, the paper's table, claims, cost, what is open."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from datagen.core.identity import fingerprint_of
from datagen.datasets.shards import read_manifest
from datagen.datasets.spec import DatasetSpec
from datagen.datasets.virtual import stored_parts
from orchestrator.claims import checks as claim_checks
from orchestrator.claims.statistics import LAST_EPOCHS, SIGNIFICANCE, interval_name
from orchestrator.planning.plan import Plan
from orchestrator.reporting.evaluations import Evaluations, evaluations_of
from orchestrator.reporting.formatting import varied_settings
from orchestrator.reporting.measures import Measured, measures_of
from orchestrator.reporting.tables import (
    BATCH_MEANS,
    DEVIATION_RULE,
    last_epochs_words,
    point_name,
    point_table,
    trial_table,
    with_published,
)
from orchestrator.reporting.verdict import verdict
from orchestrator.storage.store import Store, StoredModel
from trainables.direction import REAL
from trainables.spec import TrainingSpec

SEEDS_OF = {
    "training": " of the training, on one set of images",
    "images": " of the images, with one of the training",
    "both": " of images and training",
}
"""What the seeds of a study are of, by its `vary`."""
PACKAGES = ("torch", "ray", "diffusers", "timm", "scipy")


@dataclass(frozen=True)
class Cost:
    """What a study has cost, its bases included.

    Attributes:
        trainings: how many.
        training: their seconds by the clock, shared among the trials of a cohort.
        generation: seconds to make its data sets, 0 where not recorded.
        usage: cpu_seconds, gpu_seconds and energy_wh of the trainings, as far as they were measured.
    """

    trainings: int
    training: float
    generation: float
    usage: Mapping[str, float]

    def sentence(self) -> str:
        """In words."""
        parts = [f"{self.trainings} trainings in {hours(self.training)} of one worker"]
        if "gpu_seconds" in self.usage:
            parts.append(f"{hours(self.usage['gpu_seconds'])} of a GPU")
        if "cpu_seconds" in self.usage:
            parts.append(f"{hours(self.usage['cpu_seconds'])} of a CPU core")
        if self.generation:
            parts.append(f"{hours(self.generation)} to make the images")
        energy = self.usage.get("energy_wh")
        parts.append("energy was not measured" if energy is None else f"{energy / 1000:.3g} kWh of GPUs")
        return "; ".join(parts) + "."


@dataclass(frozen=True)
class ReportData:
    """All that a report shows.

    Attributes:
        plan: the study's plan.
        trials: as `results.trial_table`.
        points: as `results.point_table`, with the papers' values where they are comparable.
        sentences: the outcome in plain words.
        spread: what ± means in the table.
        whiskers: what the figure's bars show.
        outcomes: the papers' claims, checked.
        open: what is missing or has failed, a sentence each.
        notes: how to read the numbers, a sentence each.
        cost: so far.
        evaluations: what the networks predict.
        measured: measures of the synthetic sets.
    """

    plan: Plan
    trials: pd.DataFrame
    points: pd.DataFrame
    sentences: list[str]
    spread: str
    whiskers: str
    outcomes: list[claim_checks.Outcome]
    open: list[str]
    notes: list[str]
    cost: Cost
    evaluations: Evaluations
    measured: Measured

    @property
    def verdict(self) -> str:
        """The outcome as one paragraph."""
        return " ".join(self.sentences)

    @property
    def title(self) -> str:
        """Study and scale."""
        return f"{self.plan.study.name}, scale {self.plan.scale.name}"

    @property
    def about_scale(self) -> str:
        """What the scale is, and whether its numbers say anything about the papers'."""
        scale = self.plan.scale
        told = f"Scale {scale.name}: {scale.summary} Numbers of different scales are not comparable."
        return told if scale.published else f"{told} {NO_EVIDENCE}"


NO_EVIDENCE = (
    "This is not a scale of the papers: it shows that the machinery works, and is no evidence about the papers."
)


def gather(plan: Plan, store: Store | None, models: Mapping[str, StoredModel]) -> ReportData:
    """Computes everything that a report says.

    Args:
        plan: the study's plan.
        store: where bases and data sets are, for the cost; None if only `models` are at hand.
        models: the finished trainings, by fingerprint.
    """
    trials = trial_table(plan, models)
    points = with_published(point_table(trials), plan.study.published, plan.scale.published)
    seeds = int(points["seeds"].max()) if len(points) else 0
    several, last_epochs = seeds > 1, last_epochs_words(trials)
    varied = SEEDS_OF[plan.study.vary]
    whiskers = interval_name(seeds, varied) if several else f"standard deviation over {last_epochs} of one run"
    spread = f"± standard deviation over {seeds} seeds{varied}" if several else f"± {whiskers}"
    if not several and points["top1_std_epochs"].isna().all():
        spread = whiskers = "spread of one run of one epoch, which has none"
    outcomes = claim_checks.evaluate(plan.study.claims, trials, plan.scale.published)
    unfinished = _open(trials)
    sentences = verdict(points, plan, seeds, outcomes)
    if unfinished:
        sentences.append(unfinished[0])
    return ReportData(
        plan=plan,
        trials=trials,
        points=points,
        sentences=sentences if points["top1_mean"].notna().any() else ["Too few trials are done for a verdict."],
        spread=spread,
        whiskers=whiskers,
        outcomes=outcomes,
        open=unfinished,
        notes=_notes(plan, points, seeds, last_epochs),
        cost=_cost(plan, store, models),
        evaluations=evaluations_of(plan, store, trials) if store is not None else Evaluations(),
        measured=measures_of(plan, store, trials) if store is not None else Measured(),
    )


def hours(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


def _open(trials: pd.DataFrame) -> list[str]:
    """What is missing or failed: a summary, then each failed trial with its reason."""
    missing, failed = trials[trials["status"] == "missing"], trials[trials["status"] == "failed"]
    if missing.empty and failed.empty:
        return []
    settings = varied_settings(trials)
    summary = f"Of {len(trials)} trials {len(missing)} are missing and {len(failed)} failed."
    reasons = [f"Failed: {_trial(row, settings)}: {row['failure']}" for row in failed.to_dict("records")]
    names = [_trial(row, settings) for row in missing.head(20).to_dict("records")]
    more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
    return [summary, *reasons, *([f"Missing: {', '.join(names)}{more}."] if names else [])]


def _trial(row: Mapping[Any, Any], settings: list[str]) -> str:
    return f"{point_name(row, settings)} s{row['seed']}"


def _notes(plan: Plan, points: pd.DataFrame, seeds: int, last_epochs: str) -> list[str]:
    spread = points["top1_std_epochs"].dropna()
    notes = [f"Accuracies are on real validation images in percent, means over {last_epochs}."]
    if (points["frozen_layers"] > 0).any():
        notes.append(
            "1-N: the first N layers are those of the network trained on the images named before the arrow, and are "
            "frozen; the rest is trained on those after it."
        )
    if seeds > 1:
        notes += [
            f"± is the sample standard deviation over seeds{SEEDS_OF[plan.study.vary]}; brackets are the "
            f"{interval_name(seeds)}. Differences are from the training from scratch on all images of the same kind "
            "(its own: from real images), by a paired t test over seeds, with Holm's correction over the table at "
            f"{SIGNIFICANCE:.0%}.",
        ]
    if len(spread):
        notes.append(
            f"The papers' ± is the standard deviation over the last {LAST_EPOCHS} epochs of one run; here, that of a "
            f"population over {last_epochs}, it is {spread.median():.1f} points in the median. It says nothing about "
            "seeds."
        )
    if "published_top1" in points:
        notes += [DEVIATION_RULE, BATCH_MEANS]
    if plan.study.figure.kind == "effects":
        notes.append(
            "The figure's values are means over those settings at which every value of the axis was measured; a value "
            "with less than half of them is left out."
        )
    if plan.study.claims:
        notes.append(claim_checks.RULE)
    notes += plan.repetitions
    if plan.overridden:
        notes.append(f"Settings given in place of the study's and the scale's own: {', '.join(plan.overridden)}.")
    return notes


def _cost(plan: Plan, store: Store | None, models: Mapping[str, StoredModel]) -> Cost:
    found, generation = dict(models), 0.0
    for spec in plan.artifacts:
        if store is None:
            break
        if isinstance(spec, TrainingSpec):
            if spec.fingerprint not in found and store.has(spec):
                found[spec.fingerprint] = store.read_model(spec)
        elif isinstance(spec, DatasetSpec) and store.has(spec):
            generation += float(read_manifest(store.folder(spec)).description.get("seconds", 0))
    measured = {key for model in found.values() for key in model.usage}
    return Cost(
        trainings=len(found),
        training=sum(row["seconds"] for model in found.values() for row in model.history),
        generation=generation,
        usage={key: sum(model.usage.get(key, 0.0) for model in found.values()) for key in sorted(measured)},
    )


def versions() -> str:
    """The versions that matter to a result."""
    known = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return f"{', '.join(known)}, Python {platform.python_version()}"


def fingerprints(plan: Plan) -> dict[str, str]:
    """What identifies the results: all trials together, each data set and each base, name to fingerprint."""
    found = {f"all {len(plan.trials)} trainings": fingerprint_of([spec.fingerprint for spec in plan.trials])}
    sets = [spec for spec in plan.artifacts if isinstance(spec, DatasetSpec)]
    found |= {f"data set {spec.title}, {spec.images} images": spec.fingerprint for spec in sets}
    bases = {spec.source.fingerprint: spec.source for spec in plan.trials if spec.source}
    return found | {f"base {spec.title}": fingerprint for fingerprint, spec in bases.items()}


def training_sets(plan: Plan) -> list[DatasetSpec]:
    """The data sets that are trained on, each once, parts of those put together in their place; the real one first."""
    found: dict[str, DatasetSpec] = {}
    for spec in plan.trials:
        for train in (spec.train, *([spec.source.train] if spec.source else [])):
            for part in stored_parts(train):
                found.setdefault(part.fingerprint, part)
    return sorted(found.values(), key=lambda part: part.name != REAL)
