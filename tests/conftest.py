"""Small data and specs that most tests share."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
import torch
from moto.server import ThreadedMotoServer
from PIL import Image

from datagen.core.ray_session import prepare
from datagen.datasets.shards import ImageRow, publish_dataset
from datagen.datasets.spec import GeneratedDataset, RealDataset
from trainables.input.data import ImageSet, load_images
from trainables.spec import TrainingSpec

ROOT = Path(__file__).parent.parent
CLASSES = ("circle", "square", "cross")
torch.set_num_threads(1)
# Ray gives its workers a niceness of 15: beside the other test process they would starve, and sweeps time out.
os.environ.setdefault("RAY_worker_niceness", "0")
prepare(None)  # Before any test imports ray, which would otherwise listen on all of this machine's addresses.


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def noisy_rows(per_class: int, seed: int) -> list[ImageRow]:
    """Images of noise whose brightness tells the class, so that training has something to learn."""
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(per_class):
        for label, name in enumerate(CLASSES):
            pixels = generator.integers(60 * label, 60 * label + 100, (32, 32, 3), dtype=np.uint8)
            rows.append(ImageRow(png(pixels), f"{name}/{index}.png", label, name, index))
    return rows


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a bucket on an S3 server on the loopback, which this process and its children can use."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    settings = {
        "AWS_ACCESS_KEY_ID": "loopback",
        "AWS_SECRET_ACCESS_KEY": "loopback-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.get_host_and_port()[1]}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=settings["AWS_ENDPOINT_URL"]).create_bucket(Bucket="mindgap")
        yield "s3://mindgap"
    server.stop()


@pytest.fixture(scope="session")
def image_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for split, per_class, seed in (("train", 16, 1), ("validation", 7, 2)):
        publish_dataset(root / split, [noisy_rows(per_class, seed)], split=split, class_names=CLASSES, description={})
    return root


def decoded(images: ImageSet) -> torch.Tensor:
    """The pixels of a small set, [n, 3, height, width] uint8."""
    assert isinstance(images.images, torch.Tensor)
    return images.images


def real_dataset(image_folders: Path, split: str, name: str = "real") -> RealDataset:
    from datagen.datasets.shards import read_manifest

    folder = image_folders / split
    manifest = read_manifest(folder)
    return RealDataset(
        name=name, class_names=CLASSES, split=split, digest=manifest.digest, rows=manifest.rows, folder=folder
    )


@pytest.fixture(scope="session")
def train_images(image_folders: Path) -> ImageSet:
    return load_images(image_folders / "train")


@pytest.fixture(scope="session")
def validation_images(image_folders: Path) -> ImageSet:
    return load_images(image_folders / "validation")


@pytest.fixture(scope="session")
def base_spec(image_folders: Path) -> TrainingSpec:
    """A training from scratch of 2 epochs of 3 steps."""
    return TrainingSpec(
        train=real_dataset(image_folders, "train"),
        validation=real_dataset(image_folders, "validation", "validation"),
        model="resnet50_slim",
        image_size=32,
        minimum_crop=0.5,
        epochs=2,
        warmup_epochs=1,
        batch_size=16,
        learning_rate=0.4,
    )


@pytest.fixture(scope="session")
def generated_spec() -> GeneratedDataset:
    """A few images from the pocket pipeline, in shards of 8."""
    from datagen import pocket
    from datagen.pocket.classes import CLASSES as POCKET_CLASSES
    from datagen.recipes.prompt_styles import definition_prompt

    two = POCKET_CLASSES[:2]
    return GeneratedDataset(
        name="synthetic",
        class_names=tuple(item.name for item in two),
        prompts=tuple((definition_prompt(item.name, item.wordnet_id),) for item in two),
        pipeline="generator",
        pipeline_digest="0" * 64,
        pipeline_folder=pocket.GENERATOR,
        images_per_class=12,
        steps=3,
        width=32,
        height=32,
        rows_per_shard=8,
    )


@pytest.fixture(scope="module", autouse=True)
def no_ray_of_another_file() -> Iterator[None]:
    """Ends the Ray that a file's tests have started in this process: the next file may want another."""
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


@pytest.fixture(scope="module")
def cluster() -> None:
    """Ray with two CPUs, on this machine's loopback only."""
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
