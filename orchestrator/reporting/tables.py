"""A study's results as tables: one row for each trial and seed, one row for each point, the papers' numbers beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from datagen.core.wording import number_words, share_words
from datagen.datasets.spec import DatasetSpec, DiffusionDataset, RealDataset, StylizedDataset
from datagen.datasets.virtual import MixedDataset, SubsetDataset, TransformedDataset, UnionDataset
from datagen.recipes.recipe import ImportedRecipe
from orchestrator.claims.statistics import LAST_EPOCHS, Array, holm, interval, paired_differences
from orchestrator.planning.plan import Plan
from orchestrator.reporting.published import published_rows
from orchestrator.scale import Scale
from orchestrator.settings import DEFAULT_GENERATOR, GENERATION_OF_POINT, START, STARTS, TRAINING
from orchestrator.storage.store import Store, StoredModel
from orchestrator.study import Study, Trial
from trainables.direction import REAL, SYNTHETIC, Direction
from trainables.spec import TrainingSpec

METRICS = ("top1", "top5", "train_loss")
ACCURACIES = ("top1", "top5")
"""Percent: their intervals end at 0 and 100."""
POINT = ("direction", "pretrained_on", "trained_on", "frozen_layers", "fraction")
RERUN_POINTS = 2.0
"""How far two single runs may lie apart: the papers' own re-runs fluctuate by less than 1 point each (Mind the Gap,
section 3.1)."""
DEVIATION_RULE = (
    "A deviation is flagged where the published value lies outside the measured 95 % interval; with one seed, where it "
    f"is more than {RERUN_POINTS:g} points away (the papers report that re-runs fluctuate by less than 1 point each)."
)

BATCH_MEANS = (
    "Published accuracies are means over batches, of which t-ReX counts a small last one in full: up to 0.2 points "
    "from these, which count every image once."
)


def finished_models(plan: Plan, store: Store) -> dict[str, StoredModel]:
    """The published trainings among a plan's trials, by fingerprint."""
    return {spec.fingerprint: store.read_model(spec) for spec in plan.trials if store.has(spec)}


def trial_table(plan: Plan, models: Mapping[str, StoredModel]) -> pd.DataFrame:
    """One row for each point and seed, in the plan's order.

    Columns: study, scale, role ("grid", or "baseline" for a point that is only one), `POINT`, every other setting that
    the study's points name, variant (what the papers' table calls the point; "" for its plain row, None where it has no
    row), seed, `<metric>_mean` and `<metric>_std_epochs` over the last 5 epochs (percent for accuracies; NaN where
    there is no result), epochs, seconds, real_images (how many the training and its base have seen), status ("done",
    "failed", "missing"), failure (the reason) and fingerprint. Points that are the same training share its fingerprint.
    """
    settings = extra_settings(plan)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    specs: list[TrainingSpec] = []
    for trial in plan.grid:
        point = _point(trial, settings, plan.scale)
        point["variant"] = _variant(plan.study, plan.scale, point, settings)
        key = (*point.values(), trial.seed)
        if key not in rows:
            rows[key] = {"role": "baseline", **point, "seed": trial.seed}
            specs.append(trial.spec)
        if all(name in trial.point for name in plan.study.axis_names):
            rows[key]["role"] = "grid"
    table = pd.DataFrame(list(rows.values()))
    table.insert(0, "study", plan.study.name)
    table.insert(1, "scale", plan.scale.name)
    found = [models.get(spec.fingerprint) for spec in specs]
    table = table.join(_last_epochs([model.history if model and not model.failure else [] for model in found]))
    table["epochs"] = [len(model.history) if model else 0 for model in found]
    table["seconds"] = [round(sum(row["seconds"] for row in model.history), 3) if model else 0.0 for model in found]
    table["real_images"] = [real_images(spec) for spec in specs]
    table["status"] = ["missing" if model is None else "failed" if model.failure else "done" for model in found]
    table["failure"] = [(model.failure or "") if model else "" for model in found]
    table["fingerprint"] = [spec.fingerprint for spec in specs]
    return table


