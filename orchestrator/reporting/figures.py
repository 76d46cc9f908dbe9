"""Figures of a study: curves over an axis, bars, the effects of several axes, or a Pareto front; as its study says.

Colours are Okabe and Ito's, told apart with any colour vision; markers, dashes and hatches tell them apart in grey. The
papers' values stand faint behind the measured ones.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from datagen.core.files import written_whole
from datagen.core.plotting import importable_matplotlib
from datagen.core.wording import number_words, share_words
from orchestrator.study import Figure as FigureSettings
from trainables.direction import MIXED, REAL, REAL_TO_SYNTHETIC, SYNTHETIC, SYNTHETIC_TO_REAL, UNION, Direction

with importable_matplotlib():
    from matplotlib import style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY)
MARKERS, HATCHES = "osD^vP", ("", "//", "..", "xx", "\\\\", "++")
FIXED = {
    str(SYNTHETIC_TO_REAL): 0,
    REAL: 0,
    str(REAL_TO_SYNTHETIC): 1,
    SYNTHETIC: 1,
    MIXED: 2,
    str(Direction(SYNTHETIC, MIXED)): 3,
    str(Direction(REAL, MIXED)): 4,
    UNION: 5,
    str(Direction(SYNTHETIC, UNION)): 3,
    str(Direction(REAL, UNION)): 4,
}
"""Places in the palette of directions, the same in every figure."""
DIRECTION_LABELS = {
    str(REAL_TO_SYNTHETIC): "first layers from real, rest trained on synthetic",
    str(SYNTHETIC_TO_REAL): "first layers from synthetic, rest trained on real",
    REAL: "all layers trained on real",
    SYNTHETIC: "all layers trained on synthetic",
    MIXED: "all layers trained on the mixture",
    str(Direction(SYNTHETIC, MIXED)): "first layers from synthetic, rest on the mixture",
    str(Direction(REAL, MIXED)): "first layers from real, rest on the mixture",
    UNION: "all layers trained on real and synthetic together",
    str(Direction(SYNTHETIC, UNION)): "first layers from synthetic, rest on both together",
    str(Direction(REAL, UNION)): "first layers from real, rest on both together",
}
AXIS_LABELS = {
    "frozen_layers": "N, number of frozen layers",
    "fraction": "share of the training images",
    "real_share": "share of real images in the training set",
    "real_images": "real images used",
    "per_class": "images of each class, of each kind",
}
STYLE: dict[Any, Any] = {
    "font.size": 13,
    "axes.titlesize": 13,
    "legend.fontsize": 10.5,
    "svg.hashsalt": "mindgap",
    "hatch.linewidth": 0.6,
}


class Caption(NamedTuple):
    """What is written at a figure: the title, and what bars and whiskers show."""

    title: str
    spread: str


def draw(
    points: pd.DataFrame, settings: FigureSettings, axes: Sequence[str], caption: Caption, folder: Path
) -> list[Path]:
    """Draws a study's figure and writes `figure.png` and `figure.svg`; returns their paths.

    The same table makes the same files, in any environment.

    Args:
        points: as `results.point_table` makes it, optionally with `published_top1`.
        settings: how to draw.
        axes: the study's axes, for figures that show the effect of each.
        caption: title, and what the whiskers are.
        folder: where to write.
    """
    generators: dict[str, Callable[..., Figure]] = {
        "bars": _bars, "pareto": _pareto, "effects": _effects, "curves": _reduction if settings.logarithmic else _curves
    }  # fmt: skip
    paths, points = [folder / "figure.png", folder / "figure.svg"], _with_whiskers(points)
    with style.context(STYLE, after_reset=True):  # Nothing of the user's own settings.
        figure = generators[settings.kind](points, settings, axes, caption)
        for path in paths:
            # No date, so that the same results make the same file.
            ending = path.suffix[1:]
            with written_whole(path) as aside:
                figure.savefig(aside, format=ending, dpi=160, metadata={"Date": None} if ending == "svg" else None)
    return paths


def _curves(points: pd.DataFrame, settings: FigureSettings, _: Sequence[str], caption: Caption) -> Figure:
    figure, (axes,) = _canvas(1, caption)
    grid = _grid(points, settings)
    ticks = sorted(grid[settings.axis].unique())
    _draw_series(axes, grid, settings, lambda values: values.to_numpy(float))
    if settings.baselines:
        _draw_baselines(axes, points, settings)
    if settings.axis == "per_class":
        axes.set_xscale("log", base=2)  # Numbers of images are doubled, and a power law is nearly straight.
    axes.set_xticks(ticks, _thinned(settings.axis, ticks))
    axes.set_xlabel(_axis_label(settings.axis))
    _finish(figure, [axes], points, caption)
    return figure


def _reduction(points: pd.DataFrame, settings: FigureSettings, _: Sequence[str], caption: Caption) -> Figure:
    """The papers' figures of data reduction: on a linear axis, and in log2, with the line fitted to the transfers."""
    figure, (linear, logarithmic) = _canvas(2, caption)
    grid = _grid(points, settings)
    _draw_series(linear, grid, settings, lambda values: values.to_numpy(float))
    _draw_series(logarithmic, grid, settings, lambda values: -np.log2(values.to_numpy(float)))
    for axes in (linear, logarithmic):
        if settings.baselines:
            _draw_baselines(axes, points, settings)
    _draw_fit(linear, logarithmic, grid, settings)
    shares = sorted(grid[settings.axis].unique())
    logarithmic.set_xticks([-np.log2(share) for share in shares], [share_words(share) for share in shares])
    wide = [share for share in shares if share >= 1 / 8]
    linear.set_xticks(wide, [share_words(share) for share in wide])
    linear.set_xlabel("share of the real images, linear (read right to left)")
    logarithmic.set_xlabel("share of the real images, log2 (read left to right)")
    logarithmic.set_ylabel("")
    _finish(figure, [linear, logarithmic], points, caption)
    return figure


