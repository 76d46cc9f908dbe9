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
from PIL import Image

from datagen.datasets.contact_sheet import Section, drawn_sheet, first_images
from datagen.datasets.shards import read_manifest
from datagen.pocket import GENERATOR, IMAGES
from datagen.pocket.classes import CLASSES
from datagen.pocket.making.architecture import load_pipeline
from datagen.pocket.making.oracle import Sampler, generate
from datagen.pocket.making.progress import Meter

SAMPLES = 8
COLORS = 64
"""Of the sheet: they keep it small."""


def generated_images() -> list[list[bytes]]:
    """Generate eight images of each class with the shipped sampler, as PNG."""
    pipeline = load_pipeline(GENERATOR)
    steps = json.loads((GENERATOR / "training.json").read_text(encoding="utf-8"))["sampler"]["steps"]
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.int64), SAMPLES)
    pixels = generate(pipeline, Sampler("shipped", pipeline.scheduler, steps), labels, Meter("samples", len(labels)))
    colors = ((pixels + 1.0) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    encoded = [_png(Image.fromarray(image)) for image in colors]
    return [encoded[label * SAMPLES : (label + 1) * SAMPLES] for label in range(len(CLASSES))]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def draw_sheet() -> Image.Image:
    """Draw the sheet: of each class the first real training images, and below them the generated ones."""
    folder = IMAGES / "train"
    real = first_images(folder, read_manifest(folder), range(len(CLASSES)), SAMPLES)
    sections = [
        Section(f"{pocket_class.name}: real above, generated below", [real[label], generated])
        for label, (pocket_class, generated) in enumerate(zip(CLASSES, generated_images(), strict=True))
    ]
    return drawn_sheet(sections, SAMPLES).quantize(COLORS)


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
    draw_sheet().save(path, optimize=True)
    print(f"samples.png: {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