def real_images(spec: TrainingSpec) -> int:
    """How many real images a training and its base have seen, as such, stylized, or as prompts of a generator."""
    own = round(spec.train_images * _real_share(spec.train))
    return max(own, real_images(spec.source) if spec.source else 0)


def _real_share(spec: DatasetSpec) -> float:
    """The share of a set's images that are real, or made from real ones."""
    if isinstance(spec, MixedDataset):
        return spec.share if _real_share(spec.first) else 0.0
    if isinstance(spec, UnionDataset):
        return sum(part.images * _real_share(part) for part in spec.made_from) / spec.images
    if isinstance(spec, SubsetDataset | TransformedDataset):
        return _real_share(spec.whole)
    return float(any(isinstance(part, RealDataset) and not part.synthetic for part in _parts(spec)))


def extra_settings(plan: Plan) -> list[str]:
    """The settings that a study's points name beside `POINT`: its axes first, then those of its baselines."""
    named = dict.fromkeys(plan.study.axis_names) | dict.fromkeys(key for trial in plan.grid for key in trial.point)
    return [name for name in named if name not in POINT]


def _point(trial: Trial, settings: Iterable[str], scale: Scale) -> dict[str, Any]:
    direction = Direction.parse(trial.point["direction"])
    return {
        "direction": str(direction),
        "pretrained_on": direction.source or "",
        "trained_on": direction.target,
        "frozen_layers": trial.spec.frozen_layers,
        "fraction": trial.spec.fraction,
        **{name: _value(trial, name, scale) for name in settings},
    }


def _value(trial: Trial, name: str, scale: Scale) -> Any:
    """The value of a setting at a point: the point's own, or the spec's; None where it concerns nothing."""
    if name in trial.point:
        return trial.point[name]
    if name in TRAINING:
        return getattr(trial.spec, name)
    if name == START:
        return STARTS[0]
    source = [trial.spec.source.train] if trial.spec.source else []
    sets = [part for spec in (trial.spec.train, *source) for part in _parts(spec)]
    drawn = next((spec for spec in sets if isinstance(spec, DiffusionDataset)), None)
    if name == "stylized":
        return any(isinstance(spec, StylizedDataset) for spec in sets)
    if name == "real_share":
        return next((spec.share for spec in sets if isinstance(spec, MixedDataset)), None)
    if drawn is None or name not in {"generator", *GENERATION_OF_POINT}:
        return None
    if name == "generator":
        return DEFAULT_GENERATOR
    if name == "prompt_style":
        return scale.generation.get(name, getattr(scale.generators[DEFAULT_GENERATOR], name, None))
    return getattr(drawn, name, None)


def _parts(spec: DatasetSpec) -> list[DatasetSpec]:
    """A data set and those it is made from."""
    return [spec, *(part for made in spec.made_from for part in _parts(made))]


def _variant(study: Study, scale: Scale, row: Mapping[str, Any], settings: Iterable[str]) -> str | None:
    """What the papers' table calls a point: a name of the study's, "" for the plain row, None if it has no such row."""
    named = next(
        (
            (dict(values), variant)
            for values, variant in study.variants.items()
            if all(row.get(key) == value for key, value in values)
        ),
        ({}, ""),
    )
    others = (name for name in settings if name not in named[0])
    return named[1] if all(_is_plain(scale, name, row[name]) for name in others) else None


def _is_plain(scale: Scale, name: str, value: Any) -> bool:
    """Whether a setting has the value that the scale gives it where a study says nothing of it."""
    if name in TRAINING:
        default = scale.recipe.get(name, getattr(TrainingSpec, name, None))
        return bool(value == default)
    plain = {START: STARTS[0], "stylized": False, "generator": DEFAULT_GENERATOR, "real_share": None}
    if name in plain:
        return value is None or bool(value == plain[name])
    generator = scale.generators[DEFAULT_GENERATOR]
    usual = dict(scale.generation)
    if not isinstance(generator, ImportedRecipe):
        usual = {"prompt_style": generator.prompt_style, **generator.settings, **usual}
    return value is None or name not in usual or bool(value == usual[name])