def fitted_line(fractions: pd.Series, top1: pd.Series) -> tuple[float, float] | None:
    """Slope and intercept of top-1 over log2 of the reduction factor (1 / fraction), by least squares; None if < 3."""
    known = top1.notna().to_numpy()
    if known.sum() < 3:
        return None
    slope, intercept = np.polyfit(-np.log2(fractions.to_numpy(float)[known]), top1.to_numpy(float)[known], 1)
    return float(slope), float(intercept)


def _draw_fit(linear: Axes, logarithmic: Axes, grid: pd.DataFrame, settings: FigureSettings) -> None:
    for series in _series(grid[grid["pretrained_on"] != ""], settings):
        line = fitted_line(series.rows[settings.axis], series.rows["top1_mean"])
        if line is None:
            continue
        slope, intercept = line
        halvings = np.linspace(0, -np.log2(series.rows[settings.axis].min()), 100)
        label = f"fit: {slope:.2f} log2(x) + {intercept:.2f}, x = 1/share"
        style: dict[str, Any] = {"color": "black", "lw": 1.6, "ls": (0, (1, 1.5)), "zorder": 4}
        logarithmic.plot(halvings, slope * halvings + intercept, label=label, **style)
        linear.plot(2.0**-halvings, slope * halvings + intercept, **style)


def _bars(points: pd.DataFrame, settings: FigureSettings, _: Sequence[str], caption: Caption) -> Figure:
    figure, (axes,) = _canvas(1, caption)
    grid = _grid(points, settings)
    groups = list(dict.fromkeys(grid[settings.axis]))
    series = _series(grid, settings)
    width = 0.8 / max(2, len(series))
    for place, one in enumerate(series):
        rows = one.rows.drop_duplicates(settings.axis).set_index(settings.axis).reindex(groups)
        x = np.arange(len(groups)) + (place - (len(series) - 1) / 2) * width
        whiskers = _whiskers(rows)
        axes.bar(
            x, rows["top1_mean"], width * 0.8, yerr=whiskers, capsize=3, label=one.label, color=one.colour,
            hatch=HATCHES[one.place % len(HATCHES)], edgecolor="white", error_kw={"lw": 1.2, "ecolor": "#333333"},
        )  # fmt: skip
        tops = (rows["top1_mean"] + whiskers[1]).to_numpy(float)
        if "published_top1" in rows:
            published = rows["published_top1"].to_numpy(float)
            axes.bar(x, published, width * 0.98, facecolor="none", edgecolor=one.colour, ls="--", alpha=0.6)
            tops = np.fmax(tops, published)
        for position, top, mean in zip(x, tops, rows["top1_mean"], strict=True):
            if not np.isnan(mean):
                style: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 10.5}
                axes.annotate(f"{mean:.1f}", (position, min(top, 100.0)), (0, 4), **style)
    if settings.baselines:
        _draw_baselines(axes, points, settings)
    labels = [textwrap.fill(_value_label(settings.axis, group), 11) for group in groups]
    axes.set_xticks(range(len(groups)), labels)
    axes.set_xlabel(_axis_label(settings.axis))
    axes.set_ylim(0, max(5.0, _tops(points) * 1.1))
    _finish(figure, [axes], points, caption, limits=False)
    return figure


