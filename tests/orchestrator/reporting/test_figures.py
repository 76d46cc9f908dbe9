"""Figures: each kind is drawn from what is there, and says what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import make_plan
from orchestrator.reporting.figures import Caption, balanced_means, draw, fitted_line, pareto_front
from orchestrator.reporting.tables import point_table, trial_table
from orchestrator.storage.store import Store, StoredModel

EPOCH = {"epoch": 1, "top5": 99.0, "train_loss": 0.5, "learning_rate": 0.1, "seconds": 1.0}


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ("guidance_and_prompts", ["prompt style c, d_c", "all layers trained on real"]),
        ("data_reduction", ["log2(x)", "1/128", "read right to left"]),
        ("oracle_prompts", ["untuned", "all layers trained on real"]),
        ("label_budget", ["Pareto front", "real images used"]),
    ],
)
def test_a_study_is_drawn_as_it_says(tmp_path: Path, study: str, words: list[str]) -> None:
    chosen, scale = load(study, "pocket")
    plan = make_plan(chosen, scale, 1, Store(tmp_path / "store").create())
    values = iter(np.random.default_rng(0).uniform(40, 90, len(plan.grid)))
    models = {
        trial.spec.fingerprint: StoredModel("", [{**EPOCH, "top1": next(values)}], None, Path()) for trial in plan.grid
    }
    points = point_table(trial_table(plan, models))
    png, svg = draw(points, chosen.figure, chosen.axis_names, Caption("the title", "the spread"), tmp_path)
    assert png.stat().st_size > 20_000
    text = svg.read_text()
    for word in ["the title", "the spread", *words]:
        assert f"<!-- {word}" in text or word in text, word


def test_a_study_without_results_is_drawn_empty(tmp_path: Path) -> None:
    few = {"full_grid": ["fraction=1", "frozen_layers=1,17", "augmentation=none,augmix"]}
    for study in ("layer_importance", "normalization", "data_reduction", "label_budget", "full_grid"):
        chosen, scale = apply_overrides(*load(study, "pocket"), few.get(study, []))
        plan = make_plan(chosen, scale, 1, Store(tmp_path / "store").create())
        points = point_table(trial_table(plan, {}))
        assert draw(points, chosen.figure, chosen.axis_names, Caption("", ""), tmp_path)[0].is_file()


def test_the_line_is_that_of_the_paper() -> None:
    """Fine-Tuning Role, Figure 3: -2.23 log2(x) + 85.61, from the rounded values of Table 6a."""
    fractions = pd.Series([1 / 2**k for k in range(8)])
    top1 = pd.Series([84.3, 83.0, 81.9, 80.1, 77.3, 74.9, 72.5, 68.5])
    assert fitted_line(fractions, top1) == pytest.approx((-2.23, 85.61), abs=0.011)
    assert fitted_line(fractions[:2], top1[:2]) is None


def test_the_front_is_what_nothing_cheaper_or_as_cheap_beats() -> None:
    cost, gain = pd.Series([0, 10, 10, 20, 30]), pd.Series([50.0, 70.0, 60.0, 65.0, 80.0])
    assert pareto_front(cost, gain).tolist() == [True, True, False, False, True]


def test_effects_are_means_over_the_settings_that_all_values_share() -> None:
    rows = pd.DataFrame(
        [("a", "x", 10.0), ("a", "y", 90.0), ("b", "x", 20.0), ("c", "x", 30.0), ("c", "y", 70.0)],
        columns=["one", "other", "top1_mean"],
    )
    means = balanced_means(rows, "one", ["other"])
    assert means.to_dict() == {"a": 10.0, "b": 20.0, "c": 30.0}
