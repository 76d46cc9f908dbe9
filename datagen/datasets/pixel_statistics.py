"""Exact mean and standard deviation of a whole data set's pixels, kept in `_statistics.json` beside its manifest.

One pass over the shards, a row group at a time; sums of integers are exact whatever the order, so parts of a set can be
summed anywhere and added. The file names the manifest's digest: it is ignored once the images are others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datagen.core.files import read_sealed_json, write_sealed_json
from datagen.datasets.decoding import CorruptError, decoded_image, undecodable
from datagen.datasets.shards import STATISTICS, read_manifest, read_rows

DECODING_THREADS = 8

Channels = tuple[int, int, int]


@dataclass(frozen=True)
class ChannelSums:
    """Sums over the pixels of images, each 0..255, for red, green and blue; those of two sets add up."""

    images: int = 0
    pixels: int = 0
    total: Channels = (0, 0, 0)
    squares: Channels = (0, 0, 0)

    def __add__(self, other: ChannelSums) -> ChannelSums:
        """The sums over both sets' images."""
        return ChannelSums(
            self.images + other.images,
            self.pixels + other.pixels,
            _added(self.total, other.total),
            _added(self.squares, other.squares),
        )

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of each channel, of pixels in 0..1."""
        red, green, blue = (total / self.pixels / 255 for total in self.total)
        return red, green, blue

    @property
    def std(self) -> tuple[float, float, float]:
        """Population standard deviation of each channel, of pixels in 0..1; at least 1/255, for flat channels."""
        red, green, blue = (
            math.sqrt(max(1.0, squares / self.pixels - (total / self.pixels) ** 2)) / 255
            for total, squares in zip(self.total, self.squares, strict=True)
        )
        return red, green, blue


def sums_of(images: Iterable[np.ndarray]) -> ChannelSums:
    """The sums over images given as arrays [3, height, width] or [n, 3, height, width] uint8, of any sizes."""
    sums = ChannelSums()
    for image in images:
        pixels = np.moveaxis(image, -3, 0).reshape(3, -1).astype(np.float64)
        # Integers below 2^53, so exact: a chunk has up to 2^53 / 255^2 = 1.4e11 pixels.
        total, squares = pixels.sum(1), np.einsum("cp,cp->c", pixels, pixels)
        count = 1 if image.ndim == 3 else len(image)
        sums += ChannelSums(count, pixels.shape[1], _integers(total), _integers(squares))
    return sums


def dataset_statistics(folder: Path) -> ChannelSums:
    """The statistics of the data set in `folder`: those stored there, else computed and, if it can be written, stored.

    Raises:
        InputError: the folder has no data set, or an image of it cannot be decoded.
    """
    digest = read_manifest(folder).digest
    stored = _stored(folder, digest)
    if stored is not None:
        return stored
    sums = sums_of(_decoded(folder))
    about = {"digest": digest, "mean": sums.mean, "std": sums.std}
    try:
        write_sealed_json(folder / STATISTICS, {**about, **asdict(sums)})
    except OSError:
        pass  # A read-only set is summed every time.
    return sums


def _stored(folder: Path, digest: str) -> ChannelSums | None:
    """What the file says; None if there is none, it is damaged, or it speaks of other images."""
    try:
        values = read_sealed_json(folder / STATISTICS)
        if values["digest"] != digest:
            return None
        return ChannelSums(values["images"], values["pixels"], tuple(values["total"]), tuple(values["squares"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _decoded(folder: Path) -> Iterator[np.ndarray]:
    """Every image of the set [3, height, width] uint8, by the decoder that training uses."""

    def decoded(row: dict[str, Any]) -> np.ndarray:
        try:
            pixels: np.ndarray = decoded_image(row["bytes"]).numpy()
            return pixels
        except CorruptError as error:
            raise undecodable(folder, row["path"], error) from None

    with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="statistics") as threads:
        for batch in read_rows(folder, ("image",)):
            yield from threads.map(decoded, batch.column("image").to_pylist())


def _added(first: Channels, second: Channels) -> Channels:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


def _integers(values: np.ndarray) -> Channels:
    red, green, blue = (int(value) for value in values)
    return red, green, blue
