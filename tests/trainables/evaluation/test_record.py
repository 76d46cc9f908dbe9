"""A model's sidecar and weights alone give the top-1 that was reported, without anything of mindgap."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datagen.datasets.shards import ImageRow, publish_dataset
from orchestrator.execution.cohort import train_and_publish
from orchestrator.storage.store import Store
from tests.conftest import CLASSES, ROOT, png, real_dataset
from trainables.spec import TrainingSpec

RESNET18 = ("stem=conv1 bn1 act1 maxpool", "layer1", "layer2", "layer3", "layer4", "head=global_pool fc")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes that overlap, so that any other evaluation has another top-1; validation images are brighter."""
    root = tmp_path_factory.mktemp("overlapping")
    for split, per_class, shift, seed in (("train", 24, 0, 1), ("validation", 67, 20, 2)):
        generator = np.random.default_rng(seed)
        rows = []
        for number in range(per_class * len(CLASSES)):
            index, label = divmod(number, len(CLASSES))
            brightness = generator.normal(60 + 6 * label + shift, 10)
            pixels = (brightness + generator.normal(0, 20, (32, 32, 3))).clip(0, 255).astype(np.uint8)
            rows.append(ImageRow(png(pixels), f"{CLASSES[label]}/{index}.png", label, CLASSES[label], index))
        publish_dataset(root / split, [rows], split=split, class_names=CLASSES, description={})
    return root


@pytest.fixture(scope="module")
def top1() -> Callable[[Path, Path], float]:
    spec = importlib.util.spec_from_file_location("evaluate_weights", ROOT / "docs/evaluate_weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[Path, Path], float] = module.top1
    return function


@pytest.fixture(scope="module")
def trained(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains and gives the model's folder."""
    store = Store(tmp_path_factory.mktemp("store")).create()

    def train(**settings: Any) -> Path:
        usual = {"model": "resnet50_slim", "image_size": 32, "epochs": 2, "warmup_epochs": 0, "batch_size": 24}
        sets: dict[str, Any] = {split: real_dataset(folders, split) for split in ("train", "validation")}
        spec = TrainingSpec(**sets, **{**usual, **settings})
        assert train_and_publish((spec,), store, lambda report: None) == {}
        return store.folder(spec)

    return train


def reported(folder: Path) -> float:
    history = json.loads((folder / "model.json").read_text(encoding="utf-8"))["history"]
    return float(history[-1]["top1"])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"head": "linear"},
        {"normalization": "exact"},
        {"normalization": "exact", "exact_statistics": "training", "head": "linear"},
        {"normalization": "batchnorm_train"},
        {"normalization": "batchnorm_train", "batchnorm_evaluation_order": "by_label"},
        {"model": "resnet18", "layers": RESNET18, "normalization": "exact"},
        {"image_size": 64},
    ],
    ids=str,
)
def test_the_sidecar_alone_reproduces_the_reported_top1(
    settings: dict[str, Any], trained: Callable[..., Path], top1: Callable[[Path, Path], float], folders: Path
) -> None:
    folder = trained(**settings)
    assert top1(folder, folders / "validation") == pytest.approx(reported(folder), abs=1e-4)


def test_the_sidecar_names_the_set_and_holds_the_validation_images_statistics(
    trained: Callable[..., Path], top1: Callable[[Path, Path], float], folders: Path
) -> None:
    folder = trained(normalization="exact")
    sidecar = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    dataset = real_dataset(folders, "validation")
    expected = {"name": dataset.name, "fingerprint": dataset.fingerprint, "images": dataset.images}
    assert sidecar["evaluation"]["dataset"] == expected
    brighter, darker = sidecar["evaluation"]["normalization"]["mean"], sidecar["training_normalization"]["mean"]
    assert brighter[0] - darker[0] == pytest.approx(20 / 255, abs=0.02)
