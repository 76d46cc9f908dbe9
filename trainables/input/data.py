"""Images in memory, the fraction of them that a training uses, and the order in which it sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa
import torch
from torch import Tensor

from datagen.core.errors import InputError
from datagen.core.identity import derived_seed
from datagen.datasets.decoding import CorruptError, decoded_image, undecodable
from datagen.datasets.shards import read_manifest, read_rows
from trainables.input.mapped_file import mapped_bytes
from trainables.input.threads import in_threads

DECODED_LIMIT = 2 * 1024**3
"""Bytes of pixels that are kept decoded: a pocket set takes 8 MB; ImageNet-100 would take 25 GB and stays encoded."""

EVALUATION_BATCH = 250
"""Images of one evaluation batch; the result does not depend on it, but where BatchNorm uses the batch."""


class EncodedImages:
    """Images kept as JPEG or PNG bytes and decoded, as RGB, when they are picked; they may differ in size."""

    def __init__(self, folder: Path, paths: Sequence[str], encoded: Tensor, offsets: Sequence[int]) -> None:
        """Takes the images' bytes one after the other, [n] uint8, and where each begins and the last ends."""
        self._folder, self._paths, self._encoded, self._offsets = folder, paths, encoded, offsets

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, positions: Tensor) -> list[Tensor]:
        """The images at positions [n], each [3, height, width] uint8."""
        return in_threads(self.decoded, positions.tolist())

    def decoded(self, position: int) -> Tensor:
        """One image [3, height, width] uint8.

        Raises:
            InputError: it cannot be decoded.
        """
        image = self._encoded[self._offsets[position] : self._offsets[position + 1]]
        return _decoded(self._folder, self._paths[position], image)


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


def load_images(folder: Path, check: Callable[[Path], None] = lambda folder: None) -> ImageSet:
    """A data set in memory: decoded if its images are of one size and small enough together, else encoded.

    The first process of a node that asks for it reads the shards, after `check` has found them whole; all share its
    bytes (`trainables.input.mapped_file`).

    Raises:
        InputError: an image of a set that is decoded cannot be.
    """
    manifest = read_manifest(folder)
    # The digest stands for the images and their order; the rest of the key for what this code makes of them.
    key = f"{manifest.digest[:32]}-v1-{DECODED_LIMIT}"

    @cache
    def shape() -> torch.Size:
        """Of the first image; what is damaged is neither parsed nor decoded."""
        check(folder)
        return _decoded(folder, *_row(next(read_rows(folder, checked=True)), 0)).shape

    def size() -> int:
        decoded_size = shape().numel() * manifest.rows
        return decoded_size if decoded_size <= DECODED_LIMIT else sum(shard.bytes for shard in manifest.shards)

    def write(file: BinaryIO) -> dict[str, Tensor]:
        return _write_images(folder, file, shape(), shape().numel() * manifest.rows)

    content, index = mapped_bytes(key, size, write)
    labels = index["labels"]
    if "shape" in index:
        return ImageSet(content.view(index["shape"].tolist()), labels)
    paths = bytes(index["paths"].numpy()).decode().split("\0")
    return ImageSet(EncodedImages(folder, paths, content, index["offsets"].tolist()), labels)


def _write_images(folder: Path, file: BinaryIO, shape: torch.Size, decoded_size: int) -> dict[str, Tensor]:
    """Writes all pixels, if the images are alike and not too many, or all encoded bytes; returns what is where."""
    if decoded_size <= DECODED_LIMIT:
        index = _write_decoded(folder, file, shape)
        if index is not None:
            return index
        file.seek(0)
        file.truncate()
    return _write_encoded(folder, file)


def _write_decoded(folder: Path, file: BinaryIO, shape: torch.Size) -> dict[str, Tensor] | None:
    """None as soon as an image has another shape; before that, an image that cannot be decoded is an error."""
    labels: list[int] = []

    def attempt(row: tuple[str, Tensor]) -> Tensor | InputError:
        try:
            return _decoded(folder, *row)
        except InputError as error:
            return error

    for batch in read_rows(folder, checked=True):
        for image in in_threads(attempt, [_row(batch, number) for number in range(len(batch))]):
            if isinstance(image, InputError):
                raise image
            if image.shape != shape:
                return None
            file.write(image.contiguous().numpy().data)
        labels += batch.column("label").to_pylist()
    return {"labels": torch.tensor(labels), "shape": torch.tensor([len(labels), *shape])}


def _write_encoded(folder: Path, file: BinaryIO) -> dict[str, Tensor]:
    labels: list[int] = []
    paths: list[str] = []
    lengths: list[int] = []
    for batch in read_rows(folder, checked=True):
        for image in batch.column("image").field("bytes"):
            lengths.append(file.write(image.as_buffer()))
        paths += batch.column("image").field("path").to_pylist()
        labels += batch.column("label").to_pylist()
    return {
        "labels": torch.tensor(labels),
        "offsets": torch.tensor(list(accumulate(lengths, initial=0))),
        "paths": torch.frombuffer(bytearray("\0".join(paths).encode()), dtype=torch.uint8),
    }


def _row(batch: pa.RecordBatch, number: int) -> tuple[str, Tensor]:
    """An image's path, and its bytes [n] uint8."""
    image = batch.column("image")
    encoded = image.field("bytes")[number].as_buffer()
    return image.field("path")[number].as_py(), torch.frombuffer(bytearray(encoded), dtype=torch.uint8)


def _decoded(folder: Path, path: str, encoded: Tensor) -> Tensor:
    try:
        return decoded_image(encoded.numpy().data)
    except CorruptError as error:
        raise undecodable(folder, path, error) from None


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
    by_class = labels.argsort(stable=True)
    for positions in by_class.split(labels.unique(sorted=True, return_counts=True)[1].tolist()):
        shuffled = positions[torch.randperm(len(positions), generator=generator)]
        chosen.append(shuffled[: max(1, round(len(positions) * fraction))])
    return torch.cat(chosen).sort().values


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Whole batches in an epoch; the rest is dropped, as in the papers' code. A set below one batch makes one step."""
    return max(1, images // batch_size)


@dataclass(frozen=True)
class BatchPart:
    """Positions of images that go through the network together, the batch of which they are part, whether its last."""

    positions: Tensor
    batch: Tensor
    completes: bool = True


def parts_of(batches: Iterable[Tensor], accumulate: int, workers: int) -> Iterator[BatchPart]:
    """Each batch in `accumulate` parts of about one size; fewer where a part would not have an image a worker."""
    for batch in batches:
        parts = batch.tensor_split(max(1, min(accumulate, len(batch) // workers)))
        for number, part in enumerate(parts, 1):
            yield BatchPart(part, batch, number == len(parts))


def epoch_batches(positions: Tensor, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The shuffled positions of each batch of an epoch; the order depends on `seed` and `epoch` alone."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    order = positions[torch.randperm(len(positions), generator=generator)]
    for step in range(steps_per_epoch(len(positions), batch_size)):
        yield order[step * batch_size : (step + 1) * batch_size]
