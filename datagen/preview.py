"""Shows a data set: python -m datagen.preview DATASET --out sheet.png.

DATASET is a data set's folder, or the first digits of its fingerprint in the store. Prints a summary, and draws a
contact sheet of the first images of each class where `--out` asks for one. Loads neither torch nor Ray. Exit codes: 0
done, 2 wrong usage or input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from datagen.core.command import errors_in_a_sentence
from datagen.core.terminal import console_for_output
from datagen.datasets.contact_sheet import SAMPLES, TILE, contact_sheet, save_sheet
from datagen.datasets.summary import summary
from datagen.storage.named import find_dataset


@click.command(context_settings={"max_content_width": 110})
@click.argument("dataset")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Draw a contact sheet into this file.")
@click.option("--samples", default=SAMPLES, show_default=True, type=click.IntRange(1, 100), help="Images of a class.")
@click.option("--classes", type=click.IntRange(1), help="How many classes to draw.  [default: all]")
@click.option("--tile", default=TILE, show_default=True, type=click.IntRange(8, 1024), help="Pixels of an image.")
@click.option("--store", default="store", show_default=True, help="Folder, or s3://bucket/folder.")
@errors_in_a_sentence
def main(dataset: str, out: Path | None, samples: int, classes: int | None, tile: int, store: str) -> None:
    """Summarizes DATASET, a folder or the first digits of a fingerprint, and draws a contact sheet of it."""
    console = console_for_output()
    folder = find_dataset(dataset, store)
    console.print(_table(folder, summary(folder)))
    if out is not None:
        save_sheet(contact_sheet(folder, samples=samples, classes=classes, tile=tile), out)
        console.print(f"Contact sheet: {out}")


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


if __name__ == "__main__":
    main()
