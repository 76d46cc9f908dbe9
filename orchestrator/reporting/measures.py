"""What a report says of measures of sets: each beside the accuracy of the network that the set has trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import atanh, sqrt, tanh
from pathlib import Path
from typing import Any

import pandas as pd

from datagen.core.files import written_whole
from datagen.core.plotting import importable_matplotlib
from orchestrator.planning.plan import Plan
from orchestrator.reporting.figures import BLUE, STYLE
from orchestrator.storage.measures import read_measures
from orchestrator.storage.store import Store
from trainables.evaluation.measure_spec import MeasureSpec

with importable_matplotlib():
    from matplotlib import style
    from matplotlib.figure import Figure

SHOWN = {
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "frechet distance": "Fréchet distance",
    "kernel distance": "kernel distance",
    "vendi": "Vendi score",
}
"""The measures that are drawn, and what they are called."""
FEWEST = 5
"""Sets from which on a rank correlation has an interval (Bonett and Wright 2000: n - 3 under the root)."""
ABOUT = (
    "In the features of the base on real images; `datagen.measure` tells what each is. Near-duplicates are pairs of "
    "images with a cosine of 0.99 or more, within the set and with the real training images; a classifier takes many "
    "pictures of a class for alike, so look for copies with another encoder. Top-1 is on real images, of the network "
    "trained on the set."
)


@dataclass(frozen=True)
class Measured:
    """Measures of a study's synthetic sets.

    Attributes:
        rows: a row a set: `set`, `fingerprint`, `top1` (percent, mean over seeds), and the measures.
        table: the same, rounded, for readers.
        sentences: which measure goes with accuracy.
        encoder: whose features they are of.
    """

    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    sentences: tuple[str, ...] = ()
    encoder: str = ""


def measures_of(plan: Plan, store: Store, trials: pd.DataFrame) -> Measured:
    """Gathers what the store has of a plan's measures; `trials` as `results.trial_table`."""
    specs = [spec for spec in plan.artifacts if isinstance(spec, MeasureSpec) and store.has(spec)]
    if not specs:
        return Measured()
    rows = pd.DataFrame([_row(plan, store, spec, trials) for spec in specs])
    return Measured(rows, _rounded(rows), tuple(_sentences(rows)), specs[0].encoder.title)


def _row(plan: Plan, store: Store, spec: MeasureSpec, trials: pd.DataFrame) -> dict[str, Any]:
    trained = [
        trial.fingerprint
        for trial in plan.trials
        if trial.source is None and trial.fraction == 1 and trial.train.fingerprint == spec.images.fingerprint
    ]
    accuracies = trials.loc[trials["fingerprint"].isin(trained), "top1_mean"]
    values = read_measures(store, spec)
    counts = {"near-duplicates within": values["duplicates"], "with real images": values["leaks"]}
    known = {name: float(values[name]) for name in SHOWN if name in values}
    about = {"set": spec.images.title, "fingerprint": spec.images.fingerprint, "images": spec.images.images}
    return {**about, "top1": float(accuracies.mean()), **known, **counts}


def _rounded(rows: pd.DataFrame) -> pd.DataFrame:
    table = rows.drop(columns=["fingerprint"]).rename(columns={"top1": "top-1", **SHOWN})
    for name in ("top-1", *SHOWN.values()):
        if name in table:
            form = "{:.1f}" if name == "top-1" else "{:.3g}"
            table[name] = [form.format(value) if value == value else "" for value in table[name]]
    return table


def rank_correlation(first: pd.Series, second: pd.Series) -> tuple[float, float, float] | None:
    """Spearman's rank correlation with its 95 % interval; None of fewer than five pairs, or where one is constant.

    The interval is Bonett and Wright's (2000): normal in Fisher's z, of variance (1 + r^2 / 2) / (n - 3).
    """
    both = pd.DataFrame({"first": first, "second": second}).dropna()
    if len(both) < FEWEST or both.nunique().min() < 2:
        return None
    found = float(both["first"].corr(both["second"], method="spearman"))
    inner = max(-0.9999, min(0.9999, found))
    half = 1.96 * sqrt((1 + inner**2 / 2) / (len(both) - 3))
    return found, tanh(atanh(inner) - half), tanh(atanh(inner) + half)


def _sentences(rows: pd.DataFrame) -> list[str]:
    found = {name: rank_correlation(rows[name], rows["top1"]) for name in SHOWN if name in rows}
    known = {name: told for name, told in found.items() if told is not None}
    if not known:
        return [f"{len(rows)} sets are too few for a rank correlation with accuracy ({FEWEST} are needed)."]
    best = max(known, key=lambda name: abs(known[name][0]))
    value, low, high = known[best]
    certain = "" if low > 0 or high < 0 else ", which may be chance"
    return [
        f"Of the measures, {SHOWN[best]} goes most with top-1 over {len(rows)} sets: rank correlation {value:+.2f} "
        f"[{low:+.2f}, {high:+.2f}]{certain}; it is the largest of {len(known)}, and was not chosen beforehand."
    ]


def draw_measures(measured: Measured, folder: Path) -> list[Path]:
    """Writes measures.png and .svg: a panel for each measure, top-1 against it, a point a set; nothing without any."""
    rows = measured.rows
    shown = [name for name in SHOWN if name in rows and rows[[name, "top1"]].notna().all(axis=1).any()]
    if not shown:
        return []
    with style.context(["default", STYLE]):
        columns = min(4, len(shown))
        lines = -(-len(shown) // columns)
        figure = Figure(figsize=(3.6 * columns, 3.2 * lines), layout="constrained")
        for place, name in enumerate(shown, 1):
            axes = figure.add_subplot(lines, columns, place)
            axes.plot(rows[name], rows["top1"], "o", color=BLUE)
            told = rank_correlation(rows[name], rows["top1"])
            words = "" if told is None else f"\nranks: {told[0]:+.2f} [{told[1]:+.2f}, {told[2]:+.2f}]"
            axes.set_title(f"{SHOWN[name]}{words}", fontsize="small")
            axes.set_ylabel("top-1 on real images, %" if (place - 1) % columns == 0 else "")
            axes.grid(alpha=0.3)
        paths = [folder / "measures.png", folder / "measures.svg"]
        for path in paths:
            told_of = {} if path.suffix == ".png" else {"Date": None}
            with written_whole(path) as aside:
                figure.savefig(aside, format=path.suffix[1:], dpi=150, metadata=told_of)
    return paths