def _last_epochs(histories: Sequence[Sequence[Mapping[str, float]]]) -> pd.DataFrame:
    """Mean and population standard deviation over the last epochs, a row for each history; NaN if there are none."""
    epochs = pd.DataFrame(
        [(place, *(row[m] for m in METRICS)) for place, rows in enumerate(histories) for row in rows[-LAST_EPOCHS:]],
        columns=["place", *METRICS],
    ).astype(dict.fromkeys(METRICS, float))
    of_history = epochs.groupby("place")
    deviations = of_history.std(ddof=0).where(of_history.count() > 1)  # One epoch has none.
    found = of_history.mean().add_suffix("_mean").join(deviations.add_suffix("_std_epochs"))
    return found.reindex(range(len(histories)))[[f"{m}_{what}" for m in METRICS for what in ("mean", "std_epochs")]]


def last_epochs_words(trials: pd.DataFrame) -> str:
    """The epochs that a trial's mean and deviation are over, in words that are true for short trainings too."""
    epochs = trials.loc[trials["status"] == "done", "epochs"]
    if epochs.empty or epochs.min() > LAST_EPOCHS:
        return f"the last {LAST_EPOCHS} epochs"
    if epochs.max() > LAST_EPOCHS:
        return f"the last {LAST_EPOCHS} epochs, or all of a shorter training"
    if epochs.min() < epochs.max():
        return f"all {epochs.min()} to {epochs.max()} epochs"
    return f"all {epochs.max()} epochs" if epochs.max() > 1 else "the only epoch"


def point_columns(trials: pd.DataFrame) -> list[str]:
    """The columns of a trial table that say which point a row belongs to."""
    columns = list(trials.columns)
    return columns[columns.index("direction") : columns.index("seed")]


def by_seed(trials: pd.DataFrame, metric: str = "top1") -> Array:
    """A metric's mean over the last epochs, shape (points, seeds), in the order of `point_table`; NaN if not done."""
    points = trials.groupby(point_columns(trials), sort=False, dropna=False).ngroup().to_numpy()
    seeds = pd.factorize(trials["seed"], sort=True)[0]
    values = np.full((points.max() + 1, seeds.max() + 1), np.nan)
    values[points, seeds] = trials[f"{metric}_mean"].where(trials["status"] == "done")
    return values


def point_table(trials: pd.DataFrame) -> pd.DataFrame:
    """One row for each point, over its seeds, in the order of the trials, with its role and real_images.

    For each metric: `_mean`; `_std_epochs`, the standard deviation over the last 5 epochs of a run, as in the papers,
    mean over the seeds; `_std_seeds`, the sample standard deviation over the seeds' means; `_low` and `_high`, the 95 %
    interval over the seeds (these NaN with one). `seeds` counts the finished ones.

    What top-1 is compared with: `baseline` (the position of its row; -1 for none), `change`, `change_low`,
    `change_high`, `p` (paired t test over the seeds) and `p_holm` (corrected over the table).
    """
    columns = point_columns(trials)
    points = trials.drop_duplicates(columns)[["role", *columns, "real_images"]].reset_index(drop=True)
    measured = [f"{metric}_{what}" for metric in METRICS for what in ("mean", "std_epochs")]
    done = trials[columns].join(trials[measured].where(trials["status"] == "done"))
    of_point = done.groupby(columns, sort=False, dropna=False)
    points["seeds"] = of_point["top1_mean"].count().to_numpy()
    for metric in METRICS:
        points[f"{metric}_mean"] = of_point[f"{metric}_mean"].mean().to_numpy()
        points[f"{metric}_std_epochs"] = of_point[f"{metric}_std_epochs"].mean().to_numpy()
        points[f"{metric}_std_seeds"] = of_point[f"{metric}_mean"].std().to_numpy()
        low, high = interval(by_seed(trials, metric))
        if metric in ACCURACIES:
            low, high = np.clip(low, 0, 100), np.clip(high, 0, 100)
        points[f"{metric}_low"], points[f"{metric}_high"] = low, high
    return _with_comparisons(points, by_seed(trials), [name for name in columns if name not in (*POINT, "variant")])


