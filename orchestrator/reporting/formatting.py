"""A study's tables for readers: the paper's table as strings, and the claims."""

from __future__ import annotations

import pandas as pd

from datagen.core.wording import number_words, share_words
from orchestrator.claims.checks import Outcome
from orchestrator.claims.statistics import SIGNIFICANCE
from orchestrator.reporting.tables import METRICS, point_name, shown_deviation


def varied_settings(table: pd.DataFrame) -> list[str]:
    """The settings beside `POINT` that differ between a table's rows."""
    columns = list(table.columns)
    extra = columns[columns.index("fraction") + 1 : columns.index("variant")]
    return [name for name in extra if table[name].nunique(dropna=False) > 1]


def display_table(points: pd.DataFrame) -> pd.DataFrame:
    """The paper's table: strings, one row per point."""
    shown = pd.DataFrame()
    shown["trained"] = points["direction"]
    if (points["frozen_layers"] > 0).any():
        shown["frozen layers"] = [f"1-{n}" if n else "none" for n in points["frozen_layers"]]
    if (points["fraction"] < 1).any():
        shown["share of data"] = [share_words(fraction) for fraction in points["fraction"]]
    for name in varied_settings(points):
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
    change = round(change, 1) + 0.0  # No "-0.0".
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
    return number_words(value) if isinstance(value, float) else str(value)


def _means(points: pd.DataFrame, metric: str, digits: int) -> list[str]:
    columns = (points[f"{metric}_mean"], shown_deviation(points, metric))
    return [_plus_minus(mean, std, digits) for mean, std in zip(*columns, strict=True)]


def _plus_minus(mean: float, std: float, digits: int) -> str:
    if pd.isna(mean):
        return "missing"
    return f"{mean:.{digits}f}" if pd.isna(std) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def table_for_files(points: pd.DataFrame) -> pd.DataFrame:
    """The points as they are written to files: rounded to what is meaningful, baselines by their names.

    Accuracies, losses and their differences have 4 digits after the point (a single image of 10,000 is 0.01), p-values
    4 significant ones.
    """
    settings = varied_settings(points)
    names = ["", *(point_name(row, settings) for row in points.to_dict("records"))]
    measured = [name for name in points.columns if name.startswith((*METRICS, "published_", "change", "difference"))]
    written = points.round(dict.fromkeys(measured, 4))
    for name in ("p", "p_holm"):
        written[name] = [float(f"{value:.4g}") for value in points[name]]
    written["baseline"] = [names[row + 1] for row in points["baseline"]]
    return written


def claims_table(outcomes: list[Outcome]) -> pd.DataFrame:
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
