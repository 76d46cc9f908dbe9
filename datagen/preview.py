"""Shows a data set: python -m datagen.preview DATASET --out sheet.png.

DATASET is a data set's folder, or the first digits of its fingerprint in the store. Prints a summary, and draws a
contact sheet of the first images of each class where `--out` asks for one. Loads neither torch nor Ray. Exit codes: 0
done, 2 wrong usage or input.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich.console import Console
from rich.table import Table

from datagen.core.errors import InputError
from datagen.core.files import write_json
from datagen.datasets.pictures import CorruptError, rgb_picture
from datagen.datasets.shards import MANIFEST, Manifest, read_manifest

SUMMARY = "summary.json"
SAMPLES = 8
TILE = 64
GAP = 2
MEASURED_AT_MOST = 1024
"""Images that are decoded for sizes and pixel statistics: the mean of so many has settled to a tenth of a percent of
the range, and 1,024 of 512 x 384 pixels take some seconds where 130,000 would take ten minutes."""


def contact_sheet(folder: Path, *, samples: int = SAMPLES, classes: int | None = None, tile: int = TILE) -> Image.Image:
    """Draws the first images of each class in a row under the class's name, the rows in as many columns as look square.

    Args:
        folder: the data set's.
        samples: images of each class.
        classes: how many classes, spread evenly over the labels; None: all.
        tile: side of an image on the sheet, in pixels; it keeps its proportions. Damaged ones are crossed out.

    Raises:
        InputError: the folder is not a whole data set, or a shard cannot be read.
    """
    manifest = read_manifest(folder)
    names = manifest.class_names
    shown = _spread(len(names), classes or len(names))
    found = _first_images(folder, manifest, shown, samples)
    caption = max(10, tile // 5)
    width, height = samples * (tile + GAP) + 3 * GAP, caption + tile + 3 * GAP
    columns = max(1, min(len(shown), round((len(shown) * height / width) ** 0.5)))
    lines = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * width + 3 * GAP, lines * height + 3 * GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(caption * 0.8)
    for place, label in enumerate(shown):
        left, top = 3 * GAP + place // lines * width, 3 * GAP + place % lines * height
        pen.text((left, top), _fitting(names[label], font, width - 3 * GAP), fill="black", font=font)
        for position, data in enumerate(found[label]):
            sheet.paste(_tile(data, tile), (left + position * (tile + GAP), top + caption))
    return sheet


def stored_summary(folder: Path) -> dict[str, Any]:
    """The `summary` of a data set as `store_summary` has stored it beside the manifest, else made now."""
    try:
        values: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
        if values["digest"] == read_manifest(folder).digest:
            return values
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return summary(folder)


def store_summary(folder: Path) -> None:
    """Stores the summary beside the manifest, for those who will not have all shards at hand."""
    write_json(folder / SUMMARY, summary(folder))


def summary(folder: Path) -> dict[str, Any]:
    """Describes a data set in plain values, ready for JSON.

    Returns:
        rows, classes, rows_per_class (fewest and most), split, shards, bytes (of the shard files), format (of the
        pictures, with how many where there are several), width and height (smallest and largest, pixels), mean and std
        (of red, green and blue, 0 to 1, over all pixels), measured (the number of images that these last five were
        taken from, at most 1,024), damaged (of those), seeds (smallest and largest, or None), prompts (how many
        different ones), digest (of the shards) and kind (of spec; "imported" images have none).

    Raises:
        InputError: the folder is not a whole data set, or a shard cannot be read.
    """
    manifest = read_manifest(folder)
    columns = _columns(folder, manifest, ["label", "seed", "prompt"])
    counts = Counter(columns["label"].to_pylist())
    per_class = [counts[label] for label in range(len(manifest.class_names))]
    seeds = pc.min_max(columns["seed"]).as_py()
    return {
        "kind": str(manifest.description.get("kind", "imported")),
        "split": manifest.split,
        "rows": manifest.rows,
        "classes": len(manifest.class_names),
        "rows_per_class": [min(per_class, default=0), max(per_class, default=0)],
        "shards": len(manifest.shards),
        "bytes": sum(shard.bytes for shard in manifest.shards),
        **_measured(folder, manifest),
        "seeds": None if seeds["min"] is None else [seeds["min"], seeds["max"]],
        "prompts": pc.count_distinct(columns["prompt"]).as_py(),
        "digest": manifest.digest,
    }


def find_dataset(name: str, store: Path) -> Path:
    """The folder of a data set that is given as a folder, or as the first digits of a fingerprint in the store.

    Raises:
        InputError: there is none, or more than one.
    """
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        return folder
    if folder.is_dir():
        parts = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
        inside = f" It holds data sets: name one, for example {folder / parts[0]}." if parts else ""
        raise InputError(f"{folder} is not a data set: it has no {MANIFEST}.{inside}")
    known = sorted(path.parent for path in (store / "datasets").glob(f"*/{MANIFEST}"))
    matches = [path for path in known if path.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        listing = ", ".join(path.name[: len(name) + 8] for path in matches[:5])
        raise InputError(f"{len(matches)} data sets in {store} begin with {name}: {listing}. Give more digits.")
    raise InputError(
        f"There is no folder {name}, and no data set in {store} begins with {name}. It has {len(known)} data sets"
        + (f", for example {known[0].name[:12]}." if known else "; choose another with --store.")
    )


def _first_images(folder: Path, manifest: Manifest, labels: list[int], samples: int) -> dict[int, list[bytes]]:
    """The encoded bytes of the first images of each label; only row groups that hold some are read."""
    found: dict[int, list[bytes]] = {label: [] for label in labels}
    missing = set(found)
    for file, group in _row_groups(folder, manifest):
        if missing.isdisjoint(file.read_row_group(group, columns=["label"])["label"].to_pylist()):
            continue
        for row in file.read_row_group(group, columns=["image", "label"]).to_pylist():
            if row["label"] in missing and len(found[row["label"]]) < samples:
                found[row["label"]].append(row["image"]["bytes"])
        missing = {label for label in missing if len(found[label]) < samples}
        if not missing:
            break  # Before another shard is opened, which may not be on this machine.
    return found


def _measured(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Sizes, formats and pixel statistics, from row groups spread evenly over the data set."""
    groups = [place for place, _ in enumerate(_row_groups(folder, manifest))]
    per_group = max(1, manifest.rows // max(1, len(groups)))
    chosen = set(_spread(len(groups), max(1, MEASURED_AT_MOST // per_group)))
    formats, widths, heights = Counter[str](), list[int](), list[int]()
    pixels, damaged, total, squares = 0, 0, np.zeros(3), np.zeros(3)
    for place, (file, group) in enumerate(_row_groups(folder, manifest)):
        if place not in chosen:
            continue
        for image in file.read_row_group(group, columns=["image"])["image"].to_pylist()[:MEASURED_AT_MOST]:
            try:
                colors = np.asarray(rgb_picture(image["bytes"]), dtype=np.float64).reshape(-1, 3) / 255
            except CorruptError:
                damaged += 1
                continue
            with Image.open(io.BytesIO(image["bytes"])) as header:
                formats[str(header.format)] += 1
                widths.append(header.width)
                heights.append(header.height)
            pixels += len(colors)
            total += colors.sum(axis=0)
            squares += (colors**2).sum(axis=0)
    mean = total / max(pixels, 1)
    std = np.sqrt(np.maximum(squares / max(pixels, 1) - mean**2, 0))
    return {
        "format": ", ".join(f"{name} ({count})" if len(formats) > 1 else name for name, count in formats.most_common()),
        "width": [min(widths, default=0), max(widths, default=0)],
        "height": [min(heights, default=0), max(heights, default=0)],
        "mean": [round(float(value), 4) for value in mean],
        "std": [round(float(value), 4) for value in std],
        "measured": len(widths),
        "damaged": damaged,
    }


def _row_groups(folder: Path, manifest: Manifest) -> Iterator[tuple[pq.ParquetFile, int]]:
    for shard in manifest.shards:
        try:
            with pq.ParquetFile(folder / shard.file) as file:
                for group in range(file.num_row_groups):
                    yield file, group
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(folder / shard.file, error) from error


def _columns(folder: Path, manifest: Manifest, names: list[str]) -> pa.Table:
    tables = []
    for shard in manifest.shards:
        try:
            with pq.ParquetFile(folder / shard.file) as file:
                tables.append(file.read(columns=names))
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(folder / shard.file, error) from error
    return pa.concat_tables(tables)


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read: {str(error).splitlines()[0]}. Import or generate the data set again.")


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` numbers, or as many as there are, evenly spread over 0 to count - 1."""
    wanted = min(count, wanted)
    return [place * count // wanted for place in range(wanted)]


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


def _table(folder: Path, values: dict[str, Any]) -> Table:
    table = Table(title=str(folder), show_header=False, title_justify="left")
    for key, value in values.items():
        text = f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)
        if key in ("rows_per_class", "width", "height", "seeds") and value:
            text = f"{value[0]}" if value[0] == value[1] else f"{value[0]} to {value[1]}"
        elif isinstance(value, list):
            text = ", ".join(f"{number:.4f}" for number in value)
        table.add_row(key.replace("_", " "), text)
    return table


def save_sheet(sheet: Image.Image, out: Path) -> None:
    """Writes the sheet as its name ends, whole or not at all.

    Raises:
        InputError: the ending is no picture's, or the file cannot be written.
    """
    aside = out.with_name(f".{os.getpid()}.{out.name}")
    try:
        sheet.save(aside)
        aside.replace(out)
    except ValueError:
        raise InputError(f"{out} is not named like a picture. Let it end in .png or .jpg.") from None
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise InputError(f"Cannot write {out}: {error.strerror or error}.") from error


@click.command(context_settings={"max_content_width": 110})
@click.argument("dataset")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Draw a contact sheet into this file.")
@click.option("--samples", default=SAMPLES, show_default=True, type=click.IntRange(1, 100), help="Images of a class.")
@click.option("--classes", type=click.IntRange(1), help="How many classes to draw.  [default: all]")
@click.option("--tile", default=TILE, show_default=True, type=click.IntRange(8, 1024), help="Pixels of an image.")
@click.option("--store", default=Path("store"), show_default=True, type=click.Path(path_type=Path))
def main(dataset: str, out: Path | None, samples: int, classes: int | None, tile: int, store: Path) -> None:
    """Summarizes DATASET, a folder or the first digits of a fingerprint, and draws a contact sheet of it."""
    console = Console(soft_wrap=not sys.stdout.isatty())
    try:
        folder = find_dataset(dataset, store)
        console.print(_table(folder, summary(folder)), highlight=False)
        if out is not None:
            save_sheet(contact_sheet(folder, samples=samples, classes=classes, tile=tile), out)
            console.print(f"Contact sheet: {out}", highlight=False, markup=False)
    except InputError as error:
        Console(stderr=True, soft_wrap=True).print(f"Error: {error}", style="red", highlight=False, markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
