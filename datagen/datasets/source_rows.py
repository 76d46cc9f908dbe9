"""Reads single rows of a data set's shards, for sets that are made of another's images."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import pyarrow.parquet as pq

from datagen.core.errors import InputError
from datagen.datasets.shards import ImageRow, check_shard, read_manifest

_COLUMNS = ["image", "label", "class_name", "index", "prompt", "seed"]


class SourceRows:
    """The rows of a data set by number, in the order of its shards.

    One row group is kept, so rows that are asked for in order are each read once, and no more than one row group
    (256 images) is in memory. A shard is compared with its checksum before its first row is read.

    Raises:
        InputError: the folder is not a whole data set.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards = read_manifest(folder).shards
        self._firsts = [0, *accumulate(shard.rows for shard in self._shards)]
        self._checked = set[int]()
        self._group, self._kept = range(0), list[ImageRow]()

    def __len__(self) -> int:
        return self._firsts[-1]

    def read(self, rows: Sequence[int]) -> list[ImageRow]:
        """The rows of these numbers (0 to len - 1), in that order.

        Raises:
            InputError: a shard is missing or damaged.
        """
        return [self._read(row) for row in rows]

    def _read(self, row: int) -> ImageRow:
        if row not in self._group:
            shard = bisect_right(self._firsts, row) - 1
            path = self._folder / self._shards[shard].file
            if shard not in self._checked:
                check_shard(self._folder, self._shards[shard])
                self._checked.add(shard)
            try:
                self._group, self._kept = _row_group(path, self._firsts[shard], row)
            except (OSError, ValueError, IndexError) as error:  # pyarrow's own errors are among these
                raise InputError(f"{path} cannot be read ({error}). Make or import its data set again.") from None
        return self._kept[row - self._group.start]


def _row_group(path: Path, first: int, row: int) -> tuple[range, list[ImageRow]]:
    """The row group of a shard that holds row `row` of the data set, where the shard begins at row `first`."""
    with pq.ParquetFile(path) as file:
        rows_of = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        firsts = list(accumulate(rows_of, initial=first))
        group = bisect_right(firsts, row) - 1
        table = file.read_row_group(group, columns=_COLUMNS).to_pylist()
    rows = []
    for values in table:
        image = values.pop("image")
        rows.append(ImageRow(image["bytes"], image["path"], **values))
    return range(firsts[group], firsts[group + 1]), rows
