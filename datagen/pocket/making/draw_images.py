"""Draw the real images that ship with the project from Fashion-MNIST.

Usage:
    python -m datagen.pocket.making.draw_images --source DIR [--out DIR]

Writes two data sets of lossless 32 x 32 grayscale PNG images, ``train`` and ``validation``: the source's 28 x 28 padded
with black, which is what the generator learnt to draw. The three color channels are left to the reader, because stored
they would double the size. The same source gives the same images in the same order; a few seconds suffice.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datagen.core.errors import InputError
from datagen.datasets.shards import ImageRow, publish_dataset
from datagen.pocket import IMAGES
from datagen.pocket.classes import CLASSES
from datagen.pocket.making.fashion_mnist import REAL_TRAIN, VALIDATION, LabelledImages, Split, pad, read_splits
from datagen.pocket.making.folders import replace_folder, unfinished_folder


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode one gray image, uint8 of shape (height, width), as the smallest PNG Pillow can make."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def make_rows(data: LabelledImages, split: Split) -> list[ImageRow]:
    """Turn images into rows of a data set, in their order.

    Args:
        data: The images of the split.
        split: Where they come from; it names them.

    Returns:
        One row for each image, with its position within the class of the source file as index.
    """
    return [
        ImageRow(
            image=encode_png(image),
            path=f"fashion-mnist-{split.file}-{label}-{index:04d}.png",
            label=int(label),
            class_name=CLASSES[label].name,
            index=int(index),
        )
        for image, label, index in zip(pad(data.images), data.labels, data.indices, strict=True)
    ]


def publish(data: LabelledImages, split: Split, folder: Path, name: str, shards: int) -> int:
    """Write one data set, replacing the one that is there only when the new one is complete.

    Args:
        data: The images of the split.
        split: Where they come from.
        folder: Folder of the data set.
        name: ``train`` or ``validation``.
        shards: Number of Parquet files; the rows are dealt out in consecutive parts.

    Returns:
        Bytes of the Parquet files.

    Raises:
        InputError: The folder cannot be written.
    """
    rows = make_rows(data, split)
    size = -(-len(rows) // shards)
    description: dict[str, object] = {
        "source": "Fashion-MNIST",
        "license": "MIT, (c) 2017 Zalando SE; see LICENSE.fashion-mnist",
        "drawn": f"positions {split.start} to {split.stop - 1} of every class of the {split.file} file",
        "image": "28 x 28 grayscale, padded with black to 32 x 32",
        "wordnet_ids": [pocket_class.wordnet_id for pocket_class in CLASSES],
    }
    unfinished = unfinished_folder(folder)
    manifest = publish_dataset(
        unfinished,
        [rows[start : start + size] for start in range(0, len(rows), size)],
        split=name,
        class_names=[pocket_class.name for pocket_class in CLASSES],
        description=description,
    )
    replace_folder(unfinished, folder)
    return sum(shard.bytes for shard in manifest.shards)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw both data sets.

    Args:
        arguments: Command line without the program's name; by default the process's own.

    Returns:
        Exit code: 0 when both data sets are in place, 2 when the source files or the folder cannot be used.
    """
    parser = argparse.ArgumentParser(description="Draw the pocket world's real images from Fashion-MNIST.")
    parser.add_argument("--source", type=Path, required=True, help="folder with the four Fashion-MNIST .gz files")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder the data sets are written to")
    options = parser.parse_args(arguments)
    try:
        train, validation = read_splits(options.source, (REAL_TRAIN, VALIDATION))
        for data, split, name, shards in ((train, REAL_TRAIN, "train", 2), (validation, VALIDATION, "validation", 1)):
            size = publish(data, split, options.out / name, name, shards)
            print(f"{name}: {len(data)} images, {size / 1e6:.2f} MB of Parquet", flush=True)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
