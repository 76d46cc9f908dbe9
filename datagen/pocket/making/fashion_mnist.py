"""Fashion-MNIST as the pocket world reads it: the files, the ten classes and the four splits.

The images are read from the four gzip-compressed idx files of the original distribution, which the Debian package
``dataset-fashion-mnist`` installs. No image serves two purposes: the splits are disjoint ranges of positions within
each class of the train file, and the validation images come from the test file (``t10k``).
"""

import gzip
import itertools
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datagen.core.errors import InputError
from datagen.pocket import IMAGE_SIZE
from datagen.pocket.classes import CLASSES

STORED_SIZE = 28
"""Side of an image as Fashion-MNIST stores it, in pixels."""

PADDING = (IMAGE_SIZE - STORED_SIZE) // 2
"""Black pixels added on every side, because three halvings of 32 are whole and three halvings of 28 are not."""

IMAGES_MAGIC = 0x00000803
"""First four bytes of an idx file of unsigned bytes with three dimensions."""

LABELS_MAGIC = 0x00000801
"""First four bytes of an idx file of unsigned bytes with one dimension."""


@dataclass(frozen=True)
class Split:
    """A range of positions within every class of one source file, in the order of the file.

    Attributes:
        purpose: What the images are used for.
        file: Which source file they come from, ``train`` or ``t10k``.
        start: Position within the class of the first image.
        stop: Position within the class behind the last image.
    """

    purpose: str
    file: str
    start: int
    stop: int

    @property
    def images_per_class(self) -> int:
        """How many images of each class the split holds."""
        return self.stop - self.start

    def overlaps(self, other: "Split") -> bool:
        """Whether an image can belong to both splits."""
        return self.file == other.file and self.start < other.stop and other.start < self.stop


REAL_TRAIN = Split("real training images", "train", 0, 256)
GENERATOR_TRAIN = Split("training images of the generator", "train", 1000, 3000)
ORACLE_TRAIN = Split("training images of the oracle", "train", 3500, 5500)
VALIDATION = Split("real validation images", "t10k", 0, 100)
SPLITS = (REAL_TRAIN, GENERATOR_TRAIN, ORACLE_TRAIN, VALIDATION)


def _require_disjoint(splits: Sequence[Split]) -> None:
    """Raise when an image could serve two purposes, which would make every number of the pocket world worthless."""
    for first, second in itertools.combinations(splits, 2):
        if first.overlaps(second):
            raise AssertionError(f"The {first.purpose} overlap the {second.purpose}.")


_require_disjoint(SPLITS)


@dataclass(frozen=True)
class LabelledImages:
    """Images of one split, interleaved by class: position 0 of every class, then position 1 of every class.

    Attributes:
        images: Gray values 0 to 255, uint8 of shape (count, 28, 28).
        labels: Class labels 0 to 9, int64 of shape (count,).
        indices: Position of each image within its class of the source file, int64 of shape (count,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.labels)


def read_splits(source: Path, splits: Sequence[Split]) -> list[LabelledImages]:
    """Read splits of Fashion-MNIST.

    Args:
        source: Folder with the four files ``{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz``.
        splits: Which splits to read; every source file is read once.

    Returns:
        The images of each split, in the order of ``splits``.

    Raises:
        InputError: The folder or a file is missing, is not Fashion-MNIST, or is truncated.
    """
    if not source.is_dir():
        raise InputError(
            f"There is no folder {source}: name the one with Fashion-MNIST's four .gz files, "
            "which the Debian package dataset-fashion-mnist installs."
        )
    files = {name: read_file_pair(source, name) for name in sorted({split.file for split in splits})}
    return [_select(*files[split.file], split) for split in splits]


def read_file_pair(source: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read all images and labels of one source file.

    Args:
        source: Folder with the .gz files.
        name: ``train`` or ``t10k``.

    Returns:
        Gray values as uint8 of shape (count, 28, 28) and labels as uint8 of shape (count,).

    Raises:
        InputError: A file is missing, is not Fashion-MNIST, or is truncated.
    """
    images = _read_idx(source / f"{name}-images-idx3-ubyte.gz", IMAGES_MAGIC)
    labels = _read_idx(source / f"{name}-labels-idx1-ubyte.gz", LABELS_MAGIC)
    if images.shape[1:] != (STORED_SIZE, STORED_SIZE):
        raise InputError(f"The {name} images are {images.shape[1]} x {images.shape[2]} pixels, not 28 x 28.")
    if len(images) != len(labels):
        raise InputError(f"The {name} files hold {len(images)} images but {len(labels)} labels.")
    return images, labels


def pad(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pad gray images of shape (count, 28, 28) with black to (count, 32, 32), dtype uint8."""
    return np.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))


def _read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """Read one idx file of unsigned bytes, whose header is the magic number and one big-endian size per dimension."""
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"The file {path} is missing: install Fashion-MNIST again.") from None
    except EOFError:
        raise InputError(f"The file {path} is truncated: install Fashion-MNIST again.") from None
    except (OSError, zlib.error) as error:
        raise InputError(f"The file {path} cannot be read ({error}): install Fashion-MNIST again.") from None
    dimensions = magic & 0xFF
    header = 4 * (1 + dimensions)
    if len(content) < header:
        raise InputError(f"The file {path} is truncated within its header: install Fashion-MNIST again.")
    found, *shape = struct.unpack(f">{1 + dimensions}I", content[:header])
    if found != magic:
        raise InputError(
            f"The file {path} starts with the magic number {found} instead of {magic}: it is not Fashion-MNIST's."
        )
    expected = header + int(np.prod(shape))
    if len(content) != expected:
        raise InputError(
            f"The file {path} holds {len(content)} bytes instead of the {expected} its header announces: "
            "install Fashion-MNIST again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _select(images: NDArray[np.uint8], labels: NDArray[np.uint8], split: Split) -> LabelledImages:
    """Pick a split out of a source file, interleaved by class."""
    chosen = np.empty((split.images_per_class, len(CLASSES)), dtype=np.int64)
    for label, pocket_class in enumerate(CLASSES):
        positions = np.flatnonzero(labels == label)
        if len(positions) < split.stop:
            raise InputError(
                f"The {split.purpose} need {split.stop} images of {pocket_class.name}, "
                f"but the {split.file} file holds {len(positions)}."
            )
        chosen[:, label] = positions[split.start : split.stop]
    count = split.images_per_class
    return LabelledImages(
        images=images[chosen.reshape(-1)],
        labels=np.tile(np.arange(len(CLASSES), dtype=np.int64), count),
        indices=np.repeat(np.arange(split.start, split.stop, dtype=np.int64), len(CLASSES)),
    )
