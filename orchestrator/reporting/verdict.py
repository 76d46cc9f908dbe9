"""The outcome of a study in plain sentences, the answer first."""

from __future__ import annotations

import pandas as pd

from orchestrator.claims import checks as claim_checks
from orchestrator.claims.checks import Outcome
from orchestrator.claims.statistics import SIGNIFICANCE
from orchestrator.planning.plan import Plan
from orchestrator.reporting.answers import about_best, about_depths, about_scaling, about_shares
from orchestrator.reporting.figures import fitted_line
from trainables.direction import REAL, REAL_TO_SYNTHETIC, SYNTHETIC, SYNTHETIC_TO_REAL


def verdict(points: pd.DataFrame, plan: Plan, seeds: int, outcomes: list[Outcome]) -> list[str]:
    """A study's outcome, a sentence each, from the measured numbers alone.

    Args:
        points: as `results.point_table` makes it.
        plan: the study's plan.
        seeds: the most that any point has.
        outcomes: the papers' claims, checked.
    """
    base = {kind: _base(points, kind) for kind in (REAL, SYNTHETIC)}
    answer = [*_answer(points, plan, base, seeds), *_gap(base)]
    return [*answer, *_significance(points, seeds), *_claims_in_words(outcomes)]


def _answer(points: pd.DataFrame, plan: Plan, base: dict[str, float], seeds: int) -> list[str]:
    """What the figure shows, in plain sentences."""
    figure, tolerance = plan.study.figure, plan.study.tolerance
    if figure.axis == "frozen_layers" and figure.kind == "curves":
        layers = max((spec.depth for spec in plan.trials), default=0)
        sentences = [
            about_depths(points, direction, base[direction.target], layers, tolerance, seeds)
            for direction in (SYNTHETIC_TO_REAL, REAL_TO_SYNTHETIC)
        ]
    elif figure.logarithmic:
        sentences = about_shares(points, base[REAL], tolerance, seeds)
        transfers = points[points["pretrained_on"] != ""]
        if (line := fitted_line(transfers["fraction"], transfers["top1_mean"])) is not None:
            sentences.append(f"The transfers follow {line[0]:.2f} log2(x) + {line[1]:.2f}, where 1/x is the share.")
    elif figure.axis == "per_class":
        sentences = about_scaling(points)
    else:
        sentences = about_best(points, figure.axis)
    return [sentence for sentence in sentences if sentence] or about_best(points, figure.axis)


def _gap(base: dict[str, float]) -> list[str]:
    if any(map(pd.isna, base.values())):
        return []
    gap = round(base[REAL] - base[SYNTHETIC], 1)
    against = f"{abs(gap):.1f} points {'less' if gap > 0 else 'more'}" if gap else "the same"
    return [f"Trained on real images: {base[REAL]:.1f} % top-1, on synthetic ones: {base[SYNTHETIC]:.1f} %, {against}."]


def _base(points: pd.DataFrame, kind: str) -> float:
    """Top-1 of the plain training from scratch on all images of a kind, or the study's baseline; NaN if it has none."""
    whole = points[(points["direction"] == kind) & (points["fraction"] == 1)]
    plain, own = whole[whole["variant"] == ""], whole[whole["role"] == "baseline"]
    rows = plain if len(plain) else own
    return float(rows["top1_mean"].iloc[0]) if len(rows) else float("nan")


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


def _claims_in_words(outcomes: list[Outcome]) -> list[str]:
    if not outcomes:
        return []
    verdicts = [outcome.verdict for outcome in outcomes]
    if set(verdicts) == {claim_checks.NOT_APPLICABLE}:
        return ["The papers' claims are of other data: not applicable here."]
    order = (claim_checks.CONFIRMED, claim_checks.NOT_CONFIRMED, claim_checks.TOO_FEW, claim_checks.NOT_MEASURED)
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in order if verdict in verdicts]
    return [f"Of {len(verdicts)} claims of the papers: {', '.join(counts)}."]
