"""Images in memory, the fraction of them that a training uses, and the order in which it sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from datagen.errors import InputError
from datagen.identity import derived_seed
from datagen.shards import read_rows

DECODED_LIMIT = 2 * 1024**3
"""Bytes of pixels that are kept decoded: a pocket set takes 8 MB; ImageNet-100 would take 25 GB and stays encoded."""
DECODING_THREADS = 8


class EncodedImages:
    """Images kept as JPEG or PNG bytes and decoded, as RGB, when they are picked; they may differ in size."""

    def __init__(self, folder: Path, paths: Sequence[str], encoded: Sequence[bytes]) -> None:
        self._folder, self._paths, self._encoded = folder, paths, encoded
        self._threads = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode")

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, positions: Tensor) -> list[Tensor]:
        """The images at positions [n], each [3, height, width] uint8."""
        return list(self._threads.map(self.decoded, positions.tolist()))

    def decoded(self, position: int) -> Tensor:
        """One image [3, height, width] uint8.

        Raises:
            InputError: it cannot be decoded.
        """
        buffer = torch.frombuffer(bytearray(self._encoded[position]), dtype=torch.uint8)
        try:
            return decode_image(buffer, ImageReadMode.RGB)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"The image {self._paths[position]} in {self._folder} cannot be decoded: {reason}"
            ) from error


class Images(Protocol):
    """Images that are decoded or chosen when they are picked."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: Tensor) -> list[Tensor]:
        """The images at positions [n], each [3, height, width] uint8."""


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: decoded [n, 3, height, width] uint8, or encoded; labels [n] int64 (0..classes-1)."""

    images: Tensor | Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def load_images(folder: Path) -> ImageSet:
    """Reads a data set into memory: decoded if its images are of one size and small enough together, else encoded.

    Raises:
        InputError: an image of a set that is decoded cannot be.
    """
    paths: list[str] = []
    encoded: list[bytes] = []
    labels: list[int] = []
    for batch in read_rows(folder):
        rows = batch.column("image").to_pylist()
        paths += [row["path"] for row in rows]
        encoded += [row["bytes"] for row in rows]
        labels += batch.column("label").to_pylist()
    images = EncodedImages(folder, paths, encoded)
    first = images.decoded(0)
    if first.numel() * len(images) > DECODED_LIMIT:
        return ImageSet(images, torch.tensor(labels))
    decoded = []
    for position in range(len(images)):
        decoded.append(images.decoded(position))
        if decoded[-1].shape != first.shape:
            return ImageSet(images, torch.tensor(labels))
    return ImageSet(torch.stack(decoded), torch.tensor(labels))


def fraction_subset(labels: Tensor, fraction: float, seed: int, *, balanced: bool = True) -> Tensor:
    """Positions [m] int64, ascending, of a share of the images: the same of each class if `balanced`, else of all.

    Nested: with the same seed a smaller fraction is a subset of a larger one. At least one image (of each class)
    remains. The papers draw "randomly" and say neither; balance and nesting remove noise that is not the question.
    """
    if fraction == 1:
        return torch.arange(len(labels))
    generator = torch.Generator().manual_seed(derived_seed(seed, "subset"))
    if not balanced:
        return torch.randperm(len(labels), generator=generator)[: max(1, round(len(labels) * fraction))].sort().values
    chosen = []
    for label in labels.unique(sorted=True):
        positions = (labels == label).nonzero().flatten()
        shuffled = positions[torch.randperm(len(positions), generator=generator)]
        chosen.append(shuffled[: max(1, round(len(positions) * fraction))])
    return torch.cat(chosen).sort().values


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Whole batches in an epoch; the rest is dropped, as in the papers' code. A set below one batch makes one step."""
    return max(1, images // batch_size)


def epoch_batches(positions: Tensor, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The shuffled positions of each batch of an epoch; the order depends on `seed` and `epoch` alone."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    order = positions[torch.randperm(len(positions), generator=generator)]
    for step in range(steps_per_epoch(len(positions), batch_size)):
        yield order[step * batch_size : (step + 1) * batch_size]
