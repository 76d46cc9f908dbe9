"""Which trials are meant, what state they are in, and what they said; without Ray."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.core.terminal import plain_console
from orchestrator.cli.options import Options, look, make_ready
from orchestrator.cli.overrides import apply_overrides
from orchestrator.cli.status import StatusFile
from orchestrator.execution.logs import logs_of, task_log
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, Task, make_plan
from orchestrator.planning.selection import find_trial, only
from orchestrator.storage.store import Store
from trainables.report import EpochReport

ROW = {"epoch": 1, "top1": 50.0, "top5": 90.0, "train_loss": 1.5, "learning_rate": 0.1, "seconds": 2.0}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def planned(store: Store) -> Plan:
    return make_plan(*apply_overrides(*load("layer_importance", "pocket"), ["frozen_layers=1,14,17"]), 2, store)


def shown(store: Store, **options: object) -> str:
    console = plain_console(file=io.StringIO(), width=200)
    look(planned(store), store, Options(store_location=store.location, **options), console)  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("expression", "depths", "seeds"),
    [
        ("N >= 14", {14, 17}, {0, 1}),
        ("frozen_layers == 17 and seed == 0", {17}, {0}),
        ("not (N < 14 or seed in (1, 2))", {14, 17}, {0}),
        ("1 < N <= 7 * 2 and direction == 'RDTL'", {14}, {0, 1}),
        ("N == 1 and trained_on == real and fraction > 1/8", {1}, {0, 1}),
        ("N > 16 and epochs - 2 > 1 and model != 'resnet50'", {17}, {0, 1}),
        ("N == 1 and views == augmentation == 'pytorch_example' and direction == SDTL", {1}, {0, 1}),
    ],
)
def test_an_expression_chooses_trials_and_what_they_need(
    expression: str, depths: set[int], seeds: set[int], store: Store
) -> None:
    plan = only(planned(store), expression).part
    assert {spec.frozen_layers for spec in plan.trials} == depths
    assert {spec.seed for spec in plan.trials} == seeds
    assert only(planned(store), expression).trials == planned(store).trials, "the whole stays what the report is of"
    needed = {spec.source.fingerprint for spec in plan.trials if spec.source}
    assert needed <= {spec.fingerprint for spec in plan.artifacts}
    assert len(plan.artifacts) < len(planned(store).artifacts)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("__import__('os').system('true')", "takes comparisons of settings"),
        ("(lambda: 1)() == 1", "takes comparisons of settings"),
        ("seed.__class__ == 0", "takes comparisons of settings"),
        ("[n for n in (1, 2)] == N", "takes comparisons of settings"),
        ("'a' * 10 == 'b'", "+ - * / take numbers"),
        ("direction + 1 > 2", "+ - * / take numbers"),
        ("f'{N}' == '1'", "takes comparisons of settings"),
        ("N if seed else 3", "takes comparisons of settings"),
        ("N is 3", "takes comparisons of settings, with and, or, not, in and + - * /; not 'N is 3'"),
        ("None == N", "takes comparisons of settings"),
        ("(N := 3) == 3", "takes comparisons of settings"),
        ("direction[0] == 'r'", "takes comparisons of settings"),
        ("N > 99 and sed == 0", "knows no 'sed'. Did you mean 'seed'?"),
        ("-" * 900 + "N > 1", "recursion"),
        ("N / 0.0 > 1", "division by zero"),
        ("2 ** 100 > N", "takes comparisons of settings"),
        ("frozen_layer > 3", "knows no 'frozen_layer'. Did you mean 'frozen_layers'?"),
        ("N >", "cannot be read"),
        ("(" * 500 + "N" + ")" * 500, "cannot be read"),
        ("N > 'a'", "not supported between instances"),
        ("N > 1 / 0", "division by zero"),
        ("N > 17", "leaves none of the"),
    ],
)
def test_any_other_expression_is_refused_in_a_sentence(expression: str, sentence: str, store: Store) -> None:
    with pytest.raises(InputError, match=r".") as refusal:
        only(planned(store), expression)
    assert sentence in str(refusal.value)


def test_a_trial_is_found_by_title_and_by_the_start_of_its_fingerprint(store: Store) -> None:
    plan = planned(store)
    spec = plan.trials[-1]
    assert find_trial(plan, spec.title) is spec
    assert find_trial(plan, spec.fingerprint[:8].upper()) is spec
    with pytest.raises(InputError, match=r"no trial 'real s3'\. Did you mean 'real s\d'\?"):
        find_trial(plan, "real s3")


def test_the_status_tells_each_trials_state(store: Store) -> None:
    plan = planned(store)
    done, failed, broken, running, starting = plan.trials[:5]
    store.publish_model(done, [ROW], None, lambda path: path.write_bytes(b"weights"))
    store.publish_model(failed, [], "the training loss was nan in epoch 1", lambda path: None)
    with store.owned("the sweep"), StatusFile(plan, store) as file:
        for spec in (running, starting):
            file.task_started(Task(spec.title, (spec,), frozenset(), 1.0))
        task = Task(running.title, (running,), frozenset(), 1.0)
        file.task_progressed(task, EpochReport(2, 12, {running.fingerprint: ROW}))
        file.task_ended(Task(broken.title, (broken,), frozenset(), 1.0), "its process died")
        file._write(now=True)
        text = shown(store, status=True)
    assert "the sweep runs on" in text
    for spec, state in (
        (done, "done"),
        (failed, "failed: the training loss was nan in epoch 1"),
        (broken, "failed: its process died"),
        (running, "running, epoch 2 of 12, top-1 50.0"),
        (starting, "running, no epoch done yet"),
        (plan.trials[5], "waiting"),
    ):
        (line,) = [line for line in text.splitlines() if line.startswith(f"{spec.title} ")]
        assert state in line
    assert "1 done, 2 failed, 2 running" in text
    afterwards = shown(store, status=True)
    assert "No sweep runs on this store" in afterwards
    assert "stopped, epoch 2 of 12" in afterwards


def test_logs_of_several_attempts_and_processes_are_printed_for_each_of_their_trials(store: Store) -> None:
    plan = planned(store)
    first, second, other = plan.trials[:3]
    task = Task("both", (first, second), frozenset(), 1.0)
    for rank in (0, 1):
        with task_log(store, task, rank) as log:
            log.say("[bold] is no markup")
            log.say_error(ValueError("poison"))
    with task_log(store, task):
        pass
    text = shown(store, logs=second.title)
    assert text.count("ValueError: poison") == 2
    assert text.count("started on") == 3
    assert "[bold] is no markup" in text
    assert not list(logs_of(store, other.fingerprint))
    assert "No logs of" in shown(store, logs=other.title)


def test_a_forced_trial_is_to_run_again_with_nothing_left_of_its_epochs(store: Store) -> None:
    spec, other = planned(store).trials[:2]
    for done in (spec, other):
        store.publish_model(done, [ROW], None, lambda path: path.write_bytes(b"weights"))
    store.partial_folder(spec.cohort).mkdir(parents=True)
    options = Options(store_location=store.location, force=(spec.title,))
    plan = make_ready(lambda check: planned(store), store, options, plain_console(file=io.StringIO()))
    assert plan.forced == (spec,)
    assert spec.fingerprint not in plan.existing
    assert other.fingerprint in plan.existing
    assert not store.partial_folder(spec.cohort).exists()
