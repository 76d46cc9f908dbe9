"""Result tables: rows by the study's axes, the papers' numbers beside, and differences from the right baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.reporting.tables import point_name, point_table, real_images, trial_table, with_published
from orchestrator.storage.store import Store, StoredModel
from orchestrator.study import Trial


def planned(tmp_path: Path, study: str, scale: str = "pocket", settings: Sequence[str] = (), seeds: int = 1) -> Plan:
    chosen, world = apply_overrides(*load(study, scale), settings)
    return make_plan(chosen, world, seeds, Store(tmp_path / "store").create())


def history(top1: float) -> list[dict[str, float]]:
    return [{"epoch": 1, "top1": top1, "top5": 99.0, "train_loss": 0.5, "learning_rate": 0.1, "seconds": 1.0}]


def results(plan: Plan, top1: Callable[[Trial], float]) -> dict[str, StoredModel]:
    return {
        trial.spec.fingerprint: StoredModel(trial.spec.fingerprint, history(top1(trial)), None, Path())
        for trial in plan.grid
    }


@pytest.mark.parametrize(
    ("study", "scale", "with_number", "in_all"),
    [
        ("layer_importance", "imagenet100", 36, 36),
        ("data_reduction", "imagenet100", 16, 16),
        ("normalization", "imagenet100", 6, 6),
        ("augmentation", "imagenet100", 12, 12),
        ("stylized", "imagenet100", 4, 4),
        ("oracle_prompts", "imagenet100", 3, 4),
        ("data_reduction", "oxford_pets", 0, 16),
    ],
)
def test_each_point_of_a_papers_table_has_its_published_number(
    tmp_path: Path, study: str, scale: str, with_number: int, in_all: int
) -> None:
    plan = planned(tmp_path, study, scale)
    points = with_published(point_table(trial_table(plan, {})), plan.study.published, plan.scale.published)
    assert len(points) == in_all
    assert points["published_top1"].notna().sum() == with_number


def test_published_numbers_are_those_of_the_same_variant(tmp_path: Path) -> None:
    plan = planned(tmp_path, "normalization", "imagenet100")
    points = with_published(point_table(trial_table(plan, {})), "normalization", "imagenet100")
    published = points.set_index(["direction", "normalization"])["published_top1"]
    assert published["synthetic", "imagenet"] == 64.8
    assert published["synthetic", "exact"] == 65.9
    assert published["real", "batchnorm_train"] == 88.5


def test_a_point_that_no_paper_has_gets_no_number(tmp_path: Path) -> None:
    study, scale = load("layer_importance", "imagenet100")
    study = replace(study, axes={**study.axes, "learning_rate": (0.1, 0.2)})
    plan = make_plan(study, scale, 1, Store(tmp_path / "store").create())
    points = with_published(point_table(trial_table(plan, {})), "layer_importance", "imagenet100")
    assert points.loc[points["learning_rate"] == 0.2, "published_top1"].isna().all()
    assert points.loc[points["learning_rate"] == 0.1, "published_top1"].notna().all()


def above_the_papers(offset: float, trial: Trial) -> float:
    return 87.8 + offset + 0.2 * trial.seed


def test_a_deviation_is_what_lies_outside_the_interval_or_two_points_away(tmp_path: Path) -> None:
    for seeds, offset, expected in ((1, 1.9, False), (1, 2.1, True), (3, 0.1, False), (3, 1.5, True)):
        plan = planned(tmp_path, "stylized", "imagenet100", seeds=seeds)
        models = results(plan, partial(above_the_papers, offset))
        points = with_published(point_table(trial_table(plan, models)), "stylized", "imagenet100")
        plain = points[(points["direction"] == "real") & ~points["stylized"].astype(bool)]
        assert bool(plain["deviates"].item()) == expected


def test_a_transfer_is_compared_with_training_from_scratch_on_the_same_kind(tmp_path: Path) -> None:
    plan = planned(tmp_path, "layer_importance", settings=["frozen_layers=16,17"], seeds=2)
    top1 = {"real": 80.0, "synthetic": 70.0, "synthetic->real": 78.0, "real->synthetic": 75.0}
    points = point_table(trial_table(plan, results(plan, lambda trial: top1[trial.point["direction"]] + trial.seed)))
    changes = points.groupby("direction")["change"].first()
    assert changes["synthetic->real"] == -2
    assert changes["real->synthetic"] == 5
    assert changes["synthetic"] == -10
    assert np.isnan(changes["real"])


def test_a_share_of_the_data_is_compared_at_its_own_settings_where_there_is_such_a_training(tmp_path: Path) -> None:
    study, scale = load("data_reduction", "pocket")
    study = replace(study, axes={**study.axes, "fraction": (1.0, 0.5), "augmentation": ("pytorch_example", "none")})
    plan = make_plan(study, scale, 1, Store(tmp_path / "store").create())
    points = point_table(trial_table(plan, results(plan, lambda trial: 80.0)))
    names = [point_name(row, ["augmentation"]) for row in points.to_dict("records")]
    compared = {name: names[baseline] for name, baseline in zip(names, points["baseline"], strict=True)}
    assert compared["real 1/2 none"] == "real none"
    assert compared["synthetic->real N=16 1/2 pytorch_example"] == "real pytorch_example"
    assert compared["real none"] == "real pytorch_example"


def test_one_seed_has_no_interval_and_no_test(tmp_path: Path) -> None:
    plan = planned(tmp_path, "normalization")
    points = point_table(trial_table(plan, results(plan, lambda trial: 80.0)))
    assert points[["top1_low", "top1_high", "p", "p_holm"]].isna().all(axis=None)
    assert points["change"].notna().sum() == len(points) - 1


def test_a_point_that_is_baseline_and_grid_is_one_row(tmp_path: Path) -> None:
    study, scale = load("normalization", "pocket")
    plan = make_plan(replace(study, baselines=("real",)), scale, 2, Store(tmp_path / "store").create())
    trials = trial_table(plan, {})
    assert len(trials) == 2 * 6
    assert set(trials["role"]) == {"grid"}


def test_settings_that_do_not_concern_real_images_are_empty_for_them(tmp_path: Path) -> None:
    trials = trial_table(planned(tmp_path, "guidance_and_prompts"), {})
    real = trials[trials["direction"] == "real"].iloc[0]
    assert pd.isna(real["guidance"]) and pd.isna(real["prompt_style"])
    assert real["role"] == "baseline"


def test_real_images_are_counted_over_a_training_and_its_base(tmp_path: Path) -> None:
    specs = {trial.spec.title: trial.spec for trial in planned(tmp_path, "layer_importance").grid}
    whole = specs["real s0"].train_images
    assert real_images(specs["synthetic s0"]) == 0
    assert real_images(specs["real->synthetic N=3 s0"]) == whole
    mixed = [t.spec for t in planned(tmp_path, "mixing", settings=["real_share=0.25"]).grid if "mixed" in t.spec.title]
    assert {real_images(spec) for spec in mixed} == {whole // 4, whole}


def test_an_interval_of_accuracies_stays_between_0_and_100(tmp_path: Path) -> None:
    plan = planned(tmp_path, "normalization", seeds=2)
    points = point_table(trial_table(plan, results(plan, lambda trial: 90.0 + 9 * trial.seed)))
    assert (points["top1_high"] == 100).all()
    assert points["top1_low"].between(30, 60).all()
