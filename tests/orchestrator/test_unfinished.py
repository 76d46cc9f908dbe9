"""Unfinished work outlives other studies, in a folder and in an object store; the clean command removes the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock
from safetensors.torch import load_file

from datagen.datasets.spec import GeneratedDataset
from orchestrator import clean
from orchestrator.execution.cohort import train_and_publish
from orchestrator.execution.logs import task_log
from orchestrator.planning.plan import Task
from orchestrator.storage import unfinished
from orchestrator.storage.store import Store
from tests.orchestrator.storage.test_store import publish
from trainables.spec import TrainingSpec

Open = Callable[[], Store]
"""Opens the store as another process would."""


@pytest.fixture(params=["folder", "object store"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    location = str(tmp_path / "store")
    if request.param == "object store":
        location = f"{request.getfixturevalue('s3')}/{tmp_path.name}"
        monkeypatch.setenv("MINDGAP_CACHE", str(tmp_path / "cache"))

    def store() -> Store:
        found = Store(location).create()
        found.refresh()
        return found

    return store


class Interrupted(Exception):
    pass


def train(store: Store, *members: TrainingSpec, until: int = 0) -> list[int]:
    """Trains a cohort until it is done, or interrupted after the epoch `until`; returns the epochs that ran."""
    epochs = []

    def report(progress: Any) -> None:
        epochs.append(progress.epoch)
        if progress.epoch == until:
            raise Interrupted

    try:
        train_and_publish(members, store, report)
    except Interrupted:
        pass
    return epochs


def names(store: Store) -> list[str]:
    return sorted(item.key for item in store.list_files("partial"))


@pytest.fixture
def transfers(base_spec: TrainingSpec) -> tuple[TrainingSpec, TrainingSpec]:
    """Two members of a cohort, of 4 epochs."""
    first = replace(base_spec, source=base_spec, frozen_layers=16, epochs=4)
    return first, first.at_depth(17)


def test_a_study_that_ends_leaves_an_interrupted_ones_epochs(opened: Open, base_spec: TrainingSpec) -> None:
    longer = replace(base_spec, epochs=4)
    assert train(opened(), longer, until=2) == [1, 2]
    other = opened()
    assert train(other, base_spec) == [1, 2]
    other.clear_partial()
    assert train(opened(), longer) == [3, 4]
    last = opened()
    last.clear_partial()
    assert names(last) == []
    assert not [path for path in (last.root / "partial").rglob("*") if path.is_file()]


def test_members_of_a_cohort_that_another_study_has_not_finished_keep_their_epochs(
    opened: Open, base_spec: TrainingSpec, transfers: tuple[TrainingSpec, TrainingSpec]
) -> None:
    train(opened(), base_spec)
    assert train(opened(), *transfers, until=2) == [1, 2]
    other = opened()
    assert train(other, transfers[0]) == [3, 4]
    other.clear_partial()
    assert train(opened(), transfers[1]) == [3, 4]
    last = opened()
    last.clear_partial()
    assert names(last) == []
    assert not [path for path in (last.root / "partial").rglob("*") if path.is_file()]


def test_a_forced_trial_starts_anew_and_the_others_of_its_cohort_go_on(
    opened: Open, base_spec: TrainingSpec, transfers: tuple[TrainingSpec, TrainingSpec]
) -> None:
    train(opened(), base_spec)
    train(opened(), *transfers, until=2)
    opened().forget_epochs(transfers[0])
    kept = opened()
    with kept.unfinished(transfers[0].cohort) as work:
        (checkpoint,) = work.folder.glob("*.safetensors")
        assert not [key for key in load_file(checkpoint) if key.startswith(transfers[0].fingerprint)]
        assert set(kept.read_usage(transfers[0].cohort, [spec.fingerprint for spec in transfers])) == {
            transfers[1].fingerprint
        }
    assert train(opened(), transfers[0]) == [1, 2, 3, 4]
    assert train(opened(), transfers[1]) == [3, 4]


def test_a_published_failure_is_an_end_too(opened: Open, base_spec: TrainingSpec) -> None:
    store = opened()
    train(store, replace(base_spec, epochs=4), until=2)
    store.publish_model(replace(base_spec, epochs=4), [], "a poisoned label", lambda path: None)
    store.clear_partial()
    assert names(store) == []


def test_a_checkpoint_that_cannot_be_read_and_half_drawn_sets_stay(
    opened: Open, base_spec: TrainingSpec, generated_spec: GeneratedDataset
) -> None:
    store = opened()
    put(store, base_spec.cohort, "damaged.safetensors")
    put(store, "1" * 64, "empty.usage.json", b"")
    put(store, generated_spec.fingerprint, "train-00000-of-00003.parquet")
    before = names(store)
    assert len(before) == 3
    store.clear_partial()
    assert names(store) == before


def put(store: Store, place: str, name: str, content: bytes = b"0123456789") -> None:
    with store.unfinished(place) as work:
        work.folder.mkdir(parents=True, exist_ok=True)
        (work.folder / name).write_bytes(content)


def test_what_a_process_left_half_written_goes_once_nobody_can_be_writing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path).create()
    put(store, "2" * 64, ".checkpoint.1234-ab")
    store.clear_partial()
    assert len(names(store)) == 1
    monkeypatch.setattr(unfinished, "ABANDONED_SECONDS", -60.0)
    store.clear_partial()
    assert names(store) == []


def test_leftovers_of_published_artifacts_go_with_their_locks_and_folders(
    tmp_path: Path, base_spec: TrainingSpec, generated_spec: GeneratedDataset
) -> None:
    store = Store(tmp_path).create()
    publish(store, base_spec)
    put(store, f"{base_spec.fingerprint}.1234", "weights.safetensors")
    put(store, "ray_train", "notes.json")
    put(store, generated_spec.fingerprint, "_manifest.json")
    store.publish_dataset(generated_spec)
    (tmp_path / "partial" / f"{generated_spec.fingerprint}.lock").touch()
    (tmp_path / "partial" / f"{generated_spec.fingerprint}/.attempts").mkdir(parents=True)
    store.clear_partial()
    assert not list((tmp_path / "partial").iterdir())


def run_clean(store: Store, *options: str, answer: str | None = None, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Runs the command; with an `answer` there is a terminal."""
    monkeypatch.setattr(clean, "_can_ask", lambda: answer is not None)
    return CliRunner().invoke(clean.main, ["--store", store.location, *options], input=answer)


