"""What a run of a plan ends with, where all that is to run is there or has failed: words, exit code, records."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from datagen.core.command import in_this_shell
from datagen.core.terminal import plain_console
from orchestrator import run_study as module
from orchestrator.cli.options import Options
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.selection import only
from orchestrator.run_study import DONE, SOME_FAILED, run_study
from orchestrator.storage.store import Store
from trainables.spec import TrainingSpec

SETTINGS = ("frozen_layers=17", "epochs=12")
ROW = {"epoch": 1, "top1": 50.0, "top5": 90.0, "train_loss": 1.0, "learning_rate": 0.1, "seconds": 1.0}
COMMAND = "python -m orchestrator.sweep layer_importance --store 'runs [v2] x[/y]'"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(tmp_path / "runs [v2] x[/y]").create()


def planned(store: Store, expression: str | None = None) -> Plan:
    chosen, world = apply_overrides(*load("layer_importance", None), SETTINGS)
    return only(make_plan(chosen, world, 1, store, overridden=SETTINGS), expression)


def publish(store: Store, specs: tuple[TrainingSpec, ...], failure: str | None = None) -> None:
    for spec in specs:
        store.publish_model(spec, [ROW], failure, lambda path: path.write_bytes(b"weights"))


def ran(plan: Plan, store: Store, command: str | None = COMMAND) -> tuple[int, str]:
    told = io.StringIO()
    console = plain_console(file=told, width=300)
    return run_study(plan, store, Options(store_location=store.location), command, console), told.getvalue()


def without_data_sets(plan: Plan) -> Plan:
    """The plan as if its images were there: only trainings are missing."""
    return replace(plan, artifacts=plan.trials)


def test_a_done_study_is_reported_with_the_settings_given_and_the_next_command(store: Store) -> None:
    publish(store, planned(store).trials)
    code, told = ran(without_data_sets(planned(store)), store)
    assert code == DONE
    assert f"Next: {in_this_shell(COMMAND)} --seeds 3" in told
    report = store.study_folder("layer_importance", "pocket") / "report.md"
    assert f"Report: {report.with_suffix('.html')}\n" in told
    shown = shlex.split(next(line for line in told.splitlines() if line.startswith("MLflow: ")))
    assert shown[-1] == f"sqlite:///{store.root / 'mlflow.db'}"
    page = report.read_text(encoding="utf-8")
    assert "Settings given in place of the study's and the scale's own: frozen_layers=17, epochs=12." in page


def test_what_is_recorded_once_is_not_recorded_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, planned(store).trials)
    assert ran(without_data_sets(planned(store)), store)[0] == DONE
    monkeypatch.setattr(module, "Tracker", lambda *_, **__: pytest.fail("MLflow is opened"))
    assert ran(without_data_sets(planned(store)), store)[0] == DONE


def test_a_failed_trial_is_named_and_the_exit_code_is_1(store: Store) -> None:
    first, *others = planned(store).trials
    publish(store, (first,), failure="the loss of runs [v2] was nan")
    publish(store, tuple(others))
    code, told = ran(without_data_sets(planned(store)), store)
    assert code == SOME_FAILED
    assert f"{first.title} failed: the loss of runs [v2] was nan" in told
    assert "Next:" not in told


def test_a_part_that_is_done_is_no_failure_though_the_whole_is_not(store: Store) -> None:
    selected = planned(store, "direction == 'real'")
    publish(store, selected.part.trials)
    plan = without_data_sets(planned(store, "direction == 'real'"))
    code, told = ran(plan, store)
    assert code == DONE
    assert f"{len(selected.part.trials)} trials, 0 to run." in told
    assert "Next:" not in told
    assert "missing" in (store.study_folder("layer_importance", "pocket") / "report.md").read_text(encoding="utf-8")


def test_a_run_from_python_names_no_command(store: Store) -> None:
    publish(store, planned(store).trials)
    code, told = ran(without_data_sets(planned(store)), store, command=None)
    assert code == DONE
    assert "Next:" not in told
