"""Several data-parallel workers train what one would."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing

from tests.conftest import real_dataset
from trainables.data import load_images
from trainables.layers import LAYERS, Layer
from trainables.loop import train_cohort
from trainables.spec import TrainingSpec
from trainables.world import World

WITHOUT_BATCHNORM = "test_convnext"
HEAD = ("global_pool", "norm", "flatten", "pre_logits", "drop", "fc")


def add_network_without_batchnorm() -> None:
    """A timm classifier added by naming its layers, as a user would."""
    stages = [Layer(f"stages.{stage}", (f"stages.{stage}",)) for stage in range(4)]
    LAYERS[WITHOUT_BATCHNORM] = (
        Layer("stem", ("stem",)),
        *stages,
        Layer("head", ("norm_pre", *(f"head.{name}" for name in HEAD))),
    )


def train(rank: int, size: int, folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    add_network_without_batchnorm()
    if size > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=size)
    base = TrainingSpec(
        train=real_dataset(folder, "train"),
        validation=real_dataset(folder, "validation", "validation"),
        model=WITHOUT_BATCHNORM,
        image_size=32,
        epochs=3,
        warmup_epochs=1,
        batch_size=16,
    )
    images = load_images(folder / "train"), load_images(folder / "validation")
    (whole,) = train_cohort([base], *images, world=World(rank, size))
    transfer = replace(base, source=base, frozen_layers=2)
    (above,) = train_cohort([transfer], *images, whole.state, world=World(rank, size))
    if rank == 0:
        (out / "history.json").write_text(json.dumps([whole.history, above.history]))
    if size > 1:
        torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def histories(image_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[list[dict[str, float]]]]:
    found = {}
    for size in (1, 2):
        out = tmp_path_factory.mktemp(f"workers{size}")
        multiprocessing.spawn(train, args=(size, image_folders, out), nprocs=size)
        found[size] = json.loads((out / "history.json").read_text())
    return found


def test_two_workers_have_the_loss_curve_of_one(histories: dict[int, list[list[dict[str, float]]]]) -> None:
    for one, two in zip(histories[1], histories[2], strict=True):
        assert [row["train_loss"] for row in two] == pytest.approx([row["train_loss"] for row in one], abs=1e-5)


def test_two_workers_evaluate_every_image_once(histories: dict[int, list[list[dict[str, float]]]]) -> None:
    for one, two in zip(histories[1], histories[2], strict=True):
        assert [row["top1"] for row in two] == pytest.approx([row["top1"] for row in one], abs=1e-4)
        for row in two:
            # 21 validation images, an odd number: a padded or repeated one would show in the denominator.
            assert (row["top1"] * 21 / 100) == pytest.approx(round(row["top1"] * 21 / 100), abs=1e-3)
