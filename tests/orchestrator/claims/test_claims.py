"""Claims of the papers, checked over tables: confirmed, not confirmed, not enough seeds, or not measured."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from orchestrator.claims.checks import CONFIRMED, NOT_CONFIRMED, NOT_MEASURED, TOO_FEW, evaluate
from orchestrator.claims.kinds import TO_REAL, Cell, Claim, DropsAt, GapRemains, LineFit, StaysWithin
from tests.conftest import ROOT
from trainables.direction import REAL

GAP = GapRemains("a gap of 23 points", "here", points=23.0)
POSITIVE_GAP = GapRemains("a gap", "here")


def table(cells: dict[Cell, list[float]]) -> pd.DataFrame:
    """A trial table: the values of each cell are those of its seeds."""
    rows = [
        {**cell._asdict(), "seed": seed, "top1_mean": value, "status": "done"}
        for cell, values in cells.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def gap_table(*gaps: float) -> pd.DataFrame:
    return table({Cell(REAL): [80.0] * len(gaps), Cell("synthetic"): [80.0 - gap for gap in gaps]})


def verdict(claim: Claim, trials: pd.DataFrame) -> str:
    return evaluate([claim], trials, "imagenet100")[0].verdict


def test_a_number_is_confirmed_if_the_interval_lies_within_two_points_of_it() -> None:
    assert verdict(GAP, gap_table(23.5, 23.0, 23.7)) == CONFIRMED
    assert verdict(GAP, gap_table(26.5, 26.0, 26.7)) == NOT_CONFIRMED


def test_a_mean_within_the_bounds_is_not_enough_where_the_seeds_scatter() -> None:
    (outcome,) = evaluate([GAP], gap_table(20.0, 23.0, 26.0), "imagenet100")
    assert outcome.verdict == NOT_CONFIRMED
    assert outcome.findings[0].mean == pytest.approx(23)
    assert "gap: +23.00 [+15.55, +30.45] points, expected 21.0 to 25.0" in outcome.findings[0].sentence()


def test_fewer_than_three_seeds_confirm_and_refute_nothing() -> None:
    assert verdict(GAP, gap_table(23.0)) == TOO_FEW
    assert verdict(GAP, gap_table(3.0, 3.1)) == TOO_FEW


def test_a_direction_is_confirmed_if_the_interval_excludes_zero() -> None:
    assert verdict(POSITIVE_GAP, gap_table(1.0, 1.1, 1.2)) == CONFIRMED
    assert verdict(POSITIVE_GAP, gap_table(-1.0, 1.1, 1.2)) == NOT_CONFIRMED


def test_what_was_not_measured_is_said_to_be_so() -> None:
    trials = gap_table(23.0, 23.0, 23.0)
    assert verdict(DropsAt("", "", direction=TO_REAL, depth=17), trials) == NOT_MEASURED
    trials.loc[trials["direction"] == "synthetic", "status"] = "missing"
    assert verdict(GAP, trials) == NOT_MEASURED


def test_a_seed_without_a_result_does_not_count() -> None:
    trials = gap_table(23.0, 23.1, 23.2)
    trials.loc[trials.index[-1], "status"] = "failed"
    assert verdict(GAP, trials) == TOO_FEW


def test_a_curve_that_was_not_measured_to_its_end_says_nothing_of_staying_within() -> None:
    claim = StaysWithin("", "", direction=TO_REAL, up_to=3, falls=3.5)
    cells = {Cell(REAL): [80.0] * 3, Cell(TO_REAL, 1): [79.0] * 3, Cell(TO_REAL, 2): [78.0] * 3}
    assert verdict(claim, table(cells)) == NOT_MEASURED
    (outcome,) = evaluate([claim], table({**cells, Cell(TO_REAL, 3): [70.0] * 3}), "imagenet100")
    assert outcome.verdict == NOT_CONFIRMED
    assert outcome.findings[0].check.name == "largest fall, at N = 3"


def test_the_line_is_fitted_to_each_seeds_curve() -> None:
    cells = {Cell(TO_REAL, 16, 1 / 2**k): [90 - slope * k for slope in (2.0, 2.1, 2.2)] for k in range(8)}
    (outcome,) = evaluate([LineFit("", "", slope=-2.1, intercept=90.0)], table(cells), "imagenet100")
    assert outcome.findings[0].mean == pytest.approx(-2.1)
    assert outcome.findings[1].mean == pytest.approx(90)
    assert outcome.verdict == CONFIRMED


def test_claims_about_other_data_are_left_out() -> None:
    pets = GapRemains("", "", data_set="oxford_pets")
    trials = gap_table(23.0)
    assert [outcome.claim for outcome in evaluate([GAP, pets], trials, "oxford_pets")] == [pets]
    assert [outcome.claim for outcome in evaluate([GAP, pets], trials, None)] == [GAP]


def test_claims_are_named_without_loading_what_checks_them() -> None:
    code = (
        "import sys, orchestrator.claims.kinds;"
        "heavy = {'numpy', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    root = ROOT
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
