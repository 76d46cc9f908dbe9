"""The shard format: encoded images in Parquet files with a manifest, readable by any Parquet tool.

A data set is a folder of `train-00012-of-00130.parquet` files and a `_manifest.json` with every file's row count, size
and sha256. The image column follows the Hugging Face convention (`struct<bytes: binary, path: string>` plus schema
metadata), so `datasets.load_dataset("parquet", data_files=...)` shows pictures. Files get their final name only when
complete, and the manifest is written last: a folder with a manifest is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.core.errors import InputError
from datagen.core.files import file_sha256, read_sealed_json, write_json, write_sealed_json, written_whole

MANIFEST = "_manifest.json"
STATISTICS = "_statistics.json"
SUMMARY = "_summary.json"
"""What lies beside the shards begins with an underscore: pyarrow, pandas, polars and Spark pass over such files when
they read a folder of Parquet files."""
FORMER_NAMES = tuple(name.removeprefix("_") for name in (STATISTICS, SUMMARY, MANIFEST))
"""How they were called before, the one that makes a folder a data set last."""
ROWS_PER_GROUP = 256
"""Rows of one Parquet row group: 256 images of 40 kB are 10 MB, a good unit to read and to keep in memory."""

_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


@dataclass(frozen=True)
class ImageRow:
    """One image: `image` holds PNG or JPEG bytes; `prompt` and `seed` (0..2^63-1) are set for generated images only."""

    image: bytes
    path: str
    label: int
    class_name: str
    index: int
    prompt: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class ShardRecord:
    """What the manifest knows of one shard file."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a data set's folder promises: its split, classes in label order, shards, and a free description."""

    split: str
    class_names: tuple[str, ...]
    shards: tuple[ShardRecord, ...]
    description: dict[str, Any]

    @property
    def rows(self) -> int:
        """Number of images."""
        return sum(shard.rows for shard in self.shards)

    @property
    def digest(self) -> str:
        """sha256 over the shards' checksums and the classes: the same images in the same order, the same digest."""
        content = json.dumps([self.class_names, [[shard.file, shard.sha256] for shard in self.shards]])
        return hashlib.sha256(content.encode()).hexdigest()


def shard_name(split: str, shard: int, shards: int) -> str:
    """The file name of shard `shard` (from 0) of `shards`."""
    return f"{split}-{shard:05d}-of-{shards:05d}.parquet"


def record_name(shard: str) -> str:
    """The file with the record of a shard of an unfinished data set, beside it."""
    return f"{shard}.json"


