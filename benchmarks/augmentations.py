"""Samples per second and core of each augmentation at 224 px, in batches, beside the Pillow pipeline for each image.

    python -m benchmarks.augmentations [--images 64] [--rounds 5] [--out benchmarks/results/augmentations.json]

From JPEG bytes (about 500 x 375 px) to normalized float32 tensors, decoding counted, in one thread. The multi-crop
makes a 224 px and eight 96 px crops of each image.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import torch
from PIL import Image
from torchvision.transforms import v2

from benchmarks.common.photographs import publish_photographs
from benchmarks.common.rounds import rates, summary, table, use_cores, write
from datagen.datasets.shards import read_rows
from trainables.augmentations import reference
from trainables.augmentations.apply import Augmenter
from trainables.input.data import load_images
from trainables.input.pixel_statistics import IMAGENET

SIZE, LOCAL_SIZE, LOCAL_CROPS = 224, 96, 8


def references() -> dict[str, Callable[[Image.Image], list[Image.Image]]]:
    """The Pillow pipeline of each view that has one in torchvision."""
    plain = v2.Compose([v2.Resize(256), v2.CenterCrop(SIZE)])
    crop, policy = reference.pytorch_example(SIZE, 0.08), reference.autoaugment(SIZE)
    mix = v2.AugMix(severity=1)
    return {
        "none": lambda image: [plain(image)],
        "pytorch_example": lambda image: [crop(image)],
        "autoaugment": lambda image: [policy(image)],
        "augmix": lambda image: [mix(crop(image))],
        "dino_multicrop": reference.multicrop(SIZE, LOCAL_SIZE, LOCAL_CROPS),
    }


@click.command()
@click.option("--images", default=64, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--augmentations", "names", default=",".join(references()), show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/augmentations.json"), show_default=True
)
def main(images: int, rounds: int, names: str, out: Path) -> None:
    """Runs both ways in turns for each augmentation."""
    use_cores(1)
    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "photographs"
        publish_photographs(dataset, images)
        for name in names.split(","):
            ways = {"mindgap": batched(dataset, name), "pillow": one_by_one(dataset, references()[name])}
            results[name] = summary(rates(ways, rounds), "mindgap")
    write(out, 1, ("torch", "torchvision", "pillow"), {"images": images, "rounds": rounds}, results)
    flat = {f"{name} {way}": result for name, result_of in results.items() for way, result in result_of.items()}
    labels = {"mindgap": "in batches", "pillow": "Pillow, one by one"}
    named = {key: f"`{key.split()[0]}`, {labels[key.split()[1]]}" for key in flat}
    click.echo(table("augmentation", "samples/s and core", flat, named))


def batched(dataset: Path, name: str) -> Callable[[], int]:
    """Mindgap's views of one batch."""
    spec: Any = SimpleNamespace(
        augmentation=name, image_size=SIZE, local_size=LOCAL_SIZE, local_crops=LOCAL_CROPS, minimum_crop=0.08, seed=0
    )
    images = load_images(dataset)
    views, positions = Augmenter(spec, len(images), IMAGENET), torch.arange(len(images))

    def batch() -> int:
        views(images.images[positions], positions, 1)
        return len(images)

    return batch


def one_by_one(dataset: Path, view: Callable[[Image.Image], list[Image.Image]]) -> Callable[[], int]:
    """A Pillow pipeline over the same images, collated as a DataLoader does it."""
    encoded = [row["bytes"] for rows in read_rows(dataset) for row in rows.column("image").to_pylist()]

    def batch() -> int:
        crops = [view(Image.open(io.BytesIO(image)).convert("RGB")) for image in encoded]
        for resolution in zip(*crops, strict=True):
            torch.stack([reference.normalized(crop, IMAGENET) for crop in resolution])
        return len(encoded)

    return batch


if __name__ == "__main__":
    main()
