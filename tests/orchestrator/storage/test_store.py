"""The store: published whole, never mistaken, owned by one."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.datasets.spec import GeneratedDataset
from orchestrator.storage.store import Store
from trainables.spec import TrainingSpec

HISTORY = [{"epoch": 1, "top1": 50.0, "top5": 90.0, "train_loss": 1.5, "learning_rate": 0.1, "seconds": 2.0}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").open()


def publish(store: Store, spec: TrainingSpec) -> Path:
    store.publish_model(spec, HISTORY, None, lambda path: path.write_bytes(b"weights" * 100))
    return store.model_folder(spec)


def test_a_published_model_is_there_with_its_metrics(store: Store, base_spec: TrainingSpec) -> None:
    assert not store.has(base_spec)
    publish(store, base_spec)
    assert store.has(base_spec)
    assert store.read_model(base_spec).history == HISTORY
    store.check(base_spec, checksums=True)


def test_a_model_whose_weights_could_not_be_written_is_not_there(store: Store, base_spec: TrainingSpec) -> None:
    def full_disk(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.publish_model(base_spec, HISTORY, None, full_disk)
    assert not store.has(base_spec)


def test_the_sidecar_spells_out_the_spec(store: Store, base_spec: TrainingSpec) -> None:
    sidecar = json.loads((publish(store, base_spec) / "model.json").read_text())
    assert sidecar["spec"]["train"]["name"] == "real"
    assert sidecar["spec"]["epochs"] == 2
    assert sidecar["class_names"] == ["circle", "square", "cross"]
    assert str(store.root) not in json.dumps(sidecar)


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_damaged_weights_are_named_and_removed_on_request(damage: str, store: Store, base_spec: TrainingSpec) -> None:
    weights = publish(store, base_spec) / "weights.safetensors"
    content = weights.read_bytes()
    if damage == "missing":
        weights.unlink()
    else:
        weights.write_bytes(content[:-1] if damage == "truncated" else b"W" + content[1:])
    with pytest.raises(InputError, match=r"weights\.safetensors .*--repair"):
        store.check(base_spec, checksums=True)
    store.remove(base_spec)
    assert not store.has(base_spec)
    publish(store, base_spec)
    store.check(base_spec, checksums=True)


def test_real_data_is_never_removed(store: Store, base_spec: TrainingSpec) -> None:
    with pytest.raises(InputError, match="import them again"):
        store.remove(base_spec.train)
    assert store.has(base_spec.train)


def test_a_data_set_is_there_only_once_its_manifest_is(store: Store, generated_spec: GeneratedDataset) -> None:
    folder = store.dataset_folder(generated_spec)
    folder.mkdir(parents=True)
    (folder / "train-00000-of-00003.parquet").write_bytes(b"whole, but not alone")
    assert not store.has(generated_spec)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).open()
    (tmp_path / "store.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match=r"format 99, made by a newer mindgap"):
        Store(tmp_path).open()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path / "file" / "store").open()


def own_and_wait(root: Path, owned: multiprocessing.synchronize.Event) -> None:
    with Store(root).owned("the first sweep"):
        owned.set()
        multiprocessing.Event().wait()


def test_a_second_owner_is_told_who_the_first_is_and_a_dead_one_counts_for_nothing(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    owned = context.Event()
    first = context.Process(target=own_and_wait, args=(store.root, owned))
    first.start()
    try:
        assert owned.wait(60)
        with pytest.raises(InputError, match=rf"the first sweep runs on .* \(process {first.pid}\) since"):
            with store.owned("the second sweep"):
                pass
    finally:
        first.kill()
        first.join()
    with store.owned("the third sweep"):
        assert json.loads((store.root / "owner.json").read_text())["pid"] == os.getpid()
