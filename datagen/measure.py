"""Measures a data set: python -m datagen.measure SET --encoder DIR [--against SET].

Diversity and near-duplicates of SET; with `--against`, usually the real images, also precision, recall, density,
coverage, Frechet and kernel distance, and near-duplicates between the two: leaks. Exit codes: 0 done, 2 wrong usage or
input.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from datagen.core.command import errors_in_a_sentence
from datagen.core.files import write_json
from datagen.core.progress import ImageProgress
from datagen.core.terminal import console_for_errors, console_for_output
from datagen.measuring.clip_score import clip_scores
from datagen.measuring.encoders import Encoder, Features, features_of, load_encoder
from datagen.measuring.measures import NEAREST
from datagen.measuring.summary import measured
from datagen.storage.named import find_dataset

SHOWN_PAIRS = 10
_SAID = {"duplicates": "near-duplicates within", "leaks": "near-duplicates of the other"}


@click.command(context_settings={"max_content_width": 110})
@click.argument("dataset", metavar="SET")
@click.option("--encoder", type=click.Path(path_type=Path, file_okay=False), required=True, help="A training's folder.")
@click.option("--against", metavar="SET", help="The set to compare with, usually the real images.")
@click.option("--clip", type=click.Path(path_type=Path, file_okay=False), help="A CLIP model's folder, for CLIPScore.")
@click.option("--nearest", default=NEAREST, show_default=True, type=click.IntRange(1, 1000), help="Neighbours.")
@click.option("--similarity", default=0.99, show_default=True, type=click.FloatRange(0, 1), help="Of a duplicate.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write all numbers into this JSON file.")
@click.option("--store", default="store", show_default=True, help="Folder, or s3://bucket/folder.")
@errors_in_a_sentence
def main(
    dataset: str,
    encoder: Path,
    against: str | None,
    clip: Path | None,
    nearest: int,
    similarity: float,
    out: Path | None,
    store: str,
) -> None:
    """Measures SET, a folder or the first digits of a fingerprint, in the features of an encoder.

    The encoder is a training of a store, models/FINGERPRINT, such as the base on real images; or a network of timm's
    as the hub has it, such as DINOv2.
    """
    folders = [find_dataset(name, store) for name in (dataset, against) if name]
    network = load_encoder(encoder)
    found = [_read(folder, network) for folder in folders]
    measures = measured(found, nearest, similarity)
    if clip is not None:
        with ImageProgress(console_for_errors(), "loading CLIP", folders[0].name) as progress:
            measures["CLIPScore"] = float(clip_scores(folders[0], clip, progress).mean())
    console = console_for_output()
    console.print(_table(f"{folders[0]}, in the features of {network.name}", measures))
    for line in _duplicates(found, measures):
        console.print(line, soft_wrap=True)
    if out is not None:
        write_json(out, {"sets": [str(folder) for folder in folders], "encoder": network.name, **measures})
        console.print(f"Written: {out}")


def _read(folder: Path, encoder: Encoder) -> Features:
    with ImageProgress(console_for_errors(), "loading the network", folder.name) as progress:
        return features_of(folder, encoder, progress)


def _table(title: str, measures: dict[str, Any]) -> Table:
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in measures.items():
        number = len(value) if isinstance(value, list) else value
        table.add_row(_SAID.get(name, name), f"{number:,}" if isinstance(number, int) else f"{number:.4g}")
    return table


def _duplicates(sets: Sequence[Features], measures: dict[str, Any]) -> list[str]:
    lines = []
    for name, other in (("duplicates", sets[0]), ("leaks", sets[-1])):
        for row, column, cosine in measures.get(name, [])[:SHOWN_PAIRS]:
            lines.append(f"{sets[0].paths[row]} is like {other.paths[column]} (cosine {cosine:.4f})")
    return lines


if __name__ == "__main__":
    main()