def write_shard(
    path: Path, rows: Sequence[ImageRow], class_names: Sequence[str], record_to: Path | None = None
) -> ShardRecord:
    """Writes `rows` to `path` atomically: the file is whole or absent, whatever happens meanwhile.

    Args:
        path: the file.
        rows: its images.
        class_names: of all classes, in label order.
        record_to: where to write the record, before the file has its name, so that none is without one.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    table = pa.table(
        {
            "image": pa.array([{"bytes": row.image, "path": row.path} for row in rows], _IMAGE),
            "label": pa.array([row.label for row in rows], pa.int64()),
            "class_name": pa.array([row.class_name for row in rows], pa.string()),
            "index": pa.array([row.index for row in rows], pa.int64()),
            "prompt": pa.array([row.prompt for row in rows], pa.string()),
            "seed": pa.array([row.seed for row in rows], pa.int64()),
        }
    ).replace_schema_metadata({"huggingface": json.dumps(_hugging_face_features(class_names))})
    try:
        with written_whole(path) as aside:
            pq.write_table(table, aside, compression="zstd", row_group_size=ROWS_PER_GROUP)
            record = ShardRecord(path.name, len(rows), aside.stat().st_size, file_sha256(aside))
            if record_to is not None:
                write_json(record_to, asdict(record))
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror or error}. Free space or choose another --store."
        ) from error
    return record


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest atomically; from then on the folder is a whole data set."""
    write_sealed_json(folder / MANIFEST, asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a data set's folder.

    Raises:
        InputError: there is none, or it cannot be understood.
    """
    try:
        values = read_sealed_json(folder / MANIFEST)
        shards = tuple(ShardRecord(**shard) for shard in values["shards"])
        return Manifest(values["split"], tuple(values["class_names"]), shards, values["description"])
    except FileNotFoundError:
        if (folder / FORMER_NAMES[-1]).is_file():
            raise InputError(
                f"{folder} was written by an earlier version. Import it again with the same command: that only renames "
                f"the files beside the images, for example {FORMER_NAMES[-1]} to {MANIFEST}."
            ) from None
        raise InputError(f"{folder} is not a data set: it has no {MANIFEST}. Import or generate it again.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / MANIFEST} is damaged ({error}). Import or generate the data set again.") from None


def take_new_names(folder: Path) -> None:
    """Renames what an earlier version has left beside the shards of a data set, if it is one of then."""
    for name in FORMER_NAMES:
        if (folder / FORMER_NAMES[-1]).is_file() and (folder / name).is_file():
            (folder / name).replace(folder / f"_{name}")


def listed_files(folder: Path, fingerprint: str = "") -> list[ShardRecord]:
    """The files that the manifest in an artifact's folder lists: the shards of a data set, or what a model has.

    With a `fingerprint` the manifest must be that artifact's, if it says whose it is: those of imported sets and of
    earlier versions do not.

    Raises:
        InputError: there is no manifest, it is damaged, or it is another artifact's.
    """
    try:
        values = read_sealed_json(folder / MANIFEST)
        records = [ShardRecord(**record) for record in (values["shards"] if "shards" in values else values["files"])]
        owner = values.get("fingerprint") or values.get("description", {}).get("fingerprint")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / MANIFEST} cannot be read ({error})") from None
    if fingerprint and owner and owner != fingerprint:
        raise InputError(f"{folder} holds another artifact, {owner[:12]}, than its name says")
    return records


def publish_dataset(
    folder: Path,
    rows_by_shard: Sequence[Sequence[ImageRow]],
    *,
    split: str,
    class_names: Sequence[str],
    description: dict[str, Any],
    image_format: str = "png",
) -> Manifest:
    """Writes all shards and then the manifest into `folder`, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [shard_name(split, shard, len(rows_by_shard)) for shard in range(len(rows_by_shard))]
    records = [write_shard(folder / name, rows, class_names) for name, rows in zip(names, rows_by_shard, strict=True)]
    manifest = Manifest(split, tuple(class_names), tuple(records), {"image_format": image_format, **description})
    write_manifest(folder, manifest)
    return manifest


def damaged_files(folder: Path, records: Sequence[ShardRecord], *, checksums: bool) -> list[str]:
    """Names each file that is not what its record promises, with the reason.

    Sizes are always compared, which finds truncation at no cost; with `checksums` every byte is read.
    """
    complaints = []
    for record in records:
        path = folder / record.file
        if not path.is_file():
            complaints.append(f"{path} is missing")
        elif path.stat().st_size != record.bytes:
            complaints.append(f"{path} has {path.stat().st_size} bytes instead of {record.bytes}")
        elif checksums and file_sha256(path) != record.sha256:
            complaints.append(f"{path} has changed since it was written (its checksum differs)")
    return complaints


def check_shard(folder: Path, record: ShardRecord) -> None:
    """Compares a shard with its checksum, before any byte of it is parsed: parsers may do anything with damaged ones.

    Raises:
        InputError: it is missing or damaged.
    """
    if complaints := damaged_files(folder, [record], checksums=True):
        raise InputError(f"{complaints[0]}. Import or generate the data set again.")


def read_rows(
    folder: Path, columns: Sequence[str] = ("image", "label"), *, checked: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yields the data set's rows in order, one record batch of at most `ROWS_PER_GROUP` rows at a time.

    Args:
        folder: the data set's.
        columns: which to read.
        checked: the caller has compared the shards with their checksums; else each is before it is read.

    Raises:
        InputError: a shard is missing or damaged.
    """
    for shard in read_manifest(folder).shards:
        if not checked:
            check_shard(folder, shard)
        with pq.ParquetFile(folder / shard.file) as file:
            yield from file.iter_batches(batch_size=ROWS_PER_GROUP, columns=list(columns))


def _hugging_face_features(class_names: Sequence[str]) -> dict[str, Any]:
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(class_names), "_type": "ClassLabel"},
        "class_name": {"dtype": "string", "_type": "Value"},
        "index": {"dtype": "int64", "_type": "Value"},
        "prompt": {"dtype": "string", "_type": "Value"},
        "seed": {"dtype": "int64", "_type": "Value"},
    }
    return {"info": {"features": features}}
