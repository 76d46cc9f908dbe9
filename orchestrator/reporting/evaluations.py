"""What a report says of predictions: every set's accuracy and calibration, classes that gain and lose, who agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from orchestrator.evaluation.comparison import Comparison, mcnemar, paired_interval, seeds_needed
from orchestrator.evaluation.metrics import agreement, class_accuracies, error_overlap, predicted
from orchestrator.planning.plan import Plan
from orchestrator.reporting.formatting import varied_settings
from orchestrator.reporting.tables import point_columns, point_name
from orchestrator.storage.predictions import Predictions, read_metrics, read_predictions
from orchestrator.storage.store import Store
from trainables.direction import REAL, SYNTHETIC
from trainables.evaluation.prediction_spec import PredictionSpec
from trainables.spec import TrainingSpec

VALIDATION = "validation"
TOP1_BY_SET = "Top-1 in percent after the last epoch, mean over seeds, of the classes that a set has."
CALIBRATION = "Calibration error (15 bins, percent) and negative log-likelihood (nats) are of the validation images."
BY_CLASS = "Percent of a class's validation images that are right, mean over seeds; the greatest losses and gains."
SHOWN_CLASSES = 5
"""Classes that gain and that lose, each."""


@dataclass(frozen=True)
class Evaluations:
    """What was predicted.

    Attributes:
        rows: a row for each trial and set: the trial's point, seed and fingerprint, the set, and its measures.
        table: a row for each point, for readers: top-1 on each set, then the calibration on validation images.
        classes: a row for each class that gains or loses most from the real to the synthetic base.
        sentences: how the two bases compare, and what was left out.
    """

    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    classes: pd.DataFrame = field(default_factory=pd.DataFrame)
    sentences: tuple[str, ...] = ()

    def further(self) -> dict[str, dict[str, float]]:
        """Top-1 on sets other than the validation images, by the training's fingerprint and the set's name."""
        found: dict[str, dict[str, float]] = {}
        for row in self.rows.to_dict("records"):
            if row["set"] != VALIDATION:
                found.setdefault(str(row["fingerprint"]), {})[str(row["set"])] = float(row["top1"])
        return found


def evaluations_of(plan: Plan, store: Store, trials: pd.DataFrame) -> Evaluations:
    """Gathers what the store has of a plan's predictions.

    Args:
        plan: the study's plan.
        store: where predictions are.
        trials: as `results.trial_table`.
    """
    told = _predictions_of(plan, store)
    if not told:
        return Evaluations()
    measures = pd.DataFrame(
        [
            {"fingerprint": spec.training.fingerprint, "set": _name(spec, plan), **read_metrics(store, spec)}
            for spec in told
        ]
    )
    points = [name for name in point_columns(trials) if name != "variant"]
    rows = trials[[*points, "seed", "fingerprint"]].merge(measures, on="fingerprint")
    classes, sentences = _bases(plan, store, told)
    broken = int(rows["broken"].sum())
    if broken:
        sentences.append(f"{broken:,} predictions are not numbers and count as wrong.")
    return Evaluations(rows, _table(rows, points, trials), classes, tuple(sentences))


def _predictions_of(plan: Plan, store: Store) -> list[PredictionSpec]:
    """Those that the plan asks for and those of the validation images that come with a training, if they are there."""
    asked = [spec for spec in plan.artifacts if isinstance(spec, PredictionSpec)]
    free = [PredictionSpec(training=spec, images=spec.validation) for spec in plan.trials]
    known = {spec.fingerprint: spec for spec in (*free, *asked)}
    return [spec for spec in known.values() if store.has(spec)]


def _name(spec: PredictionSpec, plan: Plan) -> str:
    is_own = spec.images.fingerprint == spec.training.validation.fingerprint
    return VALIDATION if is_own else spec.images.title


def _table(rows: pd.DataFrame, points: Sequence[str], trials: pd.DataFrame) -> pd.DataFrame:
    keys = [*points, "set"]
    means = rows.groupby(keys, sort=False, dropna=False)[["top1", "ece", "nll"]].mean().reset_index()
    settings = varied_settings(trials)
    shown: dict[str, dict[str, str]] = {}
    for row in means.to_dict("records"):
        cells = shown.setdefault(point_name(row, settings), {})
        cells[str(row["set"])] = f"{row['top1']:.1f}"
        if row["set"] == VALIDATION:
            cells |= {"calibration error": f"{row['ece']:.1f}", "negative log-likelihood": f"{row['nll']:.3f}"}
    table = pd.DataFrame([{"trained": name, **cells} for name, cells in shown.items()]).fillna("")
    last = [name for name in ("calibration error", "negative log-likelihood") if name in table]
    return table[[*(name for name in table.columns if name not in last), *last]]


def _bases(plan: Plan, store: Store, told: Sequence[PredictionSpec]) -> tuple[pd.DataFrame, list[str]]:
    """The classes between the two bases, and how these compare on the validation images."""
    free = {spec.training.fingerprint: spec for spec in told if _name(spec, plan) == VALIDATION}
    pairs = [pair for pair in _base_pairs(plan) if all(spec.fingerprint in free for spec in pair)]
    if not pairs:
        return pd.DataFrame(), []
    read = [[read_predictions(store, free[spec.fingerprint]) for spec in pair] for pair in pairs]
    chosen = [[predicted(one.logits, one.shared) for one in pair] for pair in read]
    labels = read[0][0].labels
    right = [np.stack([pair[side] == labels for pair in chosen]) for side in (0, 1)]
    names = plan.trials[0].train.class_names
    by_class = [
        np.mean([class_accuracies(pair[side], labels, len(names)) for pair in chosen], axis=0) for side in (0, 1)
    ]
    compared = _comparison(right, chosen[0], labels)
    sentences = [compared.sentence(REAL, SYNTHETIC)]
    if len(pairs) > 1:
        deviation = float(np.std([100 * (b.mean() - a.mean()) for a, b in zip(*right, strict=True)], ddof=1))
        needed = seeds_needed(1.0, deviation)
        count = "more than 1,000 seeds" if needed is None else f"{needed} seeds"
        sentences.append(f"A difference of 1 point between them would need {count} to be found in 4 of 5 cases.")
    return _classes(by_class, names, read[0][0]), sentences


def _base_pairs(plan: Plan) -> list[tuple[TrainingSpec, TrainingSpec]]:
    """For each seed the first trainings from scratch on all real and on all synthetic images."""
    found: dict[int, dict[str, TrainingSpec]] = {}
    for trial in plan.grid:
        spec = trial.spec
        if spec.source is None and spec.fraction == 1 and spec.train.name in (REAL, SYNTHETIC):
            found.setdefault(trial.seed, {}).setdefault(spec.train.name, spec)
    return [(both[REAL], both[SYNTHETIC]) for both in found.values() if len(both) == 2]


def _comparison(right: Sequence[np.ndarray], first: Sequence[np.ndarray], labels: np.ndarray) -> Comparison:
    low, high = paired_interval(right[0], right[1])
    return Comparison(
        difference=100 * float(right[1].mean() - right[0].mean()),
        low=low,
        high=high,
        p=mcnemar(right[0][0], right[1][0]),
        images=len(labels),
        seeds=len(right[0]),
        agreement=agreement(first[0], first[1]),
        overlap=error_overlap(first[0], first[1], labels),
    )


def _classes(by_class: Sequence[np.ndarray], names: Sequence[str], of: Predictions) -> pd.DataFrame:
    """The classes that lose and gain most, the greatest loss first."""
    change = by_class[1] - by_class[0]
    order = [place for place in np.argsort(change, kind="stable") if not np.isnan(change[place])]
    shown = order if len(order) <= 2 * SHOWN_CLASSES else [*order[:SHOWN_CLASSES], *order[-SHOWN_CLASSES:]]
    images = np.bincount(of.labels, minlength=len(names))
    return pd.DataFrame(
        [
            {
                "class": names[place],
                "trained on real": f"{by_class[0][place]:.1f}",
                "on synthetic": f"{by_class[1][place]:.1f}",
                "change": f"{change[place]:+.1f}",
                "images": int(images[place]),
            }
            for place in shown
        ]
    )
