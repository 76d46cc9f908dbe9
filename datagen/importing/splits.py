"""A split that is being imported: its files shared out among shards, and what an earlier attempt has left of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError
from datagen.core.wording import as_utf8, listed
from datagen.datasets.shards import ShardRecord, damaged_files, shard_name
from datagen.importing.parquet import ParquetImages
from datagen.importing.picture_lists import Pictures, beside, files_of, root_of
from datagen.importing.scan import SUFFIXES
from datagen.importing.shard_task import COUNTS, REPORTS
from datagen.recipes.class_lists import ImageClass


@dataclass(frozen=True)
class Shard:
    """A shard to make.

    A file is [path below the source, path as stored, label, index in its class, size, changed]; of an image in a
    Parquet file the first is [path, row].
    """

    name: str
    files: list[list[Any]]
    digest: str


@dataclass
class Split:
    """A split that is not published yet.

    Attributes:
        name: "train" or "validation".
        source: the folder that the files' paths start from.
        partial: where its shards are until it is whole.
        shards: all of it.
        files: how many pictures each label has, corrupt ones included.
        image_column: where its pictures are, if they lie in Parquet files.
        others: how many files of each ending are left out, because they are no pictures.
        beside: how many of each ending have no class.
        links: links to folders, which are not followed.
        reports: what finished shards hold, by the shard's name.
    """

    name: str
    source: Path
    partial: Path
    shards: list[Shard]
    files: Counter[int]
    image_column: str = ""
    others: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def corrupt(self) -> list[dict[str, Any]]:
        """The corrupt files: "file", "label" and "reason" of each."""
        return [item for shard in self.shards for item in self.reports[shard.name]["corrupt"]]

    def total(self, count: str) -> int:
        """One of the counts of `shard_task.COUNTS` over all shards."""
        return sum(report[count] for report in self.reports.values())

    def contents(self) -> list[tuple[str, int, str]]:
        """(what tells its bytes from others', label, path) of every picture."""
        return [tuple(item) for shard in self.shards for item in self.reports[shard.name]["contents"]]


def interleaved(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(class, index) of all files of classes with these many: index 0 of each class, then 1 of those that have it..."""
    return [(label, index) for index in range(max(lengths)) for label, length in enumerate(lengths) if index < length]


def planned(
    split: str,
    source: Pictures,
    out: Path,
    classes: Sequence[ImageClass],
    folders: Sequence[str],
    rows_per_shard: int,
    resize: int | None,
) -> Split:
    """Looks for the files of a split, and shares them out among shards.

    Raises:
        InputError: a class has no pictures, or a folder cannot be read.
    """
    if isinstance(source, ParquetImages):
        return _planned_rows(split, source, out, classes, rows_per_shard, resize)
    scanned = [files_of(source, folder) for folder in folders]
    if empty := [folder for folder, (files, _) in zip(folders, scanned, strict=True) if not files]:
        raise InputError(f"{root_of(source)} has no pictures ({', '.join(SUFFIXES)}) in {listed(empty)}. Add some.")
    rows = []
    for label, index in interleaved([len(files) for files, _ in scanned]):
        path, file = scanned[label][0][index]
        # As the class list spells the folder: the same pictures give the same data set, however a user spells it.
        stored = as_utf8(f"{classes[label].folder}/{file.name}")
        rows.append([path, stored, label, index, file.size, file.changed_ns])
    return Split(
        split,
        root_of(source).resolve(),
        out.resolve() / f"{split}.partial",
        shards_of(split, rows, classes, rows_per_shard, resize),
        Counter({label: len(files) for label, (files, _) in enumerate(scanned)}),
        others=sum((found.others for _, found in scanned), Counter()),
        beside=beside(source),
        links=[f"{folder}/{link}" for folder, (_, found) in zip(folders, scanned, strict=True) for link in found.links],
    )


def _planned_rows(
    split: str,
    source: ParquetImages,
    out: Path,
    classes: Sequence[ImageClass],
    rows_per_shard: int,
    resize: int | None,
) -> Split:
    """The same of Parquet files, whose order is kept: a row group has many images, so each is read once."""
    labels = {item.folder: label for label, item in enumerate(classes)}
    changed = {file: (source.folder / file).stat().st_mtime_ns for file in source.files}
    counts, rows = Counter[int](), []
    for file, row, folder in source.rows():
        if folder not in labels:
            continue
        label = labels[folder]
        stored = as_utf8(f"{folder}/{Path(file).stem}-{row:08d}")
        rows.append([[file, row], stored, label, counts[label], 0, changed[file]])
        counts[label] += 1
    shards = shards_of(split, rows, classes, rows_per_shard, resize)
    return Split(split, source.folder.resolve(), out.resolve() / f"{split}.partial", shards, counts, source.image)


def shards_of(
    split: str, rows: Sequence[list[Any]], classes: Sequence[ImageClass], rows_per_shard: int, resize: int | None
) -> list[Shard]:
    """The shards of a split's files, in their order."""
    pieces = [rows[first : first + rows_per_shard] for first in range(0, len(rows), rows_per_shard)]
    shards = []
    for number, files in enumerate(pieces):
        made_of = json.dumps([[file[1:] for file in files], [item.name for item in classes], resize])
        digest = hashlib.sha256(made_of.encode()).hexdigest()
        shards.append(Shard(shard_name(split, number, len(pieces)), list(files), digest))
    return shards


def resume(split: Split, say: Callable[[str], None]) -> None:
    """Makes the partial folder, or clears it of what is not of use and reads the reports of what is."""
    (split.partial / REPORTS).mkdir(parents=True, exist_ok=True)
    for path in split.partial.iterdir():  # of an earlier run: of other files, or half-written
        if path.is_file() and path.name not in {shard.name for shard in split.shards}:
            path.unlink()
    split.reports = {shard.name: report for shard in split.shards if (report := _existing(split.partial, shard, say))}


def _existing(partial: Path, shard: Shard, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The report of a shard that an earlier run made of the same files."""
    try:
        report: dict[str, Any] = json.loads((partial / REPORTS / f"{shard.name}.json").read_text(encoding="utf-8"))
        same, record = report["digest"] == shard.digest, ShardRecord(**report["record"])
        same = same and {"corrupt", "contents", *COUNTS} <= report.keys()  # Else of another version.
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # A report that a broken disk has left.
        say(f"The report on {partial / shard.name} is damaged; the shard is made again.")
        return None
    if same and (complaints := damaged_files(partial, [record], checksums=True)):
        say(f"{complaints[0]}; the shard is made again.")
        return None
    return report if same else None
