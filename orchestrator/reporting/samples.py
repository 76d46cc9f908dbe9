"""Sample images of data sets, for a report: a few of a few classes, found without reading a whole set."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from PIL import Image

from datagen.core.errors import InputError
from datagen.datasets.shards import ROWS_PER_GROUP, read_manifest

CLASSES, PER_CLASS, SIDE = 5, 4, 88
"""Classes shown, images of each, and the longer side of an image in pixels."""


class Strip(NamedTuple):
    """Some images of one class of one data set, side by side, as a data URI."""

    title: str
    class_name: str
    image: str


def sample_classes(class_names: Sequence[str]) -> list[int]:
    """Labels spread over the classes."""
    count = min(CLASSES, len(class_names))
    return [round(place * (len(class_names) - 1) / max(1, count - 1)) for place in range(count)]


def sample_strips(folder: Path, title: str) -> list[Strip]:
    """A strip for each sample class of the data set in `folder`; fewer, or none, where it has no such images."""
    try:
        manifest = read_manifest(folder)
    except InputError:
        return []
    strips = []
    files = [folder / shard.file for shard in manifest.shards]
    for label in sample_classes(manifest.class_names):
        # Shards are in class order (as imported) or hold all classes (as generated): look at both places.
        places = dict.fromkeys([int(label / len(manifest.class_names) * len(files)), 0, len(files) - 1])
        images: list[bytes] = []
        for place in places:
            if not images and files[place].is_file():
                images = _images_of(files[place], label)
        if images:
            strips.append(Strip(title, manifest.class_names[label], _strip(images)))
    return strips


def _images_of(file: Path, label: int) -> list[bytes]:
    """The encoded bytes of the first images of a class in a shard."""
    found: list[bytes] = []
    with pq.ParquetFile(file) as shard:
        for group in range(shard.num_row_groups):
            labels = shard.read_row_group(group, ["label"])["label"].to_pylist()
            places = [place for place, value in enumerate(labels) if value == label][: PER_CLASS - len(found)]
            if places:
                rows = shard.read_row_group(group, ["image"])["image"].take(places).to_pylist()
                found += [row["bytes"] for row in rows]
            if len(found) == PER_CLASS or group * ROWS_PER_GROUP > 4096:
                break
    return found


def _strip(images: Sequence[bytes]) -> str:
    strip = Image.new("RGB", (PER_CLASS * (SIDE + 2) - 2, SIDE), "white")
    for place, encoded in enumerate(images):
        with Image.open(io.BytesIO(encoded)) as opened:
            picture = opened.convert("RGB")
        scale = SIDE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        # Small pictures are shown in their own pixels, large ones smoothed.
        picture = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
        strip.paste(picture, (place * (SIDE + 2) + (SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    buffer = io.BytesIO()
    strip.save(buffer, "jpeg", quality=88)
    return data_uri(buffer.getvalue(), "image/jpeg")


def data_uri(content: bytes, media_type: str) -> str:
    """The content as a URI that a page can hold in itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
