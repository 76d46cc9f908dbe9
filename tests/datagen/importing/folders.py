"""Small folders of pictures, and the command that imports them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from click.testing import CliRunner, Result
from PIL import Image

from datagen.datasets.shards import read_manifest
from datagen.import_images import main


def encoded(image: Image.Image, image_format: str = "jpeg", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def picture(seed: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Image.Image:
    shape = (size[1], size[0], len(Image.new(mode, (1, 1)).getbands()))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels.squeeze(-1) if shape[2] == 1 else pixels, mode)


def image_folder(root: Path, files: dict[str, int]) -> Path:
    """`files[class]` JPEG files for each class, all different."""
    for label, (folder, count) in enumerate(files.items()):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            (root / folder / f"{index:03d}.jpg").write_bytes(encoded(picture(1000 * label + index)))
    return root


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for shard in read_manifest(folder).shards for row in pq.read_table(folder / shard.file).to_pylist()]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments])
