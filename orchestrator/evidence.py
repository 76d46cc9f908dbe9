"""What a report says of a study, in words and numbers: the verdict, the paper's table, claims, cost, what is open."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from datagen.identity import fingerprint_of
from datagen.shards import MANIFEST, read_manifest
from datagen.spec import DatasetSpec, MixedDataset
from orchestrator import claims
from orchestrator.catalog import load_scale, scale_names
from orchestrator.figures import fitted_line
from orchestrator.plan import Plan
from orchestrator.results import (
    DEVIATION_RULE,
    LAST_EPOCHS,
    point_name,
    point_table,
    setting_words,
    trial_table,
    with_published,
)
from orchestrator.scale import DIRECTIONS, REAL, SYNTHETIC
from orchestrator.statistics import SIGNIFICANCE, interval_name
from orchestrator.store import Store, StoredModel
from trainables.spec import TrainingSpec

ENERGY = "joules"
"""Key of an epoch's energy in a training's history, where the worker could measure it."""
PACKAGES = ("torch", "ray", "diffusers", "timm", "scipy")


@dataclass(frozen=True)
class Cost:
    """What a study has cost: seconds of one core or GPU, training and generation; joules, 0 where not measured."""

    training: float
    trainings: int
    generation: float
    joules: float

    def sentence(self) -> str:
        """In words."""
        parts = [f"{hours(self.training)} of one core or GPU for {self.trainings} trainings, bases among them"]
        if self.generation:
            parts.append(f"{hours(self.generation)} for the generated images")
        if self.joules:
            parts.append(f"{self.joules / 3.6e6:.3g} kWh measured")
        return "; ".join(parts) + ("." if self.joules else "; energy was not measured.")


@dataclass(frozen=True)
class Evidence:
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
    """

    plan: Plan
    trials: pd.DataFrame
    points: pd.DataFrame
    sentences: list[str]
    spread: str
    whiskers: str
    outcomes: list[claims.Outcome]
    open: list[str]
    notes: list[str]
    cost: Cost

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


def gather(plan: Plan, store: Store | None, models: Mapping[str, StoredModel]) -> Evidence:
    """Computes everything that a report says.

    Args:
        plan: the study's plan.
        store: where bases and data sets are, for the cost; None if only `models` are at hand.
        models: the finished trainings, by fingerprint.
    """
    trials = trial_table(plan, models)
    points = with_published(point_table(trials), plan.study.published, plan.scale.published)
    seeds = int(points["seeds"].max()) if len(points) else 0
    last_epochs = f"the last {LAST_EPOCHS} epochs of one run"
    several = seeds > 1
    outcomes = claims.evaluate(plan.study.claims, trials, plan.scale.published)
    unfinished = _open(trials)
    verdict = [*_verdict(points, plan), *_significance(points, seeds), *_claims_in_words(outcomes, plan)]
    if unfinished:
        verdict.append(unfinished[0])
    return Evidence(
        plan=plan,
        trials=trials,
        points=points,
        sentences=verdict if points["top1_mean"].notna().any() else ["Too few trials are done for a verdict."],
        spread=f"± standard deviation over {seeds} seeds" if several else f"± over {last_epochs}",
        whiskers=interval_name(seeds) if several else f"bars: std over {last_epochs}",
        outcomes=outcomes,
        open=unfinished,
        notes=_notes(plan, points, seeds),
        cost=_cost(plan, store, models),
    )


