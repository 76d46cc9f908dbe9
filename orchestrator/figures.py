"""Figures: accuracy against one axis, a line for each direction, baselines across (Mind the Gap, Figure 2)."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd

from orchestrator.scale import DIRECTIONS, REAL, SYNTHETIC

matplotlib.use("agg")
from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision, and in grey by marker and dash.
COLOURS = {DIRECTIONS[0]: "#D55E00", DIRECTIONS[1]: "#0072B2", REAL: "#0072B2", SYNTHETIC: "#D55E00"}
MARKERS = {DIRECTIONS[0]: "s", DIRECTIONS[1]: "o"}
LABELS = {
    DIRECTIONS[0]: "first N layers from real, the rest trained on synthetic",
    DIRECTIONS[1]: "first N layers from synthetic, the rest trained on real",
    REAL: "all layers trained on real",
    SYNTHETIC: "all layers trained on synthetic",
}


def draw_curves(points: pd.DataFrame, axis: str, title: str, spread: str, folder: Path) -> list[Path]:
    """Draws top-1 against `axis` from a point table and writes `figure.png` and `figure.svg`; returns their paths.

    Args:
        points: as `results.point_table` makes it, optionally with `published_top1`.
        axis: the column on the x axis.
        title: above the figure.
        spread: what the bars show, for the caption on the y axis.
        folder: where to write.
    """
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    transfers = points[points["pretrained_on"] != ""]
    for direction, rows in transfers.groupby("direction", sort=False):
        name = str(direction)
        ordered = rows.sort_values(axis)
        axes.errorbar(
            ordered[axis],
            ordered["top1_mean"],
            ordered["top1_std"],
            label=LABELS[name],
            color=COLOURS[name],
            marker=MARKERS[name],
            capsize=2,
            lw=1.8,
        )
        if "published_top1" in ordered:
            axes.plot(ordered[axis], ordered["published_top1"], alpha=0.35, lw=4, color=COLOURS[name])
    for _, row in points[points["pretrained_on"] == ""].iterrows():
        name = str(row["direction"])
        axes.axhline(row["top1_mean"], color=COLOURS[name], ls="--", lw=1.4, label=LABELS[name])
    if not transfers.empty:
        ticks = sorted(transfers[axis].unique())
        axes.set_xticks(ticks if len(ticks) <= 20 else ticks[::2])
    axes.set_xlabel("N, number of frozen layers" if axis == "frozen_layers" else axis.replace("_", " "))
    axes.set_ylabel(f"top-1 on real validation images, %\n({spread})")
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9, frameon=False)
    paths = [folder / "figure.png", folder / "figure.svg"]
    # No date and no random ids, so that the same results make the same file.
    with matplotlib.rc_context({"svg.hashsalt": "mindgap"}):
        for path in paths:
            figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths
