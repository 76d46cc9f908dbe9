"""Searches: they go on where they stopped, count what exists, and compare only like with like."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from datagen.core.errors import InputError
from orchestrator.cli.overrides import apply_overrides
from orchestrator.execution.early_stopping import HalvingByBudget
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, Task, make_plan
from orchestrator.planning.search import (
    DONE,
    FAILED,
    STOPPED,
    SearchRun,
    _settings_formerly,
    ledger_of,
    point_of,
    searched_trials,
)
from orchestrator.storage.store import Store
from orchestrator.study import Range, Search
from trainables.spec import TrainingSpec


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def planned(store: Store, trials: int = 4, seeds: int = 1, *settings: str) -> Plan:
    study, scale = apply_overrides(*load("label_budget", "pocket"), settings)
    assert study.search is not None
    return make_plan(replace(study, search=replace(study.search, trials=trials)), scale, seeds, store)


def publish(store: Store, task: Task) -> None:
    for spec in task.members:
        store.publish_model(spec, [{"top1": 50.0}], None, lambda path: path.write_bytes(b"weights"))


def top1_of(spec: TrainingSpec) -> float:
    """More images are better, and so are deeper cuts: a made-up truth."""
    return 40 + 30 * spec.fraction + spec.frozen_layers


def run(search: SearchRun, store: Store, limit: int = 100) -> int:
    """Does what the search asks for, at once; returns how many tasks that took."""
    tasks = 0
    while limit and (asked := search.ask()):
        limit -= 1
        for task in asked:
            tasks += 1
            publish(store, task)
            search.ended(task, DONE)
    return tasks


def test_a_search_tries_as_many_points_as_it_promises_and_each_once(store: Store) -> None:
    plan = planned(store, trials=12)
    search = SearchRun(plan, store, top1_of)
    run(search, store)
    entries = ledger_of(plan, store)
    assert len(entries) == 12 and search.over
    assert len({json.dumps(entry.parameters, sort_keys=True) for entry in entries}) == 12
    assert all(entry.state == DONE and entry.real_images for entry in entries)


def test_a_search_goes_on_where_it_stopped(store: Store) -> None:
    plan = planned(store, trials=6)
    first = SearchRun(plan, store, top1_of)
    run(first, store, limit=3)
    before = [entry.parameters for entry in ledger_of(plan, store)]
    second = SearchRun(plan, store, top1_of)
    assert second.left == 3
    run(second, store)
    after = [entry.parameters for entry in ledger_of(plan, store)]
    assert after[:3] == before and len(after) == 6


def test_a_point_that_was_running_when_the_search_was_killed_is_tried_again_first(store: Store) -> None:
    plan = planned(store, trials=3)
    SearchRun(plan, store, top1_of).ask()
    (running,) = ledger_of(plan, store)
    again = SearchRun(plan, store, top1_of)
    again.ask()
    assert [entry.parameters for entry in ledger_of(plan, store)] == [running.parameters]


def test_a_search_that_is_over_asks_for_nothing(store: Store) -> None:
    plan = planned(store, trials=2)
    run(SearchRun(plan, store, top1_of), store)
    assert SearchRun(plan, store, top1_of).ask() == []


def test_with_other_settings_it_is_another_search(store: Store) -> None:
    run(SearchRun(planned(store, 2), store, top1_of), store)
    assert ledger_of(planned(store, 2, 1, "epochs=3"), store) == []


def test_another_search_of_the_study_costs_one_none_of_its_points(store: Store) -> None:
    first, second = planned(store, 4), planned(store, 3, 1, "epochs=3")
    run(SearchRun(first, store, top1_of), store, limit=2)
    before = [entry for entry in ledger_of(first, store) if entry.state == DONE]
    run(SearchRun(second, store, top1_of), store)
    assert [entry for entry in ledger_of(first, store) if entry.state == DONE] == before
    run(SearchRun(first, store, top1_of), store)
    assert ledger_of(first, store)[: len(before)] == before
    assert len(ledger_of(second, store)) == 3


def test_the_trials_of_a_search_are_those_that_are_done(store: Store) -> None:
    plan = planned(store, trials=3, seeds=2)
    search = SearchRun(plan, store, top1_of)
    for state in (DONE, STOPPED, FAILED):
        for task in search.ask():
            publish(store, task)
            search.ended(task, state)
    assert [entry.state for entry in ledger_of(plan, store)] == [DONE, STOPPED, FAILED]
    trials = searched_trials(plan, store)
    assert [trial.seed for trial in trials] == [0, 1]


def test_a_point_counts_once_all_its_seeds_are_done(store: Store) -> None:
    plan = planned(store, trials=1, seeds=2)
    search = SearchRun(plan, store, top1_of)
    tasks = search.ask()
    trainings = [task for task in tasks if any("N=" in s.title or str(s.direction) == "real" for s in task.members)]
    publish(store, tasks[0])
    search.ended(trainings[0], DONE)
    assert ledger_of(plan, store)[0].state == "running"
    for task in tasks:
        search.ended(task, DONE)
    assert ledger_of(plan, store)[0].state == DONE


def test_nothing_taken_over_is_a_training_from_scratch() -> None:
    assert point_of({"frozen_layers": 0, "fraction": 0.5})["direction"] == "real"
    assert point_of({"frozen_layers": 3, "fraction": 0.5})["direction"] == "synthetic->real"


def test_a_range_is_sampled_within_its_bounds(store: Store) -> None:
    plan = planned(store, trials=8)
    assert plan.study.search is not None
    bounds = plan.study.search.space["learning_rate"]
    assert isinstance(bounds, Range)
    run(SearchRun(plan, store, top1_of), store)
    rates = [entry.parameters["learning_rate"] for entry in ledger_of(plan, store)]
    assert all(bounds.low <= rate <= bounds.high for rate in rates) and len(set(rates)) == 8


def spec_at(plan: Plan, **point: Any) -> TrainingSpec:
    (trial,) = plan.trials_at({"direction": "real", **point})
    return trial.spec


def test_points_are_stopped_only_in_comparison_with_those_of_as_many_images(store: Store) -> None:
    plan = planned(store)
    assert plan.study.search is not None
    halving = HalvingByBudget(plan.study.search)
    few = [spec_at(plan, fraction=1 / 128, learning_rate=0.1 + n / 100) for n in range(4)]
    many = [spec_at(plan, fraction=1.0, learning_rate=0.1 + n / 100) for n in range(4)]

    def stops(spec: TrainingSpec, top1: float) -> bool:
        return halving.stops(SimpleNamespace(trial_id=spec.fingerprint), spec, 3, top1)

    for top1, spec in zip((80, 81, 82, 83), many, strict=True):
        stops(spec, top1)
    assert [stops(spec, top1) for top1, spec in zip((30, 20, 10, 40), few, strict=True)] == [False, True, True, False]


def test_between_the_rungs_nothing_is_stopped(store: Store) -> None:
    plan = planned(store)
    assert plan.study.search is not None
    halving = HalvingByBudget(plan.study.search)
    for n in range(6):
        spec = spec_at(plan, learning_rate=0.1 + n / 100)
        assert not halving.stops(SimpleNamespace(trial_id=str(n)), spec, 2, 90.0 - n)


def test_a_search_is_narrowed_and_lengthened_on_the_command_line(store: Store) -> None:
    study, scale = apply_overrides(
        *load("label_budget", "pocket"), ["trials=3", "fraction=1/4,1/8", "augmentation=none"]
    )
    assert study.search is not None
    assert study.search.trials == 3
    assert study.search.space["fraction"] == [0.25, 0.125] and study.search.space["augmentation"] == ["none"]
    plan = make_plan(study, scale, 1, store)
    run(SearchRun(plan, store, top1_of), store)
    assert {entry.parameters["fraction"] for entry in ledger_of(plan, store)} <= {0.25, 0.125}


def test_a_search_goes_on_in_a_narrower_space_and_keeps_what_it_has_tried_outside(store: Store) -> None:
    run(SearchRun(planned(store, 3), store, top1_of), store)
    before = [entry.parameters for entry in ledger_of(planned(store, 3), store)]
    plan = planned(store, 6, 1, "frozen_layers=16,17", "views=none")
    run(SearchRun(plan, store, top1_of), store)
    after = [entry.parameters for entry in ledger_of(plan, store)]
    assert after[:3] == before and len(after) == 6
    assert all(point["frozen_layers"] in (16, 17) and point["augmentation"] == "none" for point in after[3:])
    assert len(searched_trials(plan, store)) == 6


def test_a_point_that_was_running_outside_of_a_narrower_space_is_not_tried_again(store: Store) -> None:
    SearchRun(planned(store, 3, 1, "frozen_layers=4,8"), store, top1_of).ask()
    plan = planned(store, 3, 1, "frozen_layers=16,17")
    run(SearchRun(plan, store, top1_of), store)
    assert {entry.parameters["frozen_layers"] for entry in ledger_of(plan, store)} <= {16, 17}


def test_a_ledger_of_before_is_read_under_the_settings_present_names(store: Store) -> None:
    plan = planned(store, 3)
    run(SearchRun(plan, store, top1_of), store)
    ledger = store.read_ledger(plan.study.name, plan.scale.name)
    for entry in ledger["entries"]:
        entry["parameters"]["views"] = entry["parameters"].pop("augmentation")
    ledger["settings"] = _settings_formerly(plan)
    store.write_ledger(plan.study.name, plan.scale.name, ledger)
    assert all("augmentation" in entry.parameters for entry in ledger_of(plan, store))
    assert SearchRun(plan, store, top1_of).over


def test_values_that_do_not_go_together_are_a_point_that_failed(store: Store) -> None:
    plan = planned(store, 4)
    search = Search(space={"frozen_layers": (16,), "warmup_epochs": (0, 1, 2, 12)}, trials=4)
    plan = replace(plan, study=replace(plan.study, search=search))
    run(SearchRun(plan, store, top1_of), store)
    states = {entry.parameters["warmup_epochs"]: entry.state for entry in ledger_of(plan, store)}
    assert states == {0: DONE, 1: DONE, 2: DONE, 12: FAILED}


@pytest.mark.parametrize("setting", ["trials=0", "trials=many", "fraction=3"])
def test_a_wrong_narrowing_is_refused(setting: str) -> None:
    with pytest.raises(InputError):
        apply_overrides(*load("label_budget", "pocket"), [setting])
