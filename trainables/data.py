"""Images in memory, the fraction of them that a training uses, and the order in which it sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from datagen.errors import InputError
from datagen.identity import derived_seed
from datagen.shards import read_manifest, read_rows


@dataclass(frozen=True)
class ImageSet:
    """Decoded images [n, 3, height, width] uint8 and labels [n] int64 (0..classes-1)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def load_images(folder: Path) -> ImageSet:
    """Decodes every image of a data set once, as RGB.

    Raises:
        InputError: an image cannot be decoded, or the images differ in size.
    """
    images, labels = [], []
    for batch in read_rows(folder):
        for image, label in zip(batch.column("image"), batch.column("label"), strict=True):
            images.append(_decode(folder, image["path"].as_py(), image["bytes"].as_buffer()))
            labels.append(label.as_py())
    sizes = {tuple(image.shape[1:]) for image in images}
    if len(sizes) != 1:
        raise InputError(f"The images of {folder} differ in size ({len(sizes)} sizes). Import them with one size.")
    return ImageSet(torch.stack(images), torch.tensor(labels))


def _decode(folder: Path, path: str, encoded: memoryview) -> Tensor:
    try:
        return decode_image(torch.frombuffer(bytearray(encoded), dtype=torch.uint8), ImageReadMode.RGB)
    except RuntimeError as error:
        raise InputError(f"The image {path} in {folder} cannot be decoded: {str(error).splitlines()[0]}") from error


def fraction_subset(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Positions [m] int64, ascending, of a class-balanced share of the images.

    Nested: with the same seed a smaller fraction is a subset of a larger one. At least one image a class remains. The
    papers draw "randomly" and say neither; balance and nesting remove noise that is not the question.
    """
    if fraction == 1:
        return torch.arange(len(labels))
    generator = torch.Generator().manual_seed(derived_seed(seed, "subset"))
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


def class_count(folder: Path) -> int:
    """Number of classes of a data set."""
    return len(read_manifest(folder).class_names)