@pytest.fixture
def cluttered(opened: Open, base_spec: TrainingSpec, generated_spec: GeneratedDataset) -> Store:
    """A store with a published model, an interrupted training, a half-drawn set and the log of a task that is done."""
    store = opened()
    publish(store, base_spec)
    longer = replace(base_spec, epochs=4, seed=1)
    train(store, longer, until=2)
    put(store, generated_spec.fingerprint, "train-00000-of-00003.parquet")
    for name, spec in (("longer [bold]", longer), ("done", base_spec), ("images", generated_spec)):
        with task_log(store, Task(name, (spec,), frozenset(), 1.0)):
            pass
    return store


def test_clean_lists_what_is_unfinished_and_removes_it_on_a_yes(
    cluttered: Store, base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(cluttered)
    said = run_clean(cluttered, answer="n\n", monkeypatch=monkeypatch)
    assert said.exit_code == 0, said.output
    unneeded = said.output.index("Needed by no study")
    assert said.output.index("longer [bold]: epoch 2") < unneeded
    assert said.output.index("images: 1 of 3 shards") < unneeded
    assert said.output.index("1 of tasks that ended well") > unneeded
    assert names(cluttered) == before
    said = run_clean(cluttered, answer="y\n", monkeypatch=monkeypatch)
    assert said.exit_code == 0, said.output
    assert names(cluttered) == []
    assert cluttered.find(base_spec)
    assert "Nothing is unfinished" in run_clean(cluttered, monkeypatch=monkeypatch).output


def test_clean_without_a_terminal_removes_nothing_unless_told(
    cluttered: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(cluttered)
    refused = run_clean(cluttered, monkeypatch=monkeypatch)
    assert refused.exit_code == 2
    assert "longer" in refused.output
    assert "no terminal" in refused.output
    assert names(cluttered) == before
    assert run_clean(cluttered, "--yes", monkeypatch=monkeypatch).exit_code == 0
    assert names(cluttered) == []


def test_clean_waits_for_the_sweep_that_owns_the_store(cluttered: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names(cluttered)
    with cluttered.owned("a sweep"):
        refused = run_clean(cluttered, "--yes", monkeypatch=monkeypatch)
    assert refused.exit_code == 2
    assert "a sweep runs on" in refused.output
    assert names(cluttered) == before


def test_clean_leaves_a_set_that_is_being_drawn(
    tmp_path: Path, generated_spec: GeneratedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path).create()
    put(store, generated_spec.fingerprint, "train-00000-of-00003.parquet")
    with FileLock(tmp_path / "partial" / f"{generated_spec.fingerprint}.lock"):
        done = run_clean(store, "--yes", monkeypatch=monkeypatch)
        assert "a process is at work on it" in done.output
        assert len(names(store)) == 2
    run_clean(store, "--yes", monkeypatch=monkeypatch)
    assert names(store) == []


def test_clean_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run_clean(Store(tmp_path / "none"), "--yes", monkeypatch=monkeypatch)
    assert refused.exit_code == 2
    assert "There is no store" in refused.output
    assert not (tmp_path / "none").exists()


def test_clean_removes_what_a_publication_that_was_cut_off_has_left(
    opened: Open, base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    publish(store, base_spec)
    store.remove_files([f"models/{base_spec.fingerprint}/_manifest.json"])
    store.refresh()
    assert "has no manifest" in run_clean(store, "--yes", monkeypatch=monkeypatch).output
    assert store.list_files("models") == []
