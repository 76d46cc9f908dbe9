"""A study's results as tables: one row per trial and seed, and one row per point of the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.plan import Plan
from orchestrator.store import Store, StoredModel

LAST_EPOCHS = 5
"""Both papers report mean and standard deviation over the last 5 epochs of a run (Mind the Gap, section 4.1)."""
METRICS = ("top1", "top5", "train_loss")
POINT = ("direction", "pretrained_on", "trained_on", "frozen_layers", "fraction")
PUBLISHED = Path(__file__).parent.parent / "experiments" / "published_results.csv"


def finished_models(plan: Plan, store: Store) -> dict[str, StoredModel]:
    """The published trainings among a plan's trials, by fingerprint."""
    return {spec.fingerprint: store.read_model(spec) for spec in plan.trials if store.has(spec)}


def trial_table(plan: Plan, models: Mapping[str, StoredModel]) -> pd.DataFrame:
    """One row per trial and seed, in the plan's order.

    Columns: study, scale, the axes, seed, `<metric>_mean` and `<metric>_std` over the last 5 epochs (percent for
    accuracies; NaN where there is no result), epochs, seconds, status ("done", "failed", "missing") and fingerprint.
    """
    rows = []
    for spec in plan.trials:
        model = models.get(spec.fingerprint)
        history = model.history if model else []
        status = "missing" if model is None else "failed" if model.failure else "done"
        rows.append(
            {
                "study": plan.study.name,
                "scale": plan.scale.name,
                "direction": spec.direction,
                "pretrained_on": spec.source.train.name if spec.source else "",
                "trained_on": spec.train.name,
                "frozen_layers": spec.frozen_layers,
                "fraction": spec.fraction,
                "seed": spec.seed,
                **_last_epochs(history if status == "done" else []),
                "epochs": len(history),
                "seconds": round(sum(row["seconds"] for row in history), 3),
                "status": status,
                "fingerprint": spec.fingerprint,
            }
        )
    return pd.DataFrame(rows)


def _last_epochs(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean and population standard deviation of each metric over the last epochs; NaN of an empty history."""
    summary = {}
    for metric in METRICS:
        values = np.array([row[metric] for row in history[-LAST_EPOCHS:]])
        summary[f"{metric}_mean"] = float(values.mean()) if len(values) else float("nan")
        summary[f"{metric}_std"] = float(values.std()) if len(values) else float("nan")
    return summary


def point_table(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per point of the grid, over its seeds, in the order of the trials.

    With one seed, `<metric>_std` is that of the last 5 epochs of the run, as in the papers; with more it is the sample
    standard deviation over the seeds' means. `seeds` counts the finished ones.
    """
    rows: list[dict[str, Any]] = []
    for point, group in trials.groupby(list(POINT), sort=False, dropna=False):
        done = group[group["status"] == "done"]
        row: dict[str, Any] = dict(zip(POINT, point, strict=True))
        row["seeds"] = len(done)
        for metric in METRICS:
            mean = done[f"{metric}_mean"]
            row[f"{metric}_mean"] = mean.mean()
            row[f"{metric}_std"] = mean.std(ddof=1) if len(done) > 1 else done[f"{metric}_std"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def with_published(points: pd.DataFrame, table: str | None, data_set: str | None) -> pd.DataFrame:
    """Adds `published_top1`, `published_top1_std` and `difference` where the papers have a value for the same data set.

    A scale that is not one of the papers' (`data_set` None) gets no published numbers beside its own.
    """
    if table is None or data_set is None:
        return points
    published = pd.read_csv(PUBLISHED)
    published = published[(published["table"] == table) & (published["dataset"] == data_set)]
    published = published[published["variant"].isna()].fillna({"pretrained_on": ""})
    published = published.rename(
        columns={"train_fraction": "fraction", "top1_mean": "published_top1", "top1_std": "published_top1_std"}
    )
    keys = ["pretrained_on", "trained_on", "frozen_layers", "fraction"]
    published = published[[*keys, "published_top1", "published_top1_std"]].drop_duplicates(keys)
    joined = points.merge(published, on=keys, how="left")
    joined["difference"] = joined["top1_mean"] - joined["published_top1"]
    return joined
