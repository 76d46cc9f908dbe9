"""The shard format: whole or absent, checked, and readable by others."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from datagen.core.errors import InputError
from datagen.datasets.shards import (
    MANIFEST,
    STATISTICS,
    SUMMARY,
    ImageRow,
    damaged_files,
    publish_dataset,
    read_manifest,
    read_rows,
    take_new_names,
    write_shard,
)

ROWS = [ImageRow(bytes([n]) * 10, f"a/{n}.png", n % 2, "ab"[n % 2], n, f"prompt {n}", n * 7) for n in range(5)]


def published(folder: Path) -> Path:
    publish_dataset(folder, [ROWS[:3], ROWS[3:]], split="train", class_names=("a", "b"), description={"made": "here"})
    return folder


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    folder = published(tmp_path / "set")
    batches = list(read_rows(folder, ["image", "label", "index", "prompt", "seed"]))
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["image"]["bytes"] for row in rows] == [row.image for row in ROWS]
    assert [(row["label"], row["index"], row["prompt"], row["seed"]) for row in rows] == [
        (row.label, row.index, row.prompt, row.seed) for row in ROWS
    ]


def test_files_are_named_by_position_and_count(tmp_path: Path) -> None:
    names = sorted(path.name for path in published(tmp_path / "set").iterdir())
    assert names == ["_manifest.json", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]


def test_any_parquet_reader_reads_the_folder_as_it_is(tmp_path: Path) -> None:
    folder = published(tmp_path / "set")
    for name in (STATISTICS, SUMMARY):
        (folder / name).write_text("{}")
    assert list(pd.read_parquet(folder)["label"]) == [row.label for row in ROWS]
    assert pyarrow.dataset.dataset(folder).count_rows() == len(ROWS)


def test_a_set_of_an_earlier_version_is_told_and_takes_the_new_names(tmp_path: Path) -> None:
    folder = published(tmp_path / "set")
    (folder / MANIFEST).rename(folder / "manifest.json")
    with pytest.raises(InputError, match=r"written by an earlier version. Import it again"):
        read_manifest(folder)
    take_new_names(folder)
    assert read_manifest(folder).rows == len(ROWS)


def test_the_manifest_knows_rows_and_digest(tmp_path: Path) -> None:
    manifest = read_manifest(published(tmp_path / "set"))
    assert (manifest.rows, manifest.class_names, manifest.split) == (5, ("a", "b"), "train")
    assert manifest.digest == read_manifest(published(tmp_path / "again")).digest


def test_the_image_column_follows_the_hugging_face_convention(tmp_path: Path) -> None:
    schema = pq.read_schema(published(tmp_path / "set") / "train-00000-of-00002.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"]["names"] == ["a", "b"]
    assert str(schema.field("image").type) == "struct<bytes: binary, path: string>"


def test_truncation_is_found_by_size_and_a_flipped_byte_by_checksum(tmp_path: Path) -> None:
    folder = published(tmp_path / "set")
    records = read_manifest(folder).shards
    first, second = (folder / record.file for record in records)
    flipped = bytearray(second.read_bytes())
    flipped[100] ^= 1
    second.write_bytes(flipped)
    assert damaged_files(folder, records, checksums=False) == []
    assert "checksum differs" in damaged_files(folder, records, checksums=True)[0]
    first.write_bytes(first.read_bytes()[:-1])
    assert str(first) in damaged_files(folder, records, checksums=False)[0]


def test_an_interrupted_write_leaves_no_shard_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", no_space)
    with pytest.raises(InputError, match="No space left on device"):
        write_shard(tmp_path / "train-00000-of-00001.parquet", ROWS, ("a", "b"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_manifest_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no _manifest"):
        read_manifest(tmp_path)
