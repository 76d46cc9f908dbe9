"""The outcome of a study in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from datagen.core.wording import share_words
from orchestrator.claims import checks as claim_checks
from orchestrator.claims.checks import Outcome
from orchestrator.claims.statistics import SIGNIFICANCE
from orchestrator.planning.plan import Plan
from orchestrator.reporting.figures import fitted_line
from orchestrator.reporting.formatting import varied_settings
from orchestrator.reporting.tables import point_name, setting_words
from trainables.direction import REAL, REAL_TO_SYNTHETIC, SYNTHETIC, SYNTHETIC_TO_REAL, Direction


def verdict(points: pd.DataFrame, plan: Plan, seeds: int, outcomes: list[Outcome]) -> list[str]:
    """A study's outcome, a sentence each, from the measured numbers alone.

    Args:
        points: as `results.point_table` makes it.
        plan: the study's plan.
        seeds: the most that any point has.
        outcomes: the papers' claims, checked.
    """
    return [*_numbers(points, plan), *_significance(points, seeds), *_claims_in_words(outcomes, plan)]


def _numbers(points: pd.DataFrame, plan: Plan) -> list[str]:
    """What the figure shows, in plain sentences."""
    sentences = []
    base = {kind: _base(points, kind) for kind in (REAL, SYNTHETIC)}
    if not any(map(pd.isna, base.values())):
        sentences.append(
            f"Trained on real images: {base[REAL]:.1f} % top-1, on synthetic ones: {base[SYNTHETIC]:.1f} %, "
            f"a gap of {base[REAL] - base[SYNTHETIC]:.1f} points."
        )
    figure = plan.study.figure
    if figure.axis == "frozen_layers" and figure.kind == "curves":
        sentences += [_depth_sentence(points, direction, base) for direction in (SYNTHETIC_TO_REAL, REAL_TO_SYNTHETIC)]
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


def _depth_sentence(points: pd.DataFrame, direction: Direction, base: Mapping[str, float]) -> str:
    rows = points[(points["direction"] == str(direction)) & (points["fraction"] == 1) & points["top1_mean"].notna()]
    curve = rows.drop_duplicates("frozen_layers").set_index("frozen_layers")["top1_mean"].sort_index()
    baseline = base[direction.target]
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
            f"With {share_words(row['fraction'])} of the real images: {row['top1_mean']:.1f} % top-1 after synthetic "
            f"pretraining (N = {row['frozen_layers']}), {row['top1_mean_scratch']:.1f} % from scratch."
        )
    line = fitted_line(transfers["fraction"], transfers["top1_mean"])
    if line is not None:
        sentences.append(f"The transfers follow {line[0]:.2f} log2(x) + {line[1]:.2f}, where 1/x is the share.")
    return sentences


def _best_and_gaps(points: pd.DataFrame, axis: str) -> list[str]:
    sentences = []
    done = points[points["top1_mean"].notna()]
    settings = varied_settings(points)
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


def _claims_in_words(outcomes: list[Outcome], plan: Plan) -> list[str]:
    verdicts = [outcome.verdict for outcome in outcomes]
    order = (claim_checks.CONFIRMED, claim_checks.NOT_CONFIRMED, claim_checks.TOO_FEW, claim_checks.NOT_MEASURED)
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in order if verdict in verdicts]
    label = "" if plan.scale.published else f" ({plan.scale.name} is no evidence about them)"
    return [f"Of {len(verdicts)} claims of the papers: {', '.join(counts)}{label}."] if counts else []
