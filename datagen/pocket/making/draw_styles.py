"""Draw the pocket world's style pictures: textures made of numbers, in the place of paintings.

Usage:
    python -m datagen.pocket.making.draw_styles

Eight families of patterns, sixteen pictures of each: every picture has its own seed, scale, direction and palette.
Nobody's pictures are used, so they are under the project's own licence. They are small PNG files of 16 colors.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datagen.pocket import STYLES
from datagen.pocket.making.folders import replace_folder, unfinished_folder

SIDE = 64
"""Pixels; twice the side of a pocket image, so that fine patterns are smoothed and not sampled when made smaller."""
COLORS = 16
PER_FAMILY = 16

Field = NDArray[np.float64]
Generator = np.random.Generator


def grid() -> tuple[Field, Field]:
    """Horizontal and vertical positions from 0 to 1, each of shape (64, 64)."""
    positions = (np.arange(SIDE) + 0.5) / SIDE
    across, down = np.meshgrid(positions, positions)
    return across, down


def clouds(generator: Generator, roughness: float | None = None) -> Field:
    """Noise whose amplitude falls with a power of the frequency; 1 is rough and 3 is smooth."""
    power = generator.uniform(1.2, 2.6) if roughness is None else roughness
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :]) * SIDE
    amplitude = 1.0 / np.maximum(frequency, 1.0) ** power
    amplitude[0, 0] = 0.0
    noise = np.fft.fft2(generator.standard_normal((SIDE, SIDE)))
    return np.asarray(np.fft.ifft2(noise * amplitude).real)


def stripes(generator: Generator) -> Field:
    """Parallel waves, a little bent."""
    across, down = grid()
    angle, waves = generator.uniform(0, np.pi), generator.uniform(3, 9)
    bend = generator.uniform(0, 0.05) * _normal(clouds(generator, 2.5))
    return np.sin(2 * np.pi * waves * (across * np.cos(angle) + down * np.sin(angle) + bend))


def plaid(generator: Generator) -> Field:
    """Two crossing sets of bands."""
    across, down = grid()
    angle = generator.uniform(0, np.pi / 2)
    first, second = generator.uniform(2, 7, 2)
    along = np.sin(2 * np.pi * first * (across * np.cos(angle) + down * np.sin(angle)))
    over = np.sin(2 * np.pi * second * (down * np.cos(angle) - across * np.sin(angle)))
    return np.sign(along) + 0.6 * np.sign(over) + 0.15 * along * over


def rings(generator: Generator) -> Field:
    """Waves around a point, disturbed by noise."""
    across, down = grid()
    center = generator.uniform(-0.2, 1.2, 2)
    distance = np.hypot(across - center[0], down - center[1]) + generator.uniform(0, 0.08) * _normal(clouds(generator))
    return np.sin(2 * np.pi * generator.uniform(4, 10) * distance)


def mosaic(generator: Generator) -> Field:
    """Flat cells around random points, each of a value of its own."""
    nearest, _ = _cells(generator, int(generator.integers(20, 120)))
    return generator.permutation(int(nearest.max()) + 1)[nearest].astype(np.float64)


def cracks(generator: Generator) -> Field:
    """Dark seams between cells."""
    _, seam = _cells(generator, int(generator.integers(15, 70)))
    return np.asarray(np.minimum(seam, generator.uniform(0.03, 0.08)))


def blobs(generator: Generator) -> Field:
    """Round spots of several sizes."""
    across, down = grid()
    field = np.zeros((SIDE, SIDE))
    for _ in range(int(generator.integers(25, 90))):
        x, y = generator.uniform(0, 1, 2)
        inside = np.hypot(across - x, down - y) < generator.uniform(0.02, 0.09)
        field[inside] = generator.uniform(0.3, 1.0)
    return field


def strokes(generator: Generator) -> Field:
    """Short strokes that follow a slowly turning direction, as of a brush."""
    across, down = grid()
    turn = _normal(clouds(generator, 3.0)) * generator.uniform(0.3, 1.2) + generator.uniform(0, np.pi)
    noise, total = generator.standard_normal((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for step in np.linspace(-0.09, 0.09, 13):
        columns = np.floor((across + step * np.cos(turn)) * SIDE).astype(int) % SIDE
        rows = np.floor((down + step * np.sin(turn)) * SIDE).astype(int) % SIDE
        total += noise[rows, columns]
    return total


def fractal(generator: Generator) -> Field:
    """A Julia set: how soon z squared plus c leaves the circle of radius 2, for a c near the Mandelbrot set's edge."""
    across, down = grid()
    turn, zoom = generator.uniform(0, 2 * np.pi), generator.uniform(1.2, 3.0)
    c = (np.exp(1j * turn) / 2 - np.exp(2j * turn) / 4) * generator.uniform(1.01, 1.12)
    z = ((across - 0.5) + 1j * (down - 0.5)) * zoom
    escape = np.full((SIDE, SIDE), 40.0)
    for step in range(40):
        z = np.where(np.abs(z) <= 2, z * z + c, z)
        left = (np.abs(z) > 2) & (escape == 40.0)
        escape[left] = step + 1 - np.log2(np.log2(np.abs(z[left])))
    return np.sin(escape * generator.uniform(0.5, 1.5)) + 0.02 * escape


