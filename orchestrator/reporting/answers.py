"""The first sentence of a verdict: a study's answer, with numbers and direction, true for whatever was measured.

What was not measured is not spoken of: "up to N" is said only where every depth up to N was, and a range of a curve
only with its ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from datagen.core.wording import number_words, share_words
from orchestrator.claims.statistics import SIGNIFICANCE
from orchestrator.reporting.formatting import varied_settings
from orchestrator.reporting.tables import point_name, setting_words
from trainables.direction import REAL, SYNTHETIC, UNION, Direction


def about_depths(
    points: pd.DataFrame, direction: Direction, baseline: float, layers: int, tolerance: float, seeds: int
) -> str:
    """How many layers can come from a direction's source before accuracy changes; "" if none was measured.

    Args:
        points: as `tables.point_table`.
        direction: a transfer.
        baseline: top-1 of the training from scratch on the direction's target, percent.
        layers: of the network, head included.
        tolerance: points of top-1 from which a cost counts.
        seeds: the most that any point has.
    """
    rows = points[(points["direction"] == str(direction)) & (points["fraction"] == 1) & points["top1_mean"].notna()]
    rows = rows.drop_duplicates("frozen_layers").sort_values("frozen_layers")
    if rows.empty or pd.isna(baseline):
        return ""
    depths = rows["frozen_layers"].tolist()
    changes = dict(zip(depths, (rows["top1_mean"] - baseline).tolist(), strict=True))
    good = _prefix(depths, [changes[depth] > -tolerance for depth in depths])
    if good:
        start = _many_layers(good, layers)
        told = f"{start} can come from {direction.source} images at a cost below {_points(tolerance)}"
    else:
        told = f"{depths[0]} of {layers} layers from {direction.source} images cost {_points(tolerance)} or more"
    told += f" (top-1 {baseline:.1f} % with all layers trained on {direction.target} images)"
    rest = [_at_depth(depth, changes[depth], layers) for depth in _telling(depths, changes, good, tolerance)]
    return f"{told}{': ' if rest else ''}{', '.join(rest)}{_tested(rows, seeds)}."


def _prefix(values: Sequence[int], holds: Sequence[bool]) -> list[int]:
    """The values before the first for which it does not hold."""
    first = holds.index(False) if False in holds else len(values)
    return list(values[:first])


def _many_layers(some: Sequence[int], layers: int) -> str:
    """The first depths of those measured: "Up to 16" only if all from 1 on are among them."""
    last = some[-1]
    if list(some) == list(range(1, last + 1)) and last > 1:
        return f"Up to {last} of {layers} layers"
    if len(some) == 1:
        return f"{last} of {layers} layers"
    return f"{some[0]} to {last} of {layers} layers ({len(some)} of these depths measured)"


def _telling(depths: Sequence[int], changes: Mapping[int, float], good: Sequence[int], tolerance: float) -> list[int]:
    """The depths whose numbers are told: the first that costs, the worst, the best if it gains, the deepest."""
    told = {depths[-1]}
    if len(good) < len(depths):
        told |= {depths[len(good)], min(depths, key=lambda depth: changes[depth])}
    best = max(depths, key=lambda depth: changes[depth])
    return sorted(told | ({best} if changes[best] >= tolerance else set()))


def _at_depth(depth: int, change: float, layers: int) -> str:
    number = f"all {depth}" if depth == layers - 1 and depth > 1 else str(depth)
    return f"{number} {_changes(change, depth == 1)}"


def _changes(change: float, single: bool = False) -> str:
    """A change of top-1 with its direction."""
    ending = "s" if single else ""
    if round(change, 1) == 0:
        return f"change{ending} nothing"
    return f"{'gain' if change > 0 else 'cost'}{ending} {abs(change):.1f}"


def _points(number: float) -> str:
    return f"{number_words(number)} point{'' if number == 1 else 's'}"


def _tested(rows: pd.DataFrame, seeds: int) -> str:
    if seeds < 2:
        return " (one seed: not tested)"
    tested = rows["p_holm"].dropna()
    found = int((tested < SIGNIFICANCE).sum())
    return f" ({seeds} seeds: {found} of these {len(tested)} differences significant)" if len(tested) else ""


def about_scaling(points: pd.DataFrame) -> list[str]:
    """How the error falls with the images of each class: a power law for each kind of images with 3 numbers or more.

    error = a x images^-b, by least squares of the logarithms (Hestness et al., 2017); the interval is that of a
    straight line's slope, by Student's t with two degrees of freedom less than points.
    """
    done = points[points["top1_mean"].notna() & points["per_class"].notna() & (points["top1_mean"] < 100)]
    sentences = []
    for direction, rows in done.groupby("direction", sort=False):
        if rows["per_class"].nunique() < 3:
            continue
        error = 100 - rows["top1_mean"].to_numpy(float)
        line = stats.linregress(np.log(rows["per_class"].to_numpy(float)), np.log(error))
        half = float(stats.t.ppf(0.975, len(rows) - 2)) * float(line.stderr)
        sentences.append(
            f"On {_images_of(str(direction))} the error falls as images^{line.slope:.2f} (95 % interval "
            f"{line.slope - half:.2f} to {line.slope + half:.2f}, of {len(rows)} numbers of images): "
            f"{100 - error[0]:.1f} % top-1 with {int(rows['per_class'].iloc[0])} a class, "
            f"{100 - error[-1]:.1f} with {int(rows['per_class'].iloc[-1])}."
        )
    return sentences


def _images_of(direction: str) -> str:
    return "real and synthetic images together" if direction == UNION else f"{direction} images"


def about_shares(points: pd.DataFrame, baseline: float, tolerance: float, seeds: int) -> list[str]:
    """How few real images suffice after pretraining, and what the same shares do from scratch.

    Args:
        points: as `tables.point_table`.
        baseline: top-1 of the training from scratch on all real images, percent; NaN if not measured.
        tolerance: points of top-1 from which a cost counts.
        seeds: the most that any point has.
    """
    done = points[points["top1_mean"].notna()].sort_values("fraction", ascending=False, kind="stable")
    transfers = done[done["pretrained_on"] != ""].drop_duplicates("fraction")
    scratch = done[done["pretrained_on"] == ""].drop_duplicates("fraction").set_index("fraction")["top1_mean"]
    sentences = []
    if len(transfers) and not pd.isna(baseline):
        shares = transfers["fraction"].tolist()
        enough = (baseline - transfers["top1_mean"] < tolerance).tolist()
        kept = shares[: enough.index(False) if False in enough else len(enough)]
        source = transfers["pretrained_on"].iloc[0]
        after = f"after pretraining on {source} images (N = {transfers['frozen_layers'].iloc[0]})"
        against = f"against all real images from scratch ({baseline:.1f} % top-1)"
        if kept:
            start = f"{_of_the_images(kept[-1])} {after} cost less than {_points(tolerance)} {against}"
        else:
            start = f"{_of_the_images(shares[0])} {after} cost {_points(tolerance)} or more {against}"
        told = [shares[len(kept)], shares[-1]] if len(kept) < len(shares) else [shares[-1]]
        top1 = transfers.set_index("fraction")["top1_mean"]
        rest = [_at_share(share, top1[share] - baseline, scratch.get(share), baseline) for share in dict.fromkeys(told)]
        sentences.append(f"{start}: {', '.join(rest)}{_tested(transfers, seeds)}.")
    return sentences


def _of_the_images(share: float) -> str:
    return "All real images" if share == 1 else f"{share_words(share)} of the real images"


def _at_share(share: float, change: float, scratch: float | None, baseline: float) -> str:
    words = "all of them" if share == 1 else share_words(share)
    alone = f" (from scratch it {_changes(scratch - baseline, True)})" if scratch is not None and share < 1 else ""
    return f"{words} {_changes(change, share < 1)}{alone}"


def about_best(points: pd.DataFrame, axis: str) -> list[str]:
    """The highest and the lowest top-1, and between which values of an axis the gap of the two kinds lies."""
    done = points[points["top1_mean"].notna()].sort_values("top1_mean", kind="stable")
    settings = varied_settings(points)
    if done.empty:
        return []
    worst, best = done.iloc[[0, -1]].to_dict("records")
    if len(done) == 1:
        return [f"Only one point is measured: {best['top1_mean']:.1f} % top-1 ({point_name(best, settings)})."]
    sentences = [
        f"Highest top-1: {best['top1_mean']:.1f} % ({point_name(best, settings)}); "
        f"lowest: {worst['top1_mean']:.1f} % ({point_name(worst, settings)})."
    ]
    whole = done[(done["pretrained_on"] == "") & (done["fraction"] == 1)]
    if axis in done:
        table = whole.sort_index().pivot_table(index=axis, columns="direction", values="top1_mean", sort=False)
        gaps = table.reindex(columns=[REAL, SYNTHETIC]).diff(axis=1, periods=-1)[REAL].dropna()
        if len(gaps) > 1:
            sentences.append(
                f"Real images lead synthetic ones by {gaps.min():.1f} points ({_level(axis, gaps.idxmin())}) to "
                f"{gaps.max():.1f} ({_level(axis, gaps.idxmax())})."
            )
    return sentences


def _level(axis: str, value: object) -> str:
    return setting_words(axis, value) or str(value)
