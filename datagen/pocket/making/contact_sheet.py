"""Draw ``samples.png``: for each class eight real training images above eight generated ones.

Usage:
    python -m datagen.pocket.making.contact_sheet

The generated images are the first eight seeds of the shipped sampler, not a selection; the real ones are the first
eight of the training images. Reads only what ships with the project.
"""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from datagen.datasets.shards import read_rows
from datagen.pocket import GENERATOR, IMAGE_SIZE, IMAGES
from datagen.pocket.classes import CLASSES
from datagen.pocket.making.architecture import load_pipeline
from datagen.pocket.making.oracle import Sampler, generate
from datagen.pocket.making.progress import Meter

COLUMNS = 8
ZOOM = 2
CAPTION_HEIGHT = 14
CLASSES_PER_COLUMN = 5


def generated_images() -> NDArray[np.uint8]:
    """Generate eight images of each class with the shipped sampler.

    Returns:
        Colors as uint8 of shape (classes, 8, 32, 32, 3).
    """
    pipeline = load_pipeline(GENERATOR)
    steps = json.loads((GENERATOR / "training.json").read_text(encoding="utf-8"))["sampler"]["steps"]
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.int64), COLUMNS)
    pixels = generate(pipeline, Sampler("shipped", pipeline.scheduler, steps), labels, Meter("samples", len(labels)))
    colors = ((pixels + 1.0) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return np.asarray(colors.reshape(len(CLASSES), COLUMNS, IMAGE_SIZE, IMAGE_SIZE, 3))


def real_images() -> NDArray[np.uint8]:
    """Read the first eight training images of each class.

    Returns:
        Colors as uint8 of shape (classes, 8, 32, 32, 3), padded with black.
    """
    found: list[list[NDArray[np.uint8]]] = [[] for _ in CLASSES]
    for batch in read_rows(IMAGES / "train"):
        for row in batch.to_pylist():
            if len(found[row["label"]]) < COLUMNS:
                gray = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
                found[row["label"]].append(np.repeat(gray[:, :, None], 3, axis=2))
    return np.asarray(found)


def draw_sheet(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> Image.Image:
    """Lay out the sheet: five classes above each other, the other five beside them, real above generated.

    Args:
        real: Colors as uint8 of shape (classes, 8, 32, 32, 3).
        generated: The same for the generated images.

    Returns:
        The sheet with 64 colors, which keep it small.
    """
    tile = IMAGE_SIZE * ZOOM
    width, height = COLUMNS * tile + tile // 4, CAPTION_HEIGHT + 2 * tile + tile // 8
    columns = -(-len(CLASSES) // CLASSES_PER_COLUMN)
    sheet = Image.new("RGB", (columns * width, CLASSES_PER_COLUMN * height), "white")
    pen = ImageDraw.Draw(sheet)
    for label, pocket_class in enumerate(CLASSES):
        left, top = label // CLASSES_PER_COLUMN * width, label % CLASSES_PER_COLUMN * height
        pen.text((left, top), f"{pocket_class.name}: real above, generated below", fill="black")
        for row, images in enumerate((real[label], generated[label])):
            strip = Image.fromarray(np.concatenate(list(images), axis=1))
            strip = strip.resize((COLUMNS * tile, tile), Image.Resampling.NEAREST)
            sheet.paste(strip, (left, top + CAPTION_HEIGHT + row * tile))
    return sheet.quantize(64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the sheet beside this script.

    Args:
        arguments: Command line without the program's name, which must be empty.

    Returns:
        Exit code: 0 when the sheet is in place, 2 on wrong usage.
    """
    if arguments:
        print("The contact sheet takes no arguments.", file=sys.stderr)
        return 2
    path = Path(__file__).parents[1] / "samples.png"
    draw_sheet(real_images(), generated_images()).save(path, optimize=True)
    print(f"samples.png: {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
