"""Damage at rest: whatever byte of a store has changed, it is told, or it changes no result."""

from __future__ import annotations

import json
import random
import shutil
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datagen.core.errors import InputError
from datagen.core.files import file_sha256
from datagen.datasets.pixel_statistics import dataset_statistics
from datagen.datasets.shards import MANIFEST, publish_dataset, read_manifest
from datagen.datasets.spec import GeneratedDataset
from datagen.datasets.summary import store_summary, stored_summary
from orchestrator.storage.predictions import read_metrics, read_predictions
from orchestrator.storage.store import Store
from tests.conftest import noisy_rows
from tests.orchestrator.storage.test_store import HISTORY, Machine, machine, publish
from tests.orchestrator.test_unfinished import train
from trainables import checkpoint
from trainables.evaluation.prediction_spec import PredictionSpec
from trainables.spec import TrainingSpec

__all__ = ["machine"]
FLIPS = 25
"""Flipped bytes of each file, spread over it."""


class Told(Exception):
    """The damage was seen."""


def longer(base_spec: TrainingSpec) -> TrainingSpec:
    return replace(base_spec, epochs=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, base_spec: TrainingSpec, generated_spec: GeneratedDataset) -> Path:
    """A store with a trained model, a made data set, an interrupted training, and what a search has tried."""
    store = Store(tmp_path_factory.mktemp("whole") / "store").create()
    train(store, base_spec)
    store.clear_partial()
    train(store, longer(base_spec), until=2)
    with store.unfinished(generated_spec.fingerprint) as work:
        publish_dataset(
            work.folder,
            [noisy_rows(4, 3)],
            split="train",
            class_names=("circle", "square", "cross"),
            description={**generated_spec.described(), "fingerprint": generated_spec.fingerprint},
        )
        dataset_statistics(work.folder)
        store_summary(work.folder)
        store.publish_dataset(generated_spec)
    store.write_ledger("study", "pocket", {"entries": [{"top1": 42.5}]})
    store.write_speed("pocket", {"factor": 1.5})
    store.write_status("study", "pocket", {"running": {}})
    return store.root


def results(root: Path, base_spec: TrainingSpec, generated_spec: GeneratedDataset) -> dict[str, Any]:
    """All that later work takes from a store.

    Raises:
        Told: something is damaged.
    """
    store = Store(root)
    try:
        store.look()
        for spec in (base_spec, generated_spec):
            store.check(spec, checksums=True)
        model, folder = store.read_model(base_spec), store.open(generated_spec, checked=True)
        ledger = store.read_ledger("study", "pocket")
        told = PredictionSpec(training=base_spec, images=base_spec.validation)
        predicted = read_predictions(store, told), read_metrics(store, told)
    except InputError as error:
        raise Told from error
    manifest = read_manifest(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            kept = {
                path.name: (checkpoint._contents(path), _plain(checkpoint._tensors(path)))
                for path in store.partial_folder(longer(base_spec).cohort).glob("*.safetensors")
            }
        except UserWarning as error:
            raise Told from error
    used = store.read_usage(longer(base_spec).cohort, [longer(base_spec).fingerprint])
    if not (used and kept and all(epoch for (epoch, _), _ in kept.values())):
        raise Told  # It is not gone on from, or not counted.
    return {
        "model": (model.history, model.failure, model.usage, file_sha256(model.weights)),
        "predicted": (predicted[0].keys, predicted[0].logits.tobytes(), predicted[0].labels.tobytes(), predicted[1]),
        "data": (manifest.class_names, manifest.digest, manifest.description),
        "derived": (dataset_statistics(folder), {key: stored_summary(folder)[key] for key in ("rows", "mean", "std")}),
        "ledger": ledger["entries"],
        "usage": used,
        "kept": kept,
    }


def _plain(tensors: dict[str, Any]) -> dict[str, Any]:
    return {key: zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data) for key, value in tensors.items()}