def _pareto(points: pd.DataFrame, settings: FigureSettings, _: Sequence[str], caption: Caption) -> Figure:
    """Top-1 against the real images that a training and its base have seen; the line joins the best for the price."""
    figure, (axes,) = _canvas(1, caption)
    known = points[points["top1_mean"].notna()].sort_values(["real_images", "top1_mean"], ascending=[True, False])
    for series in _series(known, settings):
        axes.errorbar(
            series.rows["real_images"], series.rows["top1_mean"], _whiskers(series.rows), label=series.label, ls="none",
            color=series.colour, marker=series.marker, capsize=2, alpha=0.8,
        )  # fmt: skip
    front = known[pareto_front(known["real_images"], known["top1_mean"])]
    axes.step(front["real_images"], front["top1_mean"], where="post", color="#333333", lw=1.4, label="Pareto front")
    used = known.loc[known["real_images"] > 0, "real_images"]
    axes.set_xscale("symlog", base=2, linthresh=float(used.min()) if len(used) else 1.0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(_axis_label("real_images"))
    _finish(figure, [axes], points, caption)
    return figure


def pareto_front(cost: pd.Series, gain: pd.Series) -> pd.Series:
    """Which rows no other row beats: none costs as little or less and gains more. Rows are in order of rising cost."""
    best_before = gain.cummax().shift(fill_value=-np.inf)
    return gain > best_before


def _effects(points: pd.DataFrame, settings: FigureSettings, names: Sequence[str], caption: Caption) -> Figure:
    """A panel for each axis: top-1 at each of its values, mean over the other settings."""
    shown = [name for name in names if name != settings.series]
    figure, panels = _canvas(len(shown), caption)
    grid = points[points["role"] == "grid"]
    for axes, name in zip(panels, shown, strict=True):
        values = list(dict.fromkeys(grid[name]))
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            values.sort(reverse=name == "fraction")
        others = [other for other in shown if other != name]
        for series in _series(grid, settings):
            axes.plot(
                range(len(values)), balanced_means(series.rows, name, others).reindex(values), label=series.label,
                color=series.colour, marker=series.marker, lw=1.8, ls="-" if series.place % 2 == 0 else (0, (5, 1.5)),
            )  # fmt: skip
        step = 2 if len(values) > 10 else 1
        labels = [textwrap.fill(_value_label(name, value), 11) for value in values[::step]]
        axes.set_xticks(range(0, len(values), step), labels, fontsize=11)
        axes.set_title(_axis_label(name))
        axes.grid(alpha=0.25)
        axes.set_ylabel("")
    low, high = min(axes.get_ylim()[0] for axes in panels), max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
    figure.supylabel("top-1 on real validation images, %, mean over the other settings", fontsize=11.5)
    figure.suptitle(caption.title)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=2)
    return figure


def balanced_means(rows: pd.DataFrame, name: str, others: Sequence[str]) -> pd.Series:
    """Mean top-1 at each value of an axis, over those settings of the other axes at which every value was measured.

    So a value is never better only because it was measured under better settings. A value that has less than half of
    the settings of the fullest one is left out (N = 18, which has no shares of data).
    """
    measured = rows[rows["top1_mean"].notna()]
    table = measured.assign(**{other: measured[other].map(str) for other in others}).pivot_table(
        index=list(others) or None, columns=name, values="top1_mean", sort=False
    )
    counts = table.notna().sum()
    return table.loc[:, counts >= counts.max() / 2].dropna().mean()