def hours(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


def _verdict(points: pd.DataFrame, plan: Plan) -> list[str]:
    """The study's outcome in plain sentences, from the measured numbers alone."""
    sentences = []
    base = {kind: _base(points, kind) for kind in (REAL, SYNTHETIC)}
    if not any(map(pd.isna, base.values())):
        sentences.append(
            f"Trained on real images: {base[REAL]:.1f} % top-1, on synthetic ones: {base[SYNTHETIC]:.1f} %, "
            f"a gap of {base[REAL] - base[SYNTHETIC]:.1f} points."
        )
    figure = plan.study.figure
    if figure.axis == "frozen_layers" and figure.kind == "curves":
        sentences += [_depth_sentence(points, direction, base) for direction in (DIRECTIONS[1], DIRECTIONS[0])]
    elif figure.logarithmic:
        sentences += _reduction_sentences(points)
    else:
        sentences += _best_and_gaps(points, figure.axis)
    return [sentence for sentence in sentences if sentence]


def _base(points: pd.DataFrame, kind: str) -> float:
    """Top-1 of the plain training from scratch on all images of a kind, or the study's baseline; NaN if it has none."""
    whole = points[(points["direction"] == kind) & (points["fraction"] == 1)]
    plain, own = whole[whole["variant"] == ""], whole[whole["role"] == "baseline"]
    rows = plain if len(plain) else own
    return float(rows["top1_mean"].iloc[0]) if len(rows) else float("nan")


def _depth_sentence(points: pd.DataFrame, direction: str, base: Mapping[str, float]) -> str:
    rows = points[(points["direction"] == direction) & (points["fraction"] == 1) & points["top1_mean"].notna()]
    curve = rows.drop_duplicates("frozen_layers").set_index("frozen_layers")["top1_mean"].sort_index()
    baseline = base[direction.rpartition("->")[2]]
    if len(curve) < 2 or pd.isna(baseline):
        return ""
    deepest, before = curve.index[-1], curve.index[-2]
    widest = (curve.iloc[:-1] - baseline).abs()
    return (
        f"{direction}: up to N = {before} top-1 stays within {widest.max():.1f} points of {baseline:.1f} "
        f"(furthest at N = {widest.idxmax()}); at N = {deepest} it is {curve.iloc[-1]:.1f}."
    )


def _reduction_sentences(points: pd.DataFrame) -> list[str]:
    sentences = []
    transfers, scratch = points[points["pretrained_on"] != ""], points[points["pretrained_on"] == ""]
    both = transfers.merge(scratch, on="fraction", suffixes=("", "_scratch")).dropna(
        subset=["top1_mean", "top1_mean_scratch"]
    )
    shown = both[both["fraction"].isin([1.0, 1 / 8, both["fraction"].min()])].drop_duplicates("fraction")
    for row in shown.sort_values("fraction", ascending=False).to_dict("records"):
        sentences.append(
            f"With 1/{round(1 / row['fraction'])} of the real images: {row['top1_mean']:.1f} % top-1 after synthetic "
            f"pretraining (N = {row['frozen_layers']}), {row['top1_mean_scratch']:.1f} % from scratch."
        )
    line = fitted_line(transfers["fraction"], transfers["top1_mean"])
    if line is not None:
        sentences.append(f"The transfers follow {line[0]:.2f} log2(x) + {line[1]:.2f}, where 1/x is the share.")
    return sentences


def _best_and_gaps(points: pd.DataFrame, axis: str) -> list[str]:
    sentences = []
    done = points[points["top1_mean"].notna()]
    settings = _settings(points)
    if len(done) > 1:
        ordered = done.sort_values("top1_mean", kind="stable").to_dict("records")
        best, worst = ordered[-1], ordered[0]
        sentences.append(
            f"Highest top-1: {best['top1_mean']:.1f} % ({point_name(best, settings)}); "
            f"lowest: {worst['top1_mean']:.1f} % ({point_name(worst, settings)})."
        )
    if axis in done:
        whole = done[(done["pretrained_on"] == "") & (done["fraction"] == 1)]
        table = whole.pivot_table(index=axis, columns="direction", values="top1_mean", sort=False)
        if len(table) > 1 and {REAL, SYNTHETIC} <= set(table.columns):
            gaps = (table[REAL] - table[SYNTHETIC]).dropna()
            if len(gaps) > 1:
                sentences.append(
                    f"The gap between real and synthetic images is {gaps.min():.1f} points "
                    f"({_level(axis, gaps.idxmin())}) to {gaps.max():.1f} ({_level(axis, gaps.idxmax())})."
                )
    return sentences


def _level(axis: str, value: object) -> str:
    return setting_words(axis, value) or str(value)


def _significance(points: pd.DataFrame, seeds: int) -> list[str]:
    if seeds < 2:
        return ["One seed: differences are not tested; --seeds 3 or more tells them from the chance of a seed."]
    tested = points["p_holm"].notna()
    found = int((points["p_holm"] < SIGNIFICANCE).sum())
    if not tested.any():
        return []
    if not found:
        return [f"No significant difference from the baselines ({tested.sum()} comparisons, {seeds} seeds)."]
    rest = "" if found == tested.sum() else " For the others there is no significant difference."
    return [f"{found} of {tested.sum()} differences from the baselines are significant.{rest}"]


def _claims_in_words(outcomes: list[claims.Outcome], plan: Plan) -> list[str]:
    verdicts = [outcome.verdict for outcome in outcomes]
    order = (claims.CONFIRMED, claims.NOT_CONFIRMED, claims.TOO_FEW, claims.NOT_MEASURED)
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in order if verdict in verdicts]
    label = "" if plan.scale.published else f" ({plan.scale.name} is no evidence about them)"
    return [f"Of {len(verdicts)} claims of the papers: {', '.join(counts)}{label}."] if counts else []


