"""The report: honest about what its numbers are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.catalog import load_scale, load_study
from orchestrator.overrides import apply_overrides
from orchestrator.plan import Plan, make_plan
from orchestrator.report import Report, write_report
from orchestrator.results import finished_models, point_table, trial_table, with_published
from orchestrator.store import Store
from trainables.spec import TrainingSpec

GENERATOR = np.random.default_rng(0)


def curve(top1: float, epochs: int = 8) -> list[dict[str, float]]:
    """A history that ends with five epochs around `top1`."""
    noise = [-30.0] * (epochs - 5) + [-2.0, -1.0, 0.0, 1.0, 2.0]
    return [
        {"epoch": n, "top1": top1 + d, "top5": 99.0, "train_loss": 0.5, "learning_rate": 0.1, "seconds": 1.0}
        for n, d in enumerate(noise, 1)
    ]


def reported(
    tmp_path: Path, seeds: int = 1, *, skip: str = "", fail: str = "", published: str | None = None
) -> tuple[Plan, Report]:
    """A report on made-up trainings: real 80, synthetic 70, transfers 79 (or 60 at N = 17); seed s adds s points."""
    store = Store(tmp_path / "store").open()
    study, scale = apply_overrides(
        load_study("layer_importance"), replace(load_scale("pocket"), published=published), ["frozen_layers=1,16,17"]
    )
    plan = make_plan(study, scale, seeds, store)
    for spec in plan.trials:
        if skip and skip in spec.title:
            continue
        failure = "the training loss was nan in epoch 2" if fail and fail in spec.title else None
        store.publish_model(spec, curve(made_up(spec)), failure, lambda path: path.write_bytes(b"weights"))
    return plan, write_report(plan, store, finished_models(plan, store), "the command")


def made_up(spec: TrainingSpec) -> float:
    level = {"real": 80.0, "synthetic": 70.0}.get(spec.direction, 60.0 if spec.frozen_layers == 17 else 79.0)
    return level + spec.seed


def test_one_seed_shows_the_papers_spread_over_the_last_five_epochs(tmp_path: Path) -> None:
    _, report = reported(tmp_path)
    real = report.points.iloc[0]
    assert real["top1_mean"] == pytest.approx(80)
    assert real["top1_std"] == pytest.approx(np.std([-2, -1, 0, 1, 2]))
    assert report.spread == "± over the last 5 epochs of one run"


def test_several_seeds_show_the_spread_over_seeds_and_say_so(tmp_path: Path) -> None:
    _, report = reported(tmp_path, seeds=3)
    real = report.points.iloc[0]
    assert real["seeds"] == 3
    assert real["top1_mean"] == pytest.approx(81)
    assert real["top1_std"] == pytest.approx(np.std([80, 81, 82], ddof=1))
    assert "over 3 seeds" in report.files[0].read_text()


def test_the_verdict_is_said_from_the_numbers(tmp_path: Path) -> None:
    _, report = reported(tmp_path)
    assert "Trained on real images: 80.0 % top-1, on synthetic ones: 70.0 %, a gap of 10.0 points." in report.verdict
    assert "synthetic->real: up to N = 16 top-1 stays within 1.0 points of 80.0" in report.verdict
    assert "at N = 17 it is 60.0" in report.verdict


def test_what_is_missing_or_failed_is_shown_as_such(tmp_path: Path) -> None:
    plan, report = reported(tmp_path, skip="synthetic->real N=16", fail="real->synthetic N=1 ")
    statuses = dict(zip([spec.title for spec in plan.trials], report.trials["status"], strict=True))
    assert statuses["synthetic->real N=16 s0"] == "missing"
    assert statuses["real->synthetic N=1 s0"] == "failed"
    page = report.files[0].read_text()
    assert page.count("| missing") == 2 * 3
    assert "Failed: real->synthetic N=1 s0: the training loss was nan in epoch 2" in page
    assert "Missing: synthetic->real N=16 s0." in page
    assert "Of 8 trials 1 are missing and 1 failed." in report.verdict


def test_a_pocket_result_never_stands_beside_published_numbers(tmp_path: Path) -> None:
    _, report = reported(tmp_path)
    assert "published_top1" not in report.points
    assert "published" not in report.files[0].read_text()


def test_a_papers_scale_shows_published_beside_measured(tmp_path: Path) -> None:
    _, report = reported(tmp_path, published="imagenet100")
    rows = report.points.set_index(["direction", "frozen_layers"])
    assert rows.loc[("real", 0), "published_top1"] == 87.8
    assert rows.loc[("synthetic->real", 17), "published_top1"] == 73.0
    assert rows.loc[("real->synthetic", 17), "published_top1"] == 85.2
    assert rows.loc[("synthetic->real", 17), "difference"] == pytest.approx(60.0 - 73.0)
    assert "| 87.8 ± 0.1" in report.files[0].read_text()


def test_every_point_of_the_papers_tables_has_its_published_number(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").open()
    study, scale = load_study("layer_importance"), load_scale("pocket")
    plan = make_plan(study, scale, 1, store)
    for data_set in ("imagenet100", "oxford_pets"):
        points = with_published(point_table(trial_table(plan, {})), "layer_importance", data_set)
        assert len(points) == 36
        assert points["published_top1"].notna().all()


def test_the_same_results_make_the_same_files(tmp_path: Path) -> None:
    first, second = (reported(tmp_path / name)[1] for name in ("one", "two"))
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
