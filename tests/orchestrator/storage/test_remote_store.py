"""A store in an object store: artifacts, locks, unfinished work and logs, seen from two machines."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datagen.core.errors import InputError
from datagen.datasets.shards import MANIFEST
from datagen.datasets.spec import GeneratedDataset
from datagen.generation import engine as generation
from datagen.generation.shard_generator import ShardGenerator
from orchestrator.storage import lock, remote_store
from orchestrator.storage.cache import process_name, remove_leftovers
from orchestrator.storage.lock import BucketLock, Owner, owned, this_process
from orchestrator.storage.object_store import Bucket, ReplacedError
from orchestrator.storage.remote_store import RemoteStore, store_at
from orchestrator.storage.store import Store
from tests.orchestrator.storage.test_store import HISTORY, publish
from trainables.spec import TrainingSpec

Machine = Callable[[str], Store]
"""A machine by its name: its own view of the one store."""


@pytest.fixture
def address(s3: str, request: pytest.FixtureRequest) -> str:
    return f"{s3}/{request.node.name}"


@pytest.fixture
def machine(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    def store(name: str) -> Store:
        monkeypatch.setenv("MINDGAP_CACHE", str(tmp_path / name))
        opened = store_at(address).open()
        opened.refresh()
        return opened

    return store


def test_what_one_machine_publishes_another_has_with_metrics_and_weights(
    machine: Machine, base_spec: TrainingSpec
) -> None:
    publish(machine("one"), base_spec)
    two = machine("two")
    assert two.has(base_spec)
    assert two.read_model(base_spec).history == HISTORY
    assert not (two.model_folder(base_spec) / "weights.safetensors").exists()
    two.bring(base_spec)
    assert (two.model_folder(base_spec) / "weights.safetensors").read_bytes() == b"weights" * 100
    assert two.complaints(base_spec, checksums=True) == []


def test_what_is_published_after_the_last_look_is_found_when_asked_for(
    machine: Machine, base_spec: TrainingSpec
) -> None:
    one, two = machine("one"), machine("two")
    publish(one, base_spec)
    assert not two.has(base_spec)
    assert two.has_by_now(base_spec)
    assert two.read_model(base_spec).failure is None


def test_objects_without_a_manifest_are_no_artifact(
    machine: Machine, base_spec: TrainingSpec, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(self: Bucket, path: Path, key: str) -> None:
        if path.name == MANIFEST:
            raise OSError("cut off")
        upload(self, path, key)

    upload = Bucket.upload
    monkeypatch.setattr(Bucket, "upload", cut_off)
    one = machine("one")
    with pytest.raises(OSError, match="cut off"):
        publish(one, base_spec)
    assert [item.key for item in Bucket(address).list("models/")]
    assert not one.has(base_spec)
    assert not machine("two").has_by_now(base_spec)


def test_a_damaged_object_is_named_removed_and_not_used(
    machine: Machine, base_spec: TrainingSpec, address: str
) -> None:
    publish(machine("one"), base_spec)
    key = f"models/{base_spec.fingerprint}/weights.safetensors"
    Bucket(address).write(key, b"weighty" * 100)
    two = machine("two")
    assert two.complaints(base_spec) == []  # As long as before: only its bytes tell.
    assert "checksum differs" in two.complaints(base_spec, checksums=True)[0]
    with pytest.raises(InputError, match=r"not what its manifest says.*--repair"):
        two.bring(base_spec)
    assert not (two.model_folder(base_spec) / "weights.safetensors").exists()
    Bucket(address).write(key, b"short")
    assert "has 5 bytes instead of 700" in machine("three").complaints(base_spec)[0]
    Bucket(address).remove([key])
    assert "is missing" in machine("four").complaints(base_spec)[0]
    two.remove(base_spec)
    assert list(Bucket(address).list("models/")) == []


def test_what_one_machine_removes_or_makes_anew_others_learn(machine: Machine, base_spec: TrainingSpec) -> None:
    one = machine("one")
    one.publish_model(base_spec, [], "a poisoned label", lambda path: None)
    two = machine("two")
    assert two.read_model(base_spec).failure == "a poisoned label"
    one = machine("one")
    one.remove(base_spec)
    assert not machine("two").has(base_spec)
    publish(machine("one"), base_spec)
    assert machine("two").read_model(base_spec).failure is None


def test_a_machine_that_has_an_old_copy_publishes_again_what_was_removed(
    machine: Machine, base_spec: TrainingSpec
) -> None:
    publish(machine("one"), base_spec)
    two = machine("two")
    two.bring(base_spec)
    machine("one").remove(base_spec)
    publish(two, base_spec)
    assert machine("three").has(base_spec)


def test_unfinished_work_goes_on_on_another_machine(machine: Machine) -> None:
    one = machine("one")
    one.bring_unfinished("cohort")
    for name, content in (("a.safetensors", "epoch 1"), ("b.safetensors", "another piece")):
        (one.partial_folder("cohort") / name).write_text(content)
    one.keep_unfinished("cohort")
    (one.partial_folder("cohort") / "a.safetensors").write_text("epoch 2, later")
    (one.partial_folder("cohort") / "b.safetensors").unlink()
    one.keep_unfinished("cohort")
    two = machine("two")
    two.bring_unfinished("cohort")
    assert {path.name: path.read_text() for path in two.partial_folder("cohort").iterdir()} == {
        "a.safetensors": "epoch 2, later"
    }


def test_what_a_dead_process_left_is_removed_and_what_other_machines_do_stays(tmp_path: Path) -> None:
    alive = process_name()
    machine = alive.removesuffix(f"-{os.getpid()}")
    others = {f"not-{machine}-{2**22 + 1}", f"{socket.gethostname()}-a-container-{2**22 + 1}"}
    for name in (dead := f"{machine}-{2**22 + 1}", alive, *others):
        (tmp_path / name).mkdir()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {alive, *others}
    assert not (tmp_path / dead).exists()


def test_shards_that_several_machines_draw_become_one_set(
    machine: Machine, generated_spec: GeneratedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_other_machines(spec: Any, folder: Path, missing: Sequence[int], *others: Any) -> Any:
        for shard in missing:
            monkeypatch.setenv("MINDGAP_CACHE", str(tmp_path / f"machine {shard}"))
            remote_store._remote.cache_clear()
            generator = ShardGenerator(spec, folder / "not here", "cpu", shared=others[-1])
            yield shard, json.loads(generator({"shard": [shard]})["result"][0])

    monkeypatch.setattr(generation, "_draw_missing", on_other_machines)
    one, spec = machine("one"), generated_spec
    folder = one.partial_folder(spec.fingerprint)
    generation.generate(spec, folder, workers=2, shared=one.shared_folder(spec.fingerprint))
    one.publish_dataset(spec)
    three = machine("three")
    three.bring_samples(spec)
    assert len(list(three.dataset_folder(spec).glob("*.parquet"))) == 1
    three.bring(spec)
    assert three.complaints(spec, checksums=True) == []
    assert len(list(three.dataset_folder(spec).glob("*.parquet"))) == 3
    assert not list(Bucket(three.location).list("partial/"))


def test_logs_are_read_from_another_machine_and_go_with_their_work(machine: Machine) -> None:
    one, header = machine("one"), json.dumps({"title": "a cohort"})
    with one.open_log("task.0", header) as file:
        file.write("epoch 1 of 3 done\n")
    one.keep_log("task.0")
    assert list(machine("two").logs()) == [(header, "epoch 1 of 3 done\n")]
    one.remove_logs("task")
    assert list(machine("three").logs()) == []


def test_status_speed_and_ledger_are_read_from_another_machine(machine: Machine) -> None:
    one = machine("one")
    one.write_status("study", "pocket", {"running": {}})
    one.write_speed("pocket", {"factor": 2.0})
    one.write_ledger("study", "pocket", {"entries": []})
    two = machine("two")
    assert two.read_status("study", "pocket") == {"running": {}}
    assert two.read_speed("pocket") == {"factor": 2.0}
    assert two.read_ledger("study", "pocket") == {"entries": []}


def elsewhere() -> Owner:
    return replace(this_process("their sweep"), host="node7", machine="another", token="theirs")


def test_a_living_owner_elsewhere_is_named_and_a_silent_one_taken_over(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = BucketLock(Bucket(address))
    assert kept.create(elsewhere())
    with pytest.raises(InputError, match=r"in use: their sweep runs on node7"):
        with owned(kept, "mine"):
            pass
    monkeypatch.setattr(lock, "STALE_SECONDS", -1.0)
    with owned(kept, "mine") as mine:
        assert kept.owner() == mine
    assert kept.owner() is None


def test_an_owner_is_heard_of_and_told_when_its_lock_was_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    bucket, lost = Bucket(address), threading.Event()
    with owned(BucketLock(bucket), "mine", on_lost=lost.set):
        before = bucket.read("owner.json")
        until = time.monotonic() + 30
        while bucket.read("owner.json") == before and time.monotonic() < until:
            time.sleep(0.02)
        assert bucket.read("owner.json") != before
        while not lost.is_set() and time.monotonic() < until:
            try:
                _, tag = bucket.read_tagged("owner.json")
                bucket.replace("owner.json", json.dumps({**vars(elsewhere())}).encode(), tag)
                break
            except ReplacedError:
                continue
        assert lost.wait(30)
    assert BucketLock(bucket).owner() == elsewhere()


def test_of_many_contenders_for_a_dead_owners_lock_one_wins(address: str) -> None:
    BucketLock(Bucket(address)).create(replace(this_process("long ago"), started=1.0, token="old"))
    winners, refused, end = [], [], threading.Event()

    def contend(number: int) -> None:
        try:
            with owned(BucketLock(Bucket(address)), f"contender {number}"):
                winners.append(number)
                end.wait(30)
        except InputError:
            refused.append(number)
            if len(refused) == 5:
                end.set()

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(winners) == 1
    assert len(refused) == 5


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("hdfs://name/folder", r"takes a folder or an object store \(s3://, gs://, az://\)"),
        ("s3://not-there/folder", "no bucket for s3://not-there/folder"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(s3: str, location: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        store_at(location).open()


def test_an_object_store_that_does_not_answer_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"s3://mindgap/x does not answer .* AWS_ENDPOINT_URL"):
        store_at("s3://mindgap/x").open()


def test_a_store_of_a_newer_version_is_refused(machine: Machine, address: str) -> None:
    machine("one")
    Bucket(address).write("store.json", b'{"format": 99}')
    with pytest.raises(InputError, match="made by a newer mindgap"):
        machine("two")


def test_a_folder_is_a_store_in_a_folder(tmp_path: Path) -> None:
    assert type(store_at(str(tmp_path))) is Store
    assert isinstance(store_at("s3://mindgap/x"), RemoteStore)