def shown_deviation(points: pd.DataFrame, metric: str) -> pd.Series:
    """What ± shows in a table: over seeds if any of its points has several, else over the last epochs of a run."""
    return points[f"{metric}_std_seeds" if (points["seeds"] > 1).any() else f"{metric}_std_epochs"]


def _with_comparisons(points: pd.DataFrame, values: Array, settings: Sequence[str]) -> pd.DataFrame:
    baselines = np.array(_baselines(points, settings))
    compared = baselines >= 0
    found = paired_differences(values[compared], values[baselines[compared]])
    points["baseline"] = baselines
    for name, column in zip(("change", "change_low", "change_high", "p"), found, strict=False):
        points[name] = np.nan
        points.loc[compared, name] = column
    points["p_holm"] = holm(points["p"].to_numpy())
    return points


def _baselines(points: pd.DataFrame, settings: Sequence[str]) -> list[int]:
    """The row that each is compared with: the training from scratch on all images of the same kind.

    At the same other settings if the table has one (for transfers and shares of data), else the study's reference for
    that kind: the plain one, or the first. The reference itself is compared with that of real images, as mixtures are.
    """
    scratch: dict[tuple[Any, ...], int] = {}
    first: dict[str, int] = {}
    keys = list(zip(*(points[name].map(str) for name in ("trained_on", *settings)), strict=True))
    whole = (points["pretrained_on"] == "") & (points["fraction"] == 1)
    plain = points["variant"] == ""
    for row in [*np.flatnonzero(whole & plain).tolist(), *np.flatnonzero(whole & ~plain).tolist()]:
        scratch.setdefault(keys[row], row)
        first.setdefault(keys[row][0], row)
    found = []
    for row, (key, is_whole) in enumerate(zip(keys, whole, strict=True)):
        kind = key[0] if key[0] in first and key[0] in (REAL, SYNTHETIC) else REAL
        reference = first.get(kind, -1)
        candidate = reference if is_whole else scratch.get((kind, *key[1:]), reference)
        found.append(candidate if candidate != row else first.get(REAL, -1))
    return [-1 if candidate == row else candidate for row, candidate in enumerate(found)]


def with_published(points: pd.DataFrame, table: str | None, data_set: str | None) -> pd.DataFrame:
    """Adds `published_top1`, `published_top1_std`, `published_top5`, `difference` and `deviates`.

    Where the papers have a value for the same data set, point and variant. A scale that is not one of the papers'
    (`data_set` None) gets no published numbers beside its own. For `deviates` see `DEVIATION_RULE`.
    """
    if table is None or data_set is None:
        return points
    published = published_rows(table, data_set)
    names = {"top1_mean": "published_top1", "top1_std": "published_top1_std", "top5_mean": "published_top5"}
    keys = ["pretrained_on", "trained_on", "frozen_layers", "fraction", "variant"]
    published = published.rename(columns=names)[[*keys, *names.values()]]
    joined = points.merge(published, on=keys, how="left")
    joined["difference"] = joined["top1_mean"] - joined["published_top1"]
    outside = (joined["published_top1"] < joined["top1_low"]) | (joined["published_top1"] > joined["top1_high"])
    joined["deviates"] = np.where(joined["top1_low"].isna(), joined["difference"].abs() > RERUN_POINTS, outside)
    joined["deviates"] &= joined["difference"].notna()
    return joined


def point_name(row: Mapping[Any, Any], settings: Sequence[str] = ()) -> str:
    """A point in words, for example "synthetic->real N=16 1/8 augmix"."""
    depth = f" N={row['frozen_layers']}" if row["frozen_layers"] else ""
    share = f" {share_words(row['fraction'])}" if row["fraction"] < 1 else ""
    others = [setting_words(name, row[name]) for name in settings]
    return " ".join([f"{row['direction']}{depth}{share}", *(word for word in others if word)])


def setting_words(name: str, value: Any) -> str:
    """A setting's value in words; nothing for None."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return name if value else f"not {name}"
    if isinstance(value, str):
        return value
    return f"{name}={number_words(value)}" if isinstance(value, float) else f"{name}={value}"