FAMILIES: dict[str, Callable[[Generator], Field]] = {
    "stripes": stripes,
    "plaid": plaid,
    "rings": rings,
    "mosaic": mosaic,
    "cracks": cracks,
    "blobs": blobs,
    "strokes": strokes,
    "fractal": fractal,
}


def draw_style(family: str, number: int) -> Image.Image:
    """Draw picture `number` of a family: RGB of 16 colors, 64 pixels wide and high, the same on every call."""
    generator = np.random.default_rng([list(FAMILIES).index(family), number])
    field = FAMILIES[family](generator)
    field = field + generator.uniform(0.0, 0.3) * field.std() * _normal(clouds(generator, 1.0))
    low, high = np.quantile(field, [0.02, 0.98])
    palette = _palette(generator)
    place = np.clip((field - low) / max(high - low, 1e-9), 0, 1) * (len(palette) - 1)
    stops = np.arange(len(palette))
    colors = np.stack([np.interp(place, stops, palette[:, channel]) for channel in range(3)], axis=-1)
    return Image.fromarray(colors.round().astype(np.uint8)).quantize(COLORS, dither=Image.Dither.NONE)


def draw_styles(folder: Path) -> int:
    """Draw all pictures into a folder, which is replaced when all are there; returns how many bytes they have."""
    unfinished = unfinished_folder(folder)
    unfinished.mkdir(parents=True)
    for family in FAMILIES:
        for number in range(PER_FAMILY):
            draw_style(family, number).save(unfinished / f"{family}-{number:02d}.png", optimize=True)
    replace_folder(unfinished, folder)
    return sum(path.stat().st_size for path in folder.iterdir())


def _normal(field: Field) -> Field:
    """The field with mean 0 and standard deviation 1."""
    return np.asarray((field - field.mean()) / field.std())


def _cells(generator: Generator, count: int) -> tuple[NDArray[np.int64], Field]:
    """For each position the nearest of random points, and how much further the second nearest is."""
    across, down = grid()
    points = generator.uniform(0, 1, (count, 2))
    distance = np.hypot(across[..., None] - points[:, 0], down[..., None] - points[:, 1])
    ordered = np.sort(distance, axis=-1)
    return distance.argmin(axis=-1), ordered[..., 1] - ordered[..., 0]


def _palette(generator: Generator) -> NDArray[np.float64]:
    """Three to five colors from 0 to 255 of differing brightness, shape (count, 3)."""
    count = int(generator.integers(3, 6))
    brightness = generator.permutation(np.linspace(40, 230, count))
    tints = generator.uniform(-1, 1, (count, 3))
    tints -= tints.mean(axis=1, keepdims=True)
    return np.asarray(np.clip(brightness[:, None] + 110 * tints, 0, 255))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the pictures.

    Args:
        arguments: Command line without the program's name; by default the process's own.

    Returns:
        Exit code 0.
    """
    parser = argparse.ArgumentParser(description="Draw the pocket world's style pictures.")
    parser.add_argument("--out", type=Path, default=STYLES, help="folder the pictures are written to")
    options = parser.parse_args(arguments)
    size = draw_styles(options.out)
    print(f"{len(FAMILIES) * PER_FAMILY} style pictures, {size / 1e3:.0f} kB, are in {options.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