def _open(trials: pd.DataFrame) -> list[str]:
    """What is missing or failed: a summary, then each failed trial with its reason."""
    missing, failed = trials[trials["status"] == "missing"], trials[trials["status"] == "failed"]
    if missing.empty and failed.empty:
        return []
    settings = _settings(trials)
    summary = f"Of {len(trials)} trials {len(missing)} are missing and {len(failed)} failed."
    reasons = [f"Failed: {_trial(row, settings)}: {row['failure']}" for row in failed.to_dict("records")]
    names = [_trial(row, settings) for row in missing.head(20).to_dict("records")]
    more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
    return [summary, *reasons, *([f"Missing: {', '.join(names)}{more}."] if names else [])]


def _trial(row: Mapping[Any, Any], settings: list[str]) -> str:
    return f"{point_name(row, settings)} s{row['seed']}"


def _settings(table: pd.DataFrame) -> list[str]:
    """The settings beside `POINT` that differ between a table's rows."""
    columns = list(table.columns)
    extra = columns[columns.index("fraction") + 1 : columns.index("variant")]
    return [name for name in extra if table[name].nunique(dropna=False) > 1]


def _notes(plan: Plan, points: pd.DataFrame, seeds: int) -> list[str]:
    spread = points["top1_last_epochs_std"].dropna()
    notes = [f"Accuracies are on real validation images in percent, means of the last {LAST_EPOCHS} epochs."]
    if seeds > 1:
        notes += [
            f"± is the sample standard deviation over seeds; brackets are the {interval_name(seeds)}. Differences are "
            "from the training from scratch on all images of the same kind (its own: from real images), by a paired t "
            f"test over seeds, with Holm's correction over the table at {SIGNIFICANCE:.0%}.",
        ]
    if len(spread):
        notes.append(
            f"The papers' ± is the standard deviation over the last {LAST_EPOCHS} epochs of one run, here "
            f"{spread.median():.1f} points in the median; it says nothing about seeds."
        )
    if "published_top1" in points:
        notes.append(DEVIATION_RULE)
    if plan.study.claims:
        notes.append(claims.RULE)
    if changed := _changes(plan):
        notes.append(f"Changed from the scale's own recipe: {', '.join(changed)}.")
    return notes


def _changes(plan: Plan) -> list[str]:
    """The settings that the user gave in place of the scale's."""
    scale = plan.scale
    if scale.name not in scale_names():
        return []
    own = load_scale(scale.name)
    recipe = {key: value for key, value in scale.recipe.items() if own.recipe.get(key) != value}
    return [f"{key}={value}" for key, value in {**recipe, **scale.generation}.items()]


