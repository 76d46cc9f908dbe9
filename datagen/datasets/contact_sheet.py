"""Contact sheets: a few images of each class, drawn into one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from datagen.core.errors import InputError
from datagen.core.files import written_whole
from datagen.datasets.decoding import CorruptError
from datagen.datasets.pictures import rgb_picture
from datagen.datasets.shards import Manifest, read_manifest
from datagen.datasets.summary import row_groups, spread

SAMPLES = 8
TILE = 64
GAP = 2


@dataclass(frozen=True)
class Section:
    """A part of a sheet: rows of encoded images (JPEG, PNG or what else Pillow takes) under a caption."""

    caption: str
    rows: Sequence[Sequence[bytes]]


def contact_sheet(folder: Path, *, samples: int = SAMPLES, classes: int | None = None, tile: int = TILE) -> Image.Image:
    """Draws the first images of each class of a data set in a row under the class's name.

    Args:
        folder: the data set's. Shards that are not there are passed over.
        samples: images of each class.
        classes: how many classes, spread evenly over the labels; None: all.
        tile: side of an image on the sheet, in pixels; it keeps its proportions. Damaged ones are crossed out.

    Raises:
        InputError: the folder is not a whole data set, or a shard cannot be read.
    """
    manifest = read_manifest(folder)
    shown = spread(len(manifest.class_names), classes or len(manifest.class_names))
    found = first_images(folder, manifest, shown, samples)
    return drawn_sheet([Section(manifest.class_names[label], [found[label]]) for label in shown], samples, tile)


def drawn_sheet(sections: Sequence[Section], samples: int, tile: int = TILE) -> Image.Image:
    """Draws sections with as many rows each below each other, in as many columns as look square.

    Args:
        sections: what to draw, at least one.
        samples: images that a row has room for.
        tile: side of an image, in pixels.
    """
    caption = max(10, tile // 5)
    width, height = samples * (tile + GAP) + 3 * GAP, caption + len(sections[0].rows) * (tile + GAP) + 2 * GAP
    columns = max(1, min(len(sections), round((len(sections) * height / width) ** 0.5)))
    lines = -(-len(sections) // columns)
    sheet = Image.new("RGB", (columns * width + 3 * GAP, lines * height + 3 * GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(caption * 0.8)
    for place, section in enumerate(sections):
        left, top = 3 * GAP + place // lines * width, 3 * GAP + place % lines * height
        pen.text((left, top), _fitting(section.caption, font, width - 3 * GAP), fill="black", font=font)
        for number, row in enumerate(section.rows):
            sheet.paste(strip(row, samples, tile), (left, top + caption + number * (tile + GAP)))
    return sheet


def strip(images: Sequence[bytes], samples: int, tile: int) -> Image.Image:
    """Draws encoded images side by side, with room for `samples` squares of `tile` pixels."""
    drawn = Image.new("RGB", (samples * (tile + GAP) - GAP, tile), "white")
    for place, data in enumerate(images[:samples]):
        drawn.paste(_tile(data, tile), (place * (tile + GAP), 0))
    return drawn


def first_images(folder: Path, manifest: Manifest, labels: Sequence[int], samples: int) -> dict[int, list[bytes]]:
    """The encoded bytes of the first images of each label; only row groups that hold some are read.

    Shards that are not there are passed over: a remote store brings some to look at.

    Raises:
        InputError: a shard cannot be read.
    """
    found: dict[int, list[bytes]] = {label: [] for label in labels}
    missing = set(found)
    for file, group in row_groups(folder, manifest, absent=True):
        if missing.isdisjoint(file.read_row_group(group, columns=["label"])["label"].to_pylist()):
            continue
        for row in file.read_row_group(group, columns=["image", "label"]).to_pylist():
            if row["label"] in missing and len(found[row["label"]]) < samples:
                found[row["label"]].append(row["image"]["bytes"])
        missing = {label for label in missing if len(found[label]) < samples}
        if not missing:
            break
    return found


def save_sheet(sheet: Image.Image, out: Path) -> None:
    """Writes the sheet as its name ends, whole or not at all.

    Raises:
        InputError: the ending is no picture's, or the file cannot be written.
    """
    picture_format = Image.registered_extensions().get(out.suffix.lower())
    if picture_format not in Image.SAVE:
        raise InputError(f"{out} is not named like a picture. Let it end in .png or .jpg.")
    try:
        with written_whole(out) as aside:
            sheet.save(aside, picture_format)
    except OSError as error:
        raise InputError(f"Cannot write {out}: {error.strerror or error}.") from error


def _tile(data: bytes, side: int) -> Image.Image:
    tile = Image.new("RGB", (side, side), "#dddddd")
    try:
        image = rgb_picture(data, enough=side)
    except CorruptError:
        pen = ImageDraw.Draw(tile)
        pen.line((0, 0, side, side), fill="red", width=2)
        pen.line((0, side, side, 0), fill="red", width=2)
        return tile
    # Small images show their pixels.
    how = Image.Resampling.NEAREST if max(image.size) <= side else Image.Resampling.BICUBIC
    image = ImageOps.contain(image, (side, side), how)
    tile.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return tile


def _fitting(text: str, font: Any, width: int) -> str:
    """The text, shortened where it is too wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
