"""Several data-parallel workers train what one would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.multiprocessing.spawn import spawn

from datagen.core.errors import InputError
from tests.conftest import real_dataset
from trainables.distributed import DistributedContext
from trainables.input.data import load_images
from trainables.loop import train_cohort
from trainables.models.synchronization import synchronize_batchnorm
from trainables.spec import TrainingSpec
from trainables.trunk import evaluation_mode

WITHOUT_BATCHNORM = "test_convnext"
SYNCHRONIZED_BOUND = 1e-5
"""Of the loss, after two epochs of three steps: sums in another order differ in the last bit. 5e-7 was measured."""
KINDS: dict[str, dict] = {
    "without batchnorm": {},
    "part of a batch": {"fraction": 1 / 3},  # 15 images, of which one worker takes 8 and the other 7.
    # BatchNorm by the batch in training, in the drifting frozen layers, and at evaluation.
    "batchnorm": {
        "model": "resnet50_slim",
        "layers": (),
        "frozen_batchnorm": "train",
        "normalization": "batchnorm_train",
    },
    "own batchnorm": {"model": "resnet50_slim", "layers": (), "frozen_batchnorm": "train", "sync_batchnorm": False},
}


def train(rank: int, size: int, folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    if size > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=size)
    base = TrainingSpec(
        train=real_dataset(folder, "train"),
        validation=real_dataset(folder, "validation", "validation"),
        model=WITHOUT_BATCHNORM,
        image_size=32,
        epochs=2,
        warmup_epochs=1,
        batch_size=16,
    )
    images = load_images(folder / "train"), load_images(folder / "validation")
    results = {}
    for name, changes in KINDS.items():
        spec = replace(base, **changes)
        (whole,) = train_cohort([spec], *images, context=DistributedContext(rank, size))
        transfer = replace(spec, source=spec, frozen_layers=2)
        (above,) = train_cohort([transfer], *images, whole.state, context=DistributedContext(rank, size))
        results[name] = {"whole": whole.history, "transfer": above.history}
        assert above.logits is not None
        save_file(above.state | {"logits": above.logits}, out / f"{name}-{rank}.safetensors")
    if rank == 0:
        (out / "history.json").write_text(json.dumps(results))
    if size > 1:
        torch.distributed.destroy_process_group()


Histories = dict[int, dict[str, dict[str, list[dict[str, float]]]]]


@pytest.fixture(scope="module")
def outputs(image_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folders = {}
    for size in (1, 2):
        folders[size] = tmp_path_factory.mktemp(f"workers{size}")
        spawn(train, args=(size, image_folders, folders[size]), nprocs=size)
    return folders


@pytest.fixture(scope="module")
def histories(outputs: Mapping[int, Path]) -> Histories:
    return {size: json.loads((folder / "history.json").read_text()) for size, folder in outputs.items()}


def curve(histories: Histories, workers: int, name: str, stage: str, metric: str) -> list[float]:
    return [row[metric] for row in histories[workers][name][stage]]


@pytest.mark.parametrize("stage", ["whole", "transfer"])
@pytest.mark.parametrize("name", ["without batchnorm", "part of a batch"])
def test_two_workers_have_the_loss_curve_of_one(name: str, stage: str, histories: Histories) -> None:
    one, two = (curve(histories, workers, name, stage, "train_loss") for workers in (1, 2))
    assert two == pytest.approx(one, abs=1e-5)


@pytest.mark.parametrize("stage", ["whole", "transfer"])
def test_two_workers_with_synchronized_batchnorm_have_the_loss_curve_of_one(stage: str, histories: Histories) -> None:
    one, two = (curve(histories, workers, "batchnorm", stage, "train_loss") for workers in (1, 2))
    assert two == pytest.approx(one, abs=SYNCHRONIZED_BOUND)


def test_each_workers_own_batchnorm_does_not(histories: Histories) -> None:
    one, two = (curve(histories, workers, "own batchnorm", "whole", "train_loss") for workers in (1, 2))
    assert two != pytest.approx(one, abs=10 * SYNCHRONIZED_BOUND)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("stage", ["whole", "transfer"])
def test_two_workers_evaluate_every_image_once(name: str, stage: str, histories: Histories) -> None:
    if name != "own batchnorm":
        one, two = (curve(histories, workers, name, stage, "top1") for workers in (1, 2))
        assert two == pytest.approx(one, abs=1e-4)
    for top1 in curve(histories, 2, name, stage, "top1"):
        # 21 validation images, an odd number: a padded or repeated one would show in the denominator.
        assert top1 * 21 / 100 == pytest.approx(round(top1 * 21 / 100), abs=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_all_workers_end_with_the_same_network(name: str, outputs: Mapping[int, Path]) -> None:
    first, second = (load_file(outputs[2] / f"{name}-{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["without batchnorm", "batchnorm"])
def test_two_workers_predict_together_what_one_predicts(name: str, outputs: Mapping[int, Path]) -> None:
    one, two = (load_file(outputs[size] / f"{name}-0.safetensors")["logits"] for size in (1, 2))
    assert one.shape == (21, 3)
    torch.testing.assert_close(two.float(), one.float(), atol=1e-2, rtol=0)


def test_batchnorm_of_a_kind_that_cannot_be_synchronized_is_refused() -> None:
    with pytest.raises(InputError, match="BatchNorm1d cannot be synchronized on CPUs"):
        synchronize_batchnorm(nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(3)), torch.device("cpu"))


def test_batchnorm_by_the_evaluation_batch_includes_torchs_synchronized_kind() -> None:
    layer = nn.SyncBatchNorm(3)
    with evaluation_mode([nn.Sequential(layer)], by_batch=True):
        assert layer.training
    assert not layer.training


def test_a_batch_is_shared_out_whole_and_weighted_by_the_shares() -> None:
    batch, values = torch.arange(15), torch.randn(15)
    worlds = [DistributedContext(rank, 4) for rank in range(4)]
    shares = [world.share(batch) for world in worlds]
    assert sorted(torch.cat(shares).tolist()) == batch.tolist()
    means = [world.weight(share, batch) * values[share].mean() for world, share in zip(worlds, shares, strict=True)]
    assert float(torch.stack(means).mean()) == pytest.approx(float(values.mean()), rel=1e-5)