def _canvas(panels: int, caption: Caption) -> tuple[Figure, list[Axes]]:
    columns = min(2, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(8 if columns == 1 else 12.5, 5.6 if rows == 1 else 4.0 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for unused in axes[panels:]:
        unused.remove()
    axes[0].set_ylabel(f"top-1 on real validation images, %\n{caption.spread}", fontsize=11.5)
    return figure, axes[:panels]


def _grid(points: pd.DataFrame, settings: FigureSettings) -> pd.DataFrame:
    """The points with a value on the axis; in a curve over depth a training from scratch has none."""
    grid = points[(points["role"] == "grid") & points[settings.axis].notna()]
    return grid[grid["pretrained_on"] != ""] if settings.axis == "frozen_layers" else grid


class Series(NamedTuple):
    """Rows that are drawn alike: their value, their place in palette, markers and hatches, and their name."""

    value: Any
    place: int
    label: str
    rows: pd.DataFrame

    @property
    def colour(self) -> str:
        """Of Okabe and Ito's."""
        return PALETTE[self.place % len(PALETTE)]

    @property
    def marker(self) -> str:
        """Another for each place."""
        return MARKERS[self.place % len(MARKERS)]


def _series(rows: pd.DataFrame, settings: FigureSettings) -> list[Series]:
    """The series of a figure. Directions have places of their own, unless two of a figure would share one."""
    values = list(dict.fromkeys(rows[settings.series]))
    places = [FIXED.get(str(value), place) for place, value in enumerate(values)]
    if len(set(places)) < len(places):
        places = list(range(len(values)))
    return [
        Series(value, place, _label(settings.series, value), rows[rows[settings.series] == value])
        for value, place in zip(values, places, strict=True)
    ]


def _draw_series(
    axes: Axes, grid: pd.DataFrame, settings: FigureSettings, place_on_axis: Callable[[pd.Series], Any]
) -> None:
    for series in _series(grid, settings):
        rows = series.rows.sort_values(settings.axis)
        x = place_on_axis(rows[settings.axis])
        if "published_top1" in rows and rows["published_top1"].notna().any():
            axes.plot(
                x, rows["published_top1"], alpha=0.3, lw=6, color=series.colour, solid_capstyle="round", zorder=1
            )  # fmt: skip
        axes.errorbar(
            x, rows["top1_mean"], _whiskers(rows), label=series.label, color=series.colour, marker=series.marker,
            ms=6, lw=1.8, elinewidth=1, capsize=2.5, zorder=3, ls="-" if series.place % 2 == 0 else (0, (5, 1.5)),
        )  # fmt: skip


def _draw_baselines(axes: Axes, points: pd.DataFrame, settings: FigureSettings) -> None:
    for row in points[(points["role"] == "baseline") & points["top1_mean"].notna()].to_dict("records"):
        name, pretrained = str(row["direction"]), row.get("start") == "pretrained"
        label = f"{DIRECTION_LABELS.get(name, name)}{', pretrained start' if pretrained else ''}"
        dashes = (0, (1, 1.5)) if pretrained else (0, (6, 2)) if name == REAL else (0, (3, 1.5, 1, 1.5))
        # Blue and orange mean directions only where the series are directions.
        colour = PALETTE[FIXED[name]] if settings.series == "direction" and name in FIXED else "#444444"
        axes.axhline(row["top1_mean"], color=colour, ls=dashes, lw=1.5, label=label, zorder=2)
        if pd.notna(row.get("published_top1")):
            axes.axhline(row["published_top1"], color=colour, lw=5, alpha=0.18, zorder=1)


def _finish(
    figure: Figure, panels: Sequence[Axes], points: pd.DataFrame, caption: Caption, limits: bool = True
) -> None:
    figure.suptitle(caption.title)
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        if limits:
            _limit(axes, points)
    handles, labels = panels[-1].get_legend_handles_labels()
    if "published_top1" in points and points["published_top1"].notna().any():
        faint = (
            Patch(facecolor="#777777", alpha=0.35) if limits else Patch(facecolor="none", edgecolor="#777777", ls="--")
        )
        handles.append(faint)
        labels.append("published")
    figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=2)


def _limit(axes: Axes, points: pd.DataFrame) -> None:
    """Keeps the curves readable where intervals over two or three seeds are wider than the figure's range."""
    columns = [name for name in ("top1_mean", "published_top1") if name in points]
    values = points[columns].to_numpy(float)
    if np.isnan(values).all():
        return
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = max(1.0, 0.12 * (high - low))
    axes.set_ylim(max(0.0, low - margin), min(100.5, high + margin))


def _with_whiskers(points: pd.DataFrame) -> pd.DataFrame:
    """Adds down and up, distances: to the ends of the interval if any point has several seeds, else the epochs' std."""
    mean, ends = points["top1_mean"], points[["top1_low", "top1_high"]]
    if not (points["seeds"] > 1).any():
        deviation = points["top1_std_epochs"]
        ends = pd.DataFrame({"top1_low": mean - deviation, "top1_high": mean + deviation})
    return points.assign(down=(mean - ends["top1_low"]).fillna(0), up=(ends["top1_high"] - mean).fillna(0))


def _whiskers(rows: pd.DataFrame) -> np.ndarray:
    """Distances down and up, shape (2, points)."""
    return rows[["down", "up"]].to_numpy(float).T


def _tops(points: pd.DataFrame) -> float:
    columns = [name for name in ("top1_mean", "published_top1") if name in points]
    return float(np.nanmax(np.append(points[columns].to_numpy(float), 0.0)))


def _label(series: str, name: Any) -> str:
    if series == "direction":
        return DIRECTION_LABELS.get(str(name), str(name))
    return f"{_axis_label(series)} {_value_label(series, name)}"


def _value_label(axis: str, value: Any) -> str:
    if axis == "fraction" or (axis == "real_share" and 0 < value <= 1 / 8):
        return share_words(value)
    if isinstance(value, (bool, np.bool_)):
        return axis if value else "plain"
    text = number_words(value) if isinstance(value, float) else str(value)
    return text.replace("_", " ") if text.isidentifier() else text


def _thinned(axis: str, ticks: Sequence[float]) -> list[str]:
    """Labels of ticks, left out where they would run into the one before."""
    labels, last = [], -np.inf
    for tick in ticks:
        shown = tick - last > 0.055 * (ticks[-1] - ticks[0])
        labels.append(_value_label(axis, tick) if shown else "")
        last = tick if shown else last
    return labels


def _axis_label(axis: str) -> str:
    return AXIS_LABELS.get(axis, axis.replace("_", " "))
