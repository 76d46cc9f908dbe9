"""What is written of a training and of its data sets: name, parameters, inputs, numbers."""

from __future__ import annotations

import functools
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.core.identity import Spec, fingerprint_of
from datagen.core.wording import file_safe, share_words
from datagen.datasets.spec import DatasetSpec, DiffusionDataset
from datagen.datasets.summary import stored_summary
from datagen.datasets.virtual import stored_parts
from orchestrator.claims.statistics import LAST_EPOCHS
from orchestrator.planning.plan import Plan
from orchestrator.planning.selection import trial_values
from orchestrator.storage.store import Store
from orchestrator.study import Figure
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput

METRICS = ("top1", "top5", "train_loss", "learning_rate", "seconds")
"""What every epoch has; whatever else is a number is logged too."""
RESULTS = ("top1", "top5", "train_loss")
"""What a report shows of them."""
LONGEST_VALUE = 6000
"""Characters that MLflow takes of a parameter."""
ALWAYS = (
    *("frozen_layers", "fraction", "model", "augmentation", "frozen_batchnorm", "image_size"),
    *("epochs", "batch_size", "learning_rate", "seed"),
)
"""Settings that are parameters of every run, at their default or not."""


def settings_digest(plan: Plan) -> str:
    """The same for sweeps whose grids differ but whose scale is set alike, so that a grid can grow within one run."""
    values = {**plan.scale.generation, **plan.scale.recipe}
    return fingerprint_of({key: str(value) for key, value in values.items()})[:16]


def params(spec: TrainingSpec, plan: Plan) -> dict[str, str]:
    """Everything that decides a training: two runs that look alike are alike.

    Every setting of it that is not at its default, those of the scale's recipe, every axis of the study; as
    "base.<setting>" what its base has otherwise; as "<data set>.<setting>" what the training images of both are.
    """
    own = _settings(spec)
    told = {name for name, value in own.items() if value != _default(spec, name)} | {*ALWAYS, *plan.scale.recipe}
    known = trial_values(spec)
    axes = getattr(plan.study, "axis_names", None) or tuple(plan.study.axes)
    values: dict[str, Any] = {
        "pretrained_on": spec.source.train.name if spec.source else "nothing",
        "trained_on": spec.train.name,
        **{name: own[name] for name in own if name in told},
        **{name: known[name] for name in axes if name in known},
    }
    if spec.source is not None:
        values["base"] = spec.source.fingerprint
        base = _settings(spec.source)
        others = (base.keys() & own.keys()) - {"frozen_layers"}
        values |= {f"base.{name}": base[name] for name in sorted(others) if base[name] != own[name]}
    for part in _all_parts([spec.train, *([spec.source.train] if spec.source else [])]):
        values[f"{part.name}.fingerprint"] = part.fingerprint
        values |= {f"{part.name}.{name}": value for name, value in _settings(part).items() if name != "class_names"}
    return {key: str(value)[:LONGEST_VALUE] for key, value in values.items()}


def _settings(spec: Spec) -> dict[str, Any]:
    """The identity fields but other specs; nested lists, such as the prompts of all classes, stand as their digest."""
    values = {f.name: getattr(spec, f.name) for f in fields(spec) if f.metadata["role"] == "identity"}
    return {
        name: fingerprint_of(value)[:16]
        if isinstance(value, tuple) and value and isinstance(value[0], tuple)
        else value
        for name, value in values.items()
        if not isinstance(value, Spec)
    }


def _default(spec: Spec, name: str) -> Any:
    return next((f.default for f in fields(spec) if f.name == name), MISSING)


def _all_parts(datasets: Iterable[DatasetSpec]) -> list[DatasetSpec]:
    """Data sets and what they are made from, the latter first."""
    return [part for spec in datasets for part in (*_all_parts(spec.made_from), spec)]


def stored_datasets(trials: Iterable[TrainingSpec]) -> list[DatasetSpec]:
    """The stored data sets that trainings use, each once."""
    used = [part for spec in trials for dataset in (spec.train, spec.validation) for part in stored_parts(dataset)]
    return list({spec.fingerprint: spec for spec in used}.values())


def dataset_input(spec: DatasetSpec, store: Store, context: str) -> DatasetInput:
    """A data set as MLflow shows it; `context` is "training" or "evaluation"."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = {"uri": store.folder(spec).absolute().as_uri()}
    if isinstance(spec, DiffusionDataset):
        source["pipeline"] = spec.pipeline
    about = {"images": spec.images, "classes": len(spec.class_names)}
    if folder := store.find(spec):
        about |= summary(folder)
    dataset = Dataset(
        name=spec.title,
        digest=spec.fingerprint[:36],  # MLflow takes no more.
        source_type="local",
        source=json.dumps(source),
        profile=json.dumps(about),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


@functools.lru_cache(maxsize=64)
def summary(folder: Path) -> dict[str, Any]:
    """The summary of the data set in a folder, made or read once."""
    return stored_summary(folder)


def metric_name(key: str) -> str:
    """What a number of an epoch is called in MLflow, which sorts by name: accuracies come first, times last."""
    return key if key in RESULTS else "train_learning_rate" if key == "learning_rate" else f"usage/{key}"


def numbers(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every finite number of an epoch's row but its step, by `metric_name`; those of an inner table as "table/key"."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and math.isfinite(value) and key != "epoch":
            found[metric_name(prefix + key)] = float(value)
    return found


def final_numbers(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What the report says of a training: means over the last epochs, and of top-1 their standard deviation."""
    last = history[-LAST_EPOCHS:]
    found = {f"{key}_mean": statistics.fmean(row[key] for row in last) for key in RESULTS if last}
    if len(last) > 1:
        found["top1_std"] = statistics.pstdev(row["top1"] for row in last)
    return {key: value for key, value in found.items() if math.isfinite(value)}


def run_name(spec: TrainingSpec) -> str:
    """A trial's name with what tells it from its neighbours first, for example "N=16 1/8 synthetic->real s0"."""
    depth = f"N={spec.frozen_layers}" if spec.source else ""
    share = share_words(spec.fraction) if spec.fraction < 1 else ""
    return " ".join(word for word in (depth, share, spec.label, str(spec.direction), f"s{spec.seed}") if word)


def study_curves(points: pd.DataFrame, figure: Figure) -> list[tuple[str, int, float]]:
    """A study's own metrics: top-1 by direction and by the figure's series, as name, step and value.

    The step is the value on the figure's axis where those are whole numbers (N), else the point's place on it, from 1;
    0 for a training that has no place on the axis.
    """
    axis = figure.axis if figure.axis in points else "fraction"
    done = points[points["top1_mean"].notna()]
    values = done[axis].dropna().tolist()
    whole = all(isinstance(value, int | float) and float(value).is_integer() for value in values)
    steps = {value: int(value) if whole else place for place, value in enumerate(dict.fromkeys(values), 1)}
    series = ["direction", *([figure.series] if figure.series in done and figure.series != "direction" else [])]
    return [
        (f"top1 {file_safe(' '.join(str(row[name]) for name in series))}", steps.get(row[axis], 0), row["top1_mean"])
        for row in done.to_dict("records")
    ]
