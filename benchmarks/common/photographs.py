"""Images of ImageNet's size for benchmarks that need no real ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from datagen.datasets.shards import ImageRow, publish_dataset

CLASSES = ("first", "second")


def photograph(seed: int) -> bytes:
    """A JPEG of about 500 x 375 pixels and 80 kB: smooth colours with noise, quality 90."""
    generator = np.random.default_rng(seed)
    width, height = int(generator.integers(450, 551)), int(generator.integers(340, 411))
    coarse = generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = (smooth + generator.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


def publish_photographs(folder: Path, images: int) -> None:
    """A data set of so many photographs, in shards of 128."""
    rows = [
        ImageRow(photograph(n), f"{CLASSES[n % 2]}/{n:05d}.jpg", n % 2, CLASSES[n % 2], n // 2) for n in range(images)
    ]
    shards = [rows[start : start + 128] for start in range(0, images, 128)]
    publish_dataset(folder, shards, split="train", class_names=CLASSES, description={}, image_format="jpeg")


def write_image_folder(dataset: Path, folder: Path) -> None:
    """The same images as files, in torchvision's ImageFolder layout."""
    from datagen.datasets.shards import read_rows

    number = 0
    for batch in read_rows(dataset, ("image", "class_name")):
        for row in batch.to_pylist():
            place = folder / row["class_name"]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:06d}{Path(row['image']['path']).suffix}").write_bytes(row["image"]["bytes"])
            number += 1
