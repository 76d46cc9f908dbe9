"""The store, in a folder and in an object store, seen from several machines: published whole, and never mistaken."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from datagen.core.errors import InputError
from datagen.datasets.shards import MANIFEST
from datagen.datasets.spec import GeneratedDataset
from datagen.generation import engine
from datagen.generation.shard_generator import ShardGenerator
from datagen.storage import store as dataset_store
from datagen.storage.object_store import Bucket
from orchestrator.storage.store import Store
from trainables.spec import TrainingSpec

HISTORY = [{"epoch": 1, "top1": 50.0, "top5": 90.0, "train_loss": 1.5, "learning_rate": 0.1, "seconds": 2.0}]

Machine = Callable[[str], Store]
"""A machine by its name: its own view of the one store. Machines see one folder, or have a mirror each."""


@pytest.fixture(params=["folder", "object store"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    remote = request.param == "object store"
    location = f"{request.getfixturevalue('s3')}/{tmp_path.name}" if remote else tmp_path / "store"

    def store(name: str) -> Store:
        monkeypatch.setenv("MINDGAP_CACHE", str(tmp_path / name))
        opened = Store(location).create()
        opened.refresh()
        return opened

    return store


def publish(store: Store, spec: TrainingSpec) -> Path:
    store.publish_model(spec, HISTORY, None, lambda path: path.write_bytes(b"weights" * 100))
    return store.folder(spec)


def overwrite(store: Store, spec: TrainingSpec, file: str, content: bytes | None) -> None:
    """Damages a file where it is kept; None removes it."""
    name = f"models/{spec.fingerprint}/{file}"
    if content is None:
        store.remove_files([name])
    else:
        store._backend.write(name, content)


def test_what_one_machine_publishes_another_has_with_metrics_and_weights(
    machine: Machine, base_spec: TrainingSpec
) -> None:
    one = machine("one")
    assert not one.has(base_spec)
    publish(one, base_spec)
    two = machine("two")
    assert two.has(base_spec)
    assert two.read_model(base_spec).history == HISTORY
    assert (two.open(base_spec) / "weights.safetensors").read_bytes() == b"weights" * 100
    two.check(base_spec, checksums=True)


def test_reading_metrics_brings_no_weights(s3: str, tmp_path: Path, base_spec: TrainingSpec) -> None:
    store = Store(f"{s3}/{tmp_path.name}").create()
    publish(store, base_spec)
    (store.folder(base_spec) / "weights.safetensors").unlink()
    store.read_model(base_spec)
    assert store.find(base_spec) == store.folder(base_spec)
    assert not (store.folder(base_spec) / "weights.safetensors").exists()


def test_what_is_published_after_the_last_look_is_found_when_asked_for(
    machine: Machine, base_spec: TrainingSpec
) -> None:
    one, two = machine("one"), machine("two")
    assert two.find(base_spec) is None
    with pytest.raises(InputError, match="is not in"):
        two.open(base_spec)
    publish(one, base_spec)
    assert two.find(base_spec) == two.folder(base_spec)
    assert two.read_model(base_spec).failure is None


def test_a_model_whose_weights_could_not_be_written_is_not_there(machine: Machine, base_spec: TrainingSpec) -> None:
    def full_disk(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        machine("one").publish_model(base_spec, HISTORY, None, full_disk)
    assert machine("one").find(base_spec) is None
    assert machine("two").find(base_spec) is None


def test_objects_without_a_manifest_are_no_artifact(
    s3: str, tmp_path: Path, base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(self: Bucket, path: Path, key: str) -> None:
        if path.name == MANIFEST:
            raise OSError("cut off")
        upload(self, path, key)

    upload = Bucket.upload
    monkeypatch.setattr(Bucket, "upload", cut_off)
    store = Store(f"{s3}/{tmp_path.name}").create()
    with pytest.raises(OSError, match="cut off"):
        publish(store, base_spec)
    assert store.list_files("models")
    assert not store.has(base_spec)
    assert Store(store.location).find(base_spec) is None


def test_the_sidecar_spells_out_the_spec(machine: Machine, base_spec: TrainingSpec) -> None:
    store = machine("one")
    sidecar = json.loads((publish(store, base_spec) / "model.json").read_text())
    assert sidecar["spec"]["train"]["name"] == "real"
    assert sidecar["spec"]["epochs"] == 2
    assert sidecar["class_names"] == ["circle", "square", "cross"]
    assert str(store.root) not in json.dumps(sidecar)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"weighty" * 100, "checksum differs"),
        (b"short", "has 5 bytes instead of 700"),
        (None, "is missing"),
    ],
)
def test_damaged_weights_are_named_and_removed_on_request(
    content: bytes | None, sentence: str, machine: Machine, base_spec: TrainingSpec
) -> None:
    publish(machine("one"), base_spec)
    overwrite(machine("one"), base_spec, "weights.safetensors", content)
    two = machine("two")
    with pytest.raises(InputError, match=rf"weights\.safetensors .*{sentence}.*--repair"):
        two.check(base_spec, checksums=True)
    assert bool(two.complaints(base_spec)) == (sentence != "checksum differs")  # Sizes cost nothing.
    two.remove(base_spec)
    assert two.list_files("models") == []
    assert not machine("one").has(base_spec)
    publish(machine("one"), base_spec)
    machine("two").check(base_spec, checksums=True)


def test_a_damaged_object_is_not_brought(s3: str, tmp_path: Path, base_spec: TrainingSpec) -> None:
    store = Store(f"{s3}/{tmp_path.name}").create()
    publish(store, base_spec)
    overwrite(store, base_spec, "weights.safetensors", b"weighty" * 100)
    (store.folder(base_spec) / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"not what its manifest says.*--repair"):
        store.open(base_spec)
    assert not (store.folder(base_spec) / "weights.safetensors").exists()


def test_what_one_machine_removes_or_makes_anew_others_learn(machine: Machine, base_spec: TrainingSpec) -> None:
    machine("one").publish_model(base_spec, [], "a poisoned label", lambda path: None)
    assert machine("two").read_model(base_spec).failure == "a poisoned label"
    machine("one").remove(base_spec)
    assert not machine("two").has(base_spec)
    publish(machine("one"), base_spec)
    assert machine("two").read_model(base_spec).failure is None


def test_a_machine_that_has_an_old_copy_publishes_again_what_was_removed(
    machine: Machine, base_spec: TrainingSpec
) -> None:
    publish(machine("one"), base_spec)
    two = machine("two")
    two.open(base_spec)
    machine("one").remove(base_spec)
    publish(two, base_spec)
    assert machine("three").has(base_spec)


def test_real_data_is_never_removed(machine: Machine, base_spec: TrainingSpec) -> None:
    store = machine("one")
    with pytest.raises(InputError, match="import them again"):
        store.remove(base_spec.train)
    assert store.has(base_spec.train)
    assert store.open(base_spec.train) == base_spec.train.folder  # type: ignore[attr-defined]


def test_a_data_set_is_there_only_once_its_manifest_is(machine: Machine, generated_spec: GeneratedDataset) -> None:
    store = machine("one")
    store._backend.write(f"datasets/{generated_spec.fingerprint}/train-00000-of-00003.parquet", b"whole, not alone")
    store.refresh()
    assert not store.has(generated_spec)
    assert store.find(generated_spec) is None


def test_unfinished_work_goes_on_on_another_machine(machine: Machine) -> None:
    with machine("one").unfinished("cohort") as work:
        work.folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("a.safetensors", "epoch 1"), ("b.safetensors", "another piece")):
            (work.folder / name).write_text(content)
        work.keep()
        (work.folder / "a.safetensors").write_text("epoch 2, later")
        (work.folder / "b.safetensors").unlink()
    with machine("two").unfinished("cohort") as work:
        assert {path.name: path.read_text() for path in work.folder.iterdir()} == {"a.safetensors": "epoch 2, later"}


def test_interrupted_work_goes_on_from_what_was_kept(machine: Machine) -> None:
    with pytest.raises(KeyboardInterrupt):
        with machine("one").unfinished("cohort") as work:
            work.folder.mkdir(parents=True, exist_ok=True)
            (work.folder / "checkpoint").write_text("epoch 1")
            work.keep()
            raise KeyboardInterrupt
    with machine("two").unfinished("cohort") as work:
        assert (work.folder / "checkpoint").read_text() == "epoch 1"


def test_shards_that_several_machines_draw_become_one_set(
    machine: Machine, generated_spec: GeneratedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_other_machines(spec: Any, folder: Path, missing: Sequence[int], *others: Any) -> Any:
        for shard in missing:
            monkeypatch.setenv("MINDGAP_CACHE", str(tmp_path / f"machine {shard}"))
            dataset_store._store.cache_clear()
            shared = others[-1]
            generator = ShardGenerator(spec, folder / "not here" if shared else folder, "cpu", shared=shared)
            yield shard, json.loads(generator({"shard": [shard]})["result"][0])

    monkeypatch.setattr(engine, "_draw_missing", on_other_machines)
    one, spec = machine("one"), generated_spec
    assert engine.make_dataset(spec, one, workers=2) == one.folder(spec)
    three = machine("three")
    assert three.open_samples(spec) == three.folder(spec)
    assert len(list(three.folder(spec).glob("*.parquet"))) == (3 if three.shared_folder("") is None else 1)
    three.open(spec)
    three.check(spec, checksums=True)
    assert len(list(three.folder(spec).glob("*.parquet"))) == 3
    assert (three.folder(spec) / "_statistics.json").exists()
    assert (three.folder(spec) / "_summary.json").exists()
    assert not [item.key for item in three.list_files("partial") if not item.key.endswith(".lock")]


def test_logs_are_read_from_another_machine_and_go_with_their_task(machine: Machine) -> None:
    one, header = machine("one"), json.dumps({"title": "a cohort"})
    log = one.open_log("task.0", header)
    log.write("epoch 1 of 3 done\n")
    assert list(machine("two").logs()) == [(header, "epoch 1 of 3 done\n")]  # Before it ends: it may be killed.
    log.write("epoch 2 of 3 done\n")
    log.close()
    assert list(machine("three").logs()) == [(header, "epoch 1 of 3 done\nepoch 2 of 3 done\n")]
    one.remove_logs("task")
    assert list(machine("four").logs()) == []


def test_status_speed_and_ledger_are_read_from_another_machine(machine: Machine) -> None:
    one = machine("one")
    assert one.read_status("study", "pocket") == {}
    assert one.read_speed("pocket") == {}
    with pytest.raises(FileNotFoundError):
        one.read_ledger("study", "pocket")
    one.write_status("study", "pocket", {"running": {}})
    one.write_speed("pocket", {"factor": 2.0})
    one.write_speed("imagenet100", {"factor": 3.0})
    one.write_ledger("study", "pocket", {"entries": []})
    two = machine("two")
    assert two.read_status("study", "pocket") == {"running": {}}
    assert two.read_speed("pocket") == {"factor": 2.0}
    assert two.read_ledger("study", "pocket") == {"entries": []}


def test_a_damaged_ledger_is_named(machine: Machine) -> None:
    store = machine("one")
    store._backend.write("studies/study/pocket/search.json", b"{")
    with pytest.raises(InputError, match=r"search\.json is damaged .* Remove it"):
        store.read_ledger("study", "pocket")


def test_a_report_is_kept_for_other_machines_but_not_what_mlflow_has_here(machine: Machine) -> None:
    one = machine("one")
    with one.report("study", "pocket") as folder:
        (folder / "report.md").write_text("# 42")
        (folder / "recorded.json").write_text("{}")
    two = machine("two")
    assert two._backend.read("studies/study/pocket/report.md") == b"# 42"
    if two.root != one.root:
        assert [item.key for item in two.list_files("studies")] == ["studies/study/pocket/report.md"]


def test_a_store_of_a_newer_version_is_refused(machine: Machine) -> None:
    machine("one")._backend.write("store.json", b'{"format": 99}')
    with pytest.raises(InputError, match=r"format 99, made by a newer mindgap"):
        machine("two")


def test_a_store_of_the_first_format_is_upgraded_and_keeps_what_it_has(
    machine: Machine, base_spec: TrainingSpec, tmp_path: Path
) -> None:
    one = machine("one")
    publish(one, base_spec)
    former = {item.key: item.key.replace("/_", "/") for item in one.list_files("models") if "/_" in item.key}
    assert former
    one._backend.rename_files(former)
    one._backend.write("store.json", b'{"format": 1}')
    two = machine("two")
    assert two.read_model(base_spec).history == HISTORY
    assert two.complaints(base_spec, checksums=True) == []
    assert json.loads(two._backend.read("store.json")) == {"format": 2}
    assert not {item.key for item in two.list_files("models")} & set(former.values())


def test_a_store_of_the_first_format_waits_for_its_sweep(machine: Machine) -> None:
    one = machine("one")
    with one.owned("layer_importance"):
        one._backend.write("store.json", b'{"format": 1}')
        with pytest.raises(InputError, match=r"an earlier version is at work there: .*Wait until it ends"):
            machine("two")


def test_looking_makes_no_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").look()
    assert not store.exists()
    assert not (tmp_path / "store").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path / "file" / "store").create()


def test_a_second_owner_is_refused(machine: Machine) -> None:
    with machine("one").owned("the first sweep"):
        owner, alive = machine("two").owner() or ("", False)
        assert owner.startswith("the first sweep runs on")
        assert alive
        with pytest.raises(InputError, match="in use: the first sweep"):
            with machine("two").owned("the second sweep"):
                pass
    assert machine("two").owner() is None


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("hdfs://name/folder", r"takes a folder or an object store \(s3://, gs://, az://\)"),
        ("s3://not-there/folder", "no bucket for s3://not-there/folder"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(s3: str, location: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Store(location).create()


def test_an_object_store_that_does_not_answer_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"s3://mindgap/x does not answer .* AWS_ENDPOINT_URL"):
        Store("s3://mindgap/x").create()