def _cost(plan: Plan, store: Store | None, models: Mapping[str, StoredModel]) -> Cost:
    histories = {fingerprint: model.history for fingerprint, model in models.items()}
    generation = 0.0
    for spec in plan.artifacts:
        if store is None:
            break
        if isinstance(spec, TrainingSpec):
            if spec.fingerprint not in histories and store.has(spec):
                histories[spec.fingerprint] = store.read_model(spec).history
        elif (store.dataset_folder(spec) / MANIFEST).is_file():
            generation += float(read_manifest(store.dataset_folder(spec)).description.get("seconds", 0))
    rows = [row for history in histories.values() for row in history]
    return Cost(
        training=sum(row["seconds"] for row in rows),
        trainings=len(histories),
        generation=generation,
        joules=sum(row.get(ENERGY, 0.0) for row in rows),
    )


def readable(points: pd.DataFrame) -> pd.DataFrame:
    """The paper's table: strings, one row per point."""
    shown = pd.DataFrame()
    shown["trained"] = points["direction"]
    if (points["frozen_layers"] > 0).any():
        shown["frozen layers"] = [f"1-{n}" if n else "none" for n in points["frozen_layers"]]
    if (points["fraction"] < 1).any():
        shown["share of data"] = [f"1/{round(1 / fraction)}" for fraction in points["fraction"]]
    for name in _settings(points):
        shown[name.replace("_", " ")] = [_cell(value) for value in points[name]]
    shown["seeds"] = points["seeds"]
    shown["top-1"] = _means(points, "top1", 1)
    if (points["seeds"] > 1).any():
        shown["95 %"] = [
            "" if pd.isna(low) else f"[{low:.1f}, {high:.1f}]"
            for low, high in zip(points["top1_low"], points["top1_high"], strict=True)
        ]
    if "published_top1" in points:
        published = zip(points["published_top1"], points["published_top1_std"], strict=True)
        shown["published top-1"] = ["" if pd.isna(mean) else _plus_minus(mean, std, 1) for mean, std in published]
        shown["difference"] = [
            "" if pd.isna(value) else f"{value:+.1f}{' deviates' if flag else ''}"
            for value, flag in zip(points["difference"], points["deviates"], strict=True)
        ]
    shown["against baseline"] = [
        against_baseline(change, p) for change, p in zip(points["change"], points["p_holm"], strict=True)
    ]
    shown["top-5"], shown["train loss"] = _means(points, "top5", 1), _means(points, "train_loss", 3)
    return shown


def against_baseline(change: float, p: float) -> str:
    """A difference from the baseline and what its test says, in words; `p` is corrected, NaN if not tested."""
    if pd.isna(change):
        return ""
    if pd.isna(p):
        return f"{change:+.1f}, not tested"
    if p >= SIGNIFICANCE:
        return f"{change:+.1f}, no significant difference"
    return f"{change:+.1f}, significant (p {'< 0.001' if p < 0.001 else f'= {p:.3f}'})"


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _means(points: pd.DataFrame, metric: str, digits: int) -> list[str]:
    columns = (points[f"{metric}_mean"], points[f"{metric}_std"])
    return [_plus_minus(mean, std, digits) for mean, std in zip(*columns, strict=True)]


def _plus_minus(mean: float, std: float, digits: int) -> str:
    if pd.isna(mean):
        return "missing"
    return f"{mean:.{digits}f}" if pd.isna(std) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def claims_table(outcomes: list[claims.Outcome]) -> pd.DataFrame:
    """One row for each claim: statement, source, verdict, the numbers, and how many seeds they have."""
    rows = [
        {
            "claim": outcome.claim.statement,
            "source": outcome.claim.source,
            "verdict": outcome.verdict,
            "measured": "; ".join(finding.sentence() for finding in outcome.findings),
            "seeds": outcome.seeds,
        }
        for outcome in outcomes
    ]
    return pd.DataFrame(rows, columns=["claim", "source", "verdict", "measured", "seeds"])


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
    """The data sets that are trained on, each once, parts of mixtures in their place; the real one first."""
    found: dict[str, DatasetSpec] = {}
    for spec in plan.trials:
        for train in (spec.train, *([spec.source.train] if spec.source else [])):
            for part in train.made_from if isinstance(train, MixedDataset) else (train,):
                found.setdefault(part.fingerprint, part)
    return sorted(found.values(), key=lambda part: part.name != REAL)
