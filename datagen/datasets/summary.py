"""A data set in plain values: counts, sizes, formats and pixel statistics of some of its images."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from datagen.core.errors import InputError
from datagen.core.files import read_sealed_json, write_sealed_json
from datagen.datasets.decoding import CorruptError
from datagen.datasets.pictures import rgb_picture
from datagen.datasets.shards import SUMMARY, Manifest, read_manifest

MEASURED_AT_MOST = 1024
"""Images that are decoded for sizes and pixel statistics: the mean of so many has settled to a tenth of a percent of
the range, and 1,024 of 512 x 384 pixels take some seconds where 130,000 would take ten minutes."""


def stored_summary(folder: Path) -> dict[str, Any]:
    """The `summary` of a data set as `store_summary` has stored it beside the manifest, else made now."""
    try:
        values = read_sealed_json(folder / SUMMARY)
        if values["digest"] == read_manifest(folder).digest:
            return values
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return summary(folder)


def store_summary(folder: Path) -> None:
    """Stores the summary beside the manifest, for those who will not have all shards at hand."""
    write_sealed_json(folder / SUMMARY, summary(folder))


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


def _measured(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Sizes, formats and pixel statistics, from row groups spread evenly over the data set."""
    groups = [place for place, _ in enumerate(row_groups(folder, manifest))]
    per_group = max(1, manifest.rows // max(1, len(groups)))
    chosen = set(spread(len(groups), max(1, MEASURED_AT_MOST // per_group)))
    formats, widths, heights = Counter[str](), list[int](), list[int]()
    pixels, damaged, total, squares = 0, 0, np.zeros(3), np.zeros(3)
    for place, (file, group) in enumerate(row_groups(folder, manifest)):
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


def row_groups(folder: Path, manifest: Manifest, *, absent: bool = False) -> Iterator[tuple[pq.ParquetFile, int]]:
    """Each row group of each shard, in order: the open file and the group's number.

    Args:
        folder: the data set's.
        manifest: its manifest.
        absent: whether shards that are not there are passed over.

    Raises:
        InputError: a shard cannot be read.
    """
    for shard in manifest.shards:
        if absent and not (folder / shard.file).exists():
            continue
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


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` numbers, or as many as there are, evenly spread over 0 to count - 1."""
    wanted = min(count, wanted)
    return [place * count // wanted for place in range(wanted)]
