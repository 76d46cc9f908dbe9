"""Estimates come from what was measured in the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.planning.calibration import calibrated, note_speed
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import make_plan
from orchestrator.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def estimate(store: Store) -> float:
    study, scale = load("layer_importance", "pocket")
    return make_plan(study, calibrated(scale, store), 1, store).seconds()


def run_at(store: Store, speed: float) -> None:
    """A run that took `speed` times as long as the shipped rates say, on two slots."""
    study, scale = load("layer_importance", "pocket")
    truth = make_plan(study, scale, 1, store).seconds() * speed
    plan = make_plan(study, calibrated(scale, store), 1, store)
    note_speed(plan.scale, store, plan.tasks(2), 2, 11.0, truth / 2)


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
def test_after_a_run_the_estimate_is_what_the_run_took(speed: float, store: Store) -> None:
    before = estimate(store)
    run_at(store, speed)
    assert estimate(store) == pytest.approx(before * speed, rel=0.05)


def test_a_second_run_corrects_the_first_and_does_not_add_to_it(store: Store) -> None:
    before = estimate(store)
    run_at(store, 3.0)
    run_at(store, 2.0)
    assert estimate(store) == pytest.approx(before * 2, rel=0.05)


def test_a_run_of_seconds_says_nothing(store: Store) -> None:
    study, scale = load("layer_importance", "pocket")
    note_speed(scale, store, make_plan(study, scale, 1, store).tasks(2), 2, 11.0, 3.0)
    assert calibrated(scale, store) == scale


def test_the_start_up_is_measured_too(store: Store) -> None:
    run_at(store, 1.0)
    assert calibrated(load("layer_importance", "pocket")[1], store).rates.startup == 11.0
