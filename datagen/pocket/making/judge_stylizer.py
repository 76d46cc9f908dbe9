"""Judge the pocket style transfer: can a classifier tell the classes of stylized images?

Usage:
    python -m datagen.pocket.making.judge_stylizer --source DIR

Two oracles of the same kind learn from the same images, one from the real ones and one from their stylized versions,
and both are asked about real and about stylized validation images. If outlines survive, the second oracle does well on
stylized images; if textures and brightness do not, the first does badly there. Nothing is chosen by these numbers.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datagen.core.errors import InputError
from datagen.datasets.shards import read_manifest
from datagen.datasets.spec import RealDataset
from datagen.generation.stylize import StyleGenerator
from datagen.pocket import IMAGE_SIZE, STYLES, STYLIZER
from datagen.pocket.making.draw_images import publish
from datagen.pocket.making.fashion_mnist import ORACLE_TRAIN, PADDING, VALIDATION, LabelledImages, Split, read_splits
from datagen.pocket.making.oracle import agreement, train_oracle
from datagen.pocket.making.training_loops import to_pixels
from datagen.recipes.recipe import StyleRecipe

LEARNT_FROM = replace(ORACLE_TRAIN, stop=ORACLE_TRAIN.start + 300)


def stylized(data: LabelledImages, split: Split) -> LabelledImages:
    """The same images stylized, each by the seed of its class and index; gray, without the border of two pixels."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "real"
        publish(data, split, folder, "train", 1)
        manifest = read_manifest(folder)
        real = RealDataset(
            class_names=manifest.class_names, split="train", digest=manifest.digest, rows=manifest.rows, folder=folder
        )
        recipe = StyleRecipe(network=STYLIZER, styles=STYLES, settings={"width": IMAGE_SIZE, "height": IMAGE_SIZE})
        rows = StyleGenerator(recipe.spec("stylized", real), "cpu", folder).draw(range(manifest.rows))
    inner = slice(PADDING, -PADDING)
    gray = [np.asarray(Image.open(io.BytesIO(row.image)).convert("L"))[inner, inner] for row in rows]
    return replace(data, images=np.stack(gray))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train both oracles and print what they say.

    Args:
        arguments: Command line without the program's name; by default the process's own.

    Returns:
        Exit code: 0 when done, 2 when the source files cannot be used.
    """
    parser = argparse.ArgumentParser(description="Judge the pocket style transfer.")
    parser.add_argument("--source", type=Path, required=True, help="folder with the four Fashion-MNIST .gz files")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        train, validation = read_splits(options.source, (LEARNT_FROM, VALIDATION))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    asked = {"real": validation, "stylized": stylized(validation, VALIDATION)}
    for name, data in (("real", train), ("stylized", stylized(train, LEARNT_FROM))):
        torch.manual_seed(0)
        oracle = train_oracle(data)
        for kind, images in asked.items():
            share = agreement(oracle, to_pixels(images.images), images.labels)
            print(f"learnt from {len(data)} {name} images: {share:.1%} of {len(images)} {kind} ones right", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
