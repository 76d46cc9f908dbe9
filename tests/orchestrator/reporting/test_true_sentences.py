"""No sentence of a report is false for a narrowed grid or short trainings: all studies, on made-up histories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.planning.catalog import load, study_names
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.reporting.answers import about_depths, about_scaling, about_shares
from orchestrator.reporting.formatting import display_table, table_for_files
from orchestrator.reporting.report_data import ReportData, gather
from orchestrator.storage.store import Store, StoredModel
from orchestrator.study import Study
from trainables.direction import SYNTHETIC_TO_REAL
from trainables.spec import TrainingSpec

SHORTENINGS = {"first": slice(0, 1), "last": slice(-1, None), "two": slice(-2, None), "ends": slice(None, None, 1000)}


def narrowed(study: Study, part: slice) -> Study:
    """The study with fewer values of each of its axes but the direction."""
    axes: dict[Any, Any] = {
        axis: values if "direction" in axis else list(values)[part] for axis, values in study.axes.items()
    }
    return replace(study, axes=axes, drop=())


def made_up(spec: TrainingSpec, epochs: int) -> StoredModel:
    """A training whose accuracies follow from its fingerprint."""
    level = 30 + int(spec.fingerprint[:6], 16) / 16**6 * 60
    rows = [
        {"epoch": n, "top1": level + n % 3, "top5": 99.0, "train_loss": 1 / n, "learning_rate": 0.1, "seconds": 1.0}
        for n in range(1, epochs + 1)
    ]
    return StoredModel(spec.fingerprint, rows, None, Path())


def reported(plan: Plan, epochs: int) -> ReportData:
    return gather(plan, None, {spec.fingerprint: made_up(spec, epochs) for spec in plan.trials})


@pytest.mark.parametrize("name", study_names())
@pytest.mark.parametrize("part", SHORTENINGS)
def test_what_is_said_of_a_narrowed_study_is_true(tmp_path: Path, name: str, part: str) -> None:
    study, scale = load(name, "pocket")
    for epochs, seeds in ((1, 1), (2, 1), (7, 2)):
        plan = make_plan(
            narrowed(study, SHORTENINGS[part]), scale, seeds, Store(tmp_path / "store").create(), check=False
        )
        data = reported(plan, epochs)
        said = " ".join([*data.sentences, data.spread, data.whiskers, *data.notes])
        assert re.search(r"\d+\.\d", data.sentences[0]), data.sentences
        assert not re.search(r"\bnan\b|\binf\b|-0\.0\b|stays within|Whiskers|bars:", said), said
        depths = set(data.points.loc[data.points["frozen_layers"] > 0, "frozen_layers"])
        for deepest in re.findall(r"[Uu]p to (\d+) of", said):
            assert set(range(1, int(deepest) + 1)) <= depths, said
        own_words = said.replace("The papers' ± is the standard deviation over the last 5 epochs of one run", "")
        assert ("last 5 epochs" in own_words) == (epochs >= 5), said
        assert ("all 2 epochs" in own_words) == (epochs == 2), said
        assert ("±" in " ".join(display_table(data.points)["top-1"])) == (epochs > 1)


def points(top1: dict[int, float], direction: str = "synthetic->real", fraction: float = 1.0) -> pd.DataFrame:
    rows = [(direction, depth, fraction, value, float("nan")) for depth, value in top1.items()]
    return pd.DataFrame(rows, columns=["direction", "frozen_layers", "fraction", "top1_mean", "p_holm"])


@pytest.mark.parametrize(
    ("top1", "sentence"),
    [
        (
            dict.fromkeys(range(1, 11), 80.0) | dict.fromkeys(range(11, 17), 78.9) | {17: 70.0},
            "Up to 10 of 18 layers can come from synthetic images at a cost below 1 point "
            "(top-1 80.0 % with all layers trained on real images): 11 cost 1.1, all 17 cost 10.0 "
            "(one seed: not tested).",
        ),
        ({16: 79.5}, "16 of 18 layers can come from synthetic images at a cost below 1 point"),
        ({16: 79.5, 17: 79.6}, "16 to 17 of 18 layers (2 of these depths measured) can come"),
        ({1: 80.0, 2: 80.04, 3: 80.0}, ": 3 change nothing (one seed"),
        ({16: 38.9, 17: 60.0}, "16 of 18 layers from synthetic images cost 1 point or more (top-1 80.0 %"),
        ({15: 80.0, 16: 84.5, 17: 100.4}, ": all 17 gain 20.4 (one seed"),
        ({1: 80.0, 2: 70.0, 3: 90.0, 4: 80.0}, ": 2 cost 10.0, 3 gain 10.0, 4 change nothing (one"),
    ],
)
def test_the_answer_about_depths_has_its_direction_and_only_what_was_measured(
    top1: dict[int, float], sentence: str
) -> None:
    assert sentence in about_depths(points(top1), SYNTHETIC_TO_REAL, 80.0, 18, 1.0, 1)


def test_the_threshold_is_the_studys_own() -> None:
    told = about_depths(points({1: 79.0, 2: 77.4, 3: 70.0}), SYNTHETIC_TO_REAL, 80.0, 18, 2.5, 1)
    assert told.startswith("Up to 1") or told.startswith(
        "1 of 18 layers can come from synthetic images at a cost below 2.5"
    )
    told = about_depths(points({1: 79.0, 2: 77.6, 3: 70.0}), SYNTHETIC_TO_REAL, 80.0, 18, 2.5, 1)
    assert told.startswith("Up to 2 of 18 layers can come from synthetic images at a cost below 2.5 points")


def shares(values: Sequence[tuple[str, float, float]]) -> pd.DataFrame:
    rows = [(source, 16 if source else 0, fraction, top1, float("nan")) for source, fraction, top1 in values]
    return pd.DataFrame(rows, columns=["pretrained_on", "frozen_layers", "fraction", "top1_mean", "p_holm"])


def test_the_answer_about_shares_says_what_suffices_and_what_the_least_costs() -> None:
    table = shares(
        [
            ("synthetic", 1.0, 80.2),
            ("synthetic", 0.5, 79.4),
            ("synthetic", 0.125, 72.0),
            ("", 1.0, 80.0),
            ("", 0.125, 60.0),
        ]
    )
    assert about_shares(table, 80.0, 1.0, 1) == [
        "1/2 of the real images after pretraining on synthetic images (N = 16) cost less than 1 point against all real "
        "images from scratch (80.0 % top-1): 1/8 costs 8.0 (from scratch it costs 20.0) (one seed: not tested)."
    ]
    least = about_shares(shares([("synthetic", 0.75, 40.0)]), 80.0, 1.0, 1)
    assert least[0].startswith("0.75 of the real images after pretraining on synthetic images (N = 16) cost 1 point or")
    assert about_shares(table, float("nan"), 1.0, 1) == []


def test_files_have_rounded_numbers_one_thing_a_column_and_baselines_by_name(tmp_path: Path) -> None:
    study, scale = load("layer_importance", "pocket")
    plan = make_plan(study, scale, 2, Store(tmp_path / "store").create(), check=False)
    table = table_for_files(reported(plan, 7).points)
    assert {"top1_std_epochs", "top1_std_seeds"} <= set(table) and "top1_std" not in table
    rows = table.set_index(["direction", "frozen_layers"])
    assert rows.loc[("synthetic->real", 17), "baseline"] == "real"
    assert rows.loc[("synthetic", 0), "baseline"] == "real"
    assert rows.loc[("real", 0), "baseline"] == ""
    numbers = table.select_dtypes("float").drop(columns=["p", "p_holm"])
    assert (numbers.round(4).fillna(0) == numbers.fillna(0)).all(axis=None)


def test_a_power_law_is_found_with_its_interval_and_two_numbers_of_images_make_none() -> None:
    counts = [16, 32, 64, 128]
    exact = [100 - 80 * count**-0.25 for count in counts]
    rough = [100 - error for error in (60.0, 47.0, 45.0, 33.0)]
    rows = [("real", count, top1) for count, top1 in zip(counts, exact, strict=True)]
    rows += [("union", count, top1) for count, top1 in zip(counts, rough, strict=True)]
    rows += [("synthetic", 16, 50.0), ("synthetic", 32, 51.0)]
    real, union = about_scaling(pd.DataFrame(rows, columns=["direction", "per_class", "top1_mean"]))
    assert real.startswith("On real images the error falls as images^-0.25 (95 % interval -0.25 to -0.25, of 4 numbers")
    assert real.endswith("60.0 % top-1 with 16 a class, 76.2 with 128.")
    # The normal equations of the logarithms, and Student's t at 0.975 with 2 degrees of freedom, 4.3027.
    assert "and synthetic images together the error falls as images^-0.27 (95 % interval -0.48 to -0.05" in union