KINDS = ["store.json", "prediction.json", "predictions.parquet", "predictions/*/_manifest.json"]
KINDS += ["model.json", "models/*/_manifest.json", "weights.safetensors", "train-*.parquet"]
KINDS += ["datasets/*/_manifest.json", "_statistics.json", "_summary.json", "partial/*/*.safetensors"]
KINDS += ["usage.json", "search.json", "speed.json", "status.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flip_in_any_file_is_told_or_harmless(
    kind: str, whole: Path, tmp_path: Path, base_spec: TrainingSpec, generated_spec: GeneratedDataset
) -> None:
    root = tmp_path / "store"
    shutil.copytree(whole, root)
    expected = results(root, base_spec, generated_spec)
    (path,) = [p for p in root.rglob("*") if p.is_file() and (p.match(kind) or p.name.endswith(kind))]
    content, chosen = path.read_bytes(), random.Random(kind)
    told, flips = 0, min(FLIPS, len(content))
    for number in range(flips):
        place = chosen.randrange(len(content) * number // flips, len(content) * (number + 1) // flips)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << chosen.randrange(7)]) + content[place + 1 :])
        try:
            assert results(root, base_spec, generated_spec) == expected, f"{path} at {place}"
        except Told:
            told += 1
        path.write_bytes(content)
    assert results(root, base_spec, generated_spec) == expected
    if kind in ("model.json", "weights.safetensors", "train-*.parquet", "partial/*/*.safetensors"):
        assert told == flips


def test_every_file_of_the_store_is_among_those(whole: Path) -> None:
    files = [path for path in whole.rglob("*") if path.is_file()]
    assert not [p for p in files if not any(p.match(kind) or p.name.endswith(kind) for kind in KINDS)]


def test_a_damaged_checkpoint_is_warned_of_and_its_epochs_are_repeated(
    whole: Path, tmp_path: Path, base_spec: TrainingSpec
) -> None:
    histories = []
    for damaged in (False, True):
        store = Store(shutil.copytree(whole, tmp_path / f"store {damaged}"))
        (path,) = store.partial_folder(longer(base_spec).cohort).glob("*.safetensors")
        content = bytearray(path.read_bytes())
        if damaged:
            content[-1000] ^= 1
            path.write_bytes(content)
            with pytest.warns(UserWarning, match=r"checkpoint .* is damaged \(its checksum differs\)"):
                assert train(store, longer(base_spec)) == [1, 2, 3, 4]
        else:
            assert train(store, longer(base_spec)) == [3, 4]
        histories.append([row["top1"] for row in store.read_model(longer(base_spec)).history])
    assert histories[0] == histories[1]


def test_a_model_under_another_fingerprint_is_told_and_made_again(machine: Machine, base_spec: TrainingSpec) -> None:
    store, other = machine("one"), replace(base_spec, seed=1)
    publish(store, base_spec)
    for item in store.list_files("models"):
        store._backend.write(item.key.replace(base_spec.fingerprint, other.fingerprint), store._backend.read(item.key))
    two = machine("two")
    assert two.has(other)
    with pytest.raises(InputError, match=r"holds another artifact, .* --repair"):
        two.check(other)
    with pytest.raises(InputError, match="holds another artifact"):
        two.read_model(other)
    two.remove(other)
    publish(two, other)
    machine("one").check(other, checksums=True)


def test_a_damaged_copy_in_the_mirror_is_brought_again(s3: str, tmp_path: Path, base_spec: TrainingSpec) -> None:
    store = Store(f"{s3}/{tmp_path.name}").create()
    folder = publish(store, base_spec)
    for name in ("weights.safetensors", "model.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
        store.open(base_spec, checked=True)
        assert (folder / name).read_bytes() == content
    (folder / "model.json").write_bytes(b" " * (folder / "model.json").stat().st_size)
    assert store.read_model(base_spec).history == HISTORY


def test_manifests_of_earlier_versions_are_read(tmp_path: Path, base_spec: TrainingSpec) -> None:
    store = Store(tmp_path).create()
    manifest = publish(store, base_spec) / MANIFEST
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({"files": values["files"]}))
    store.check(base_spec, checksums=True)
    assert store.read_model(base_spec).history == HISTORY
