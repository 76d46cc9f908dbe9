"""Images in Parquet files are imported by what their classes are called, never by the numbers of their labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.core.errors import InputError
from datagen.importing.importer import import_images
from datagen.importing.parquet import parquet_contents, parquet_images
from datagen.importing.picture_lists import classes_of
from datagen.importing.splits import planned
from datagen.recipes.class_lists import IMAGENET100, named_folders
from tests.datagen.importing.folders import encoded, image_folder, picture, rows_of, run


def written(path: Path, labels: Sequence[Any], names: Sequence[str] | None = None, **columns: Any) -> Path:
    """A Parquet file as `datasets` writes it: image number i is `picture(i)`; `names` are those of a ClassLabel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": encoded(picture(i)), "path": f"{i}.jpg"} for i in range(len(labels))]
    table = pa.table({**columns, "image": images, "label": list(labels)})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(names)}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=3)
    return path


def test_labels_in_another_order_become_those_of_the_class_list(cluster: None, tmp_path: Path) -> None:
    """clane9/imagenet-100 is in the order of CMC's list, with all lemmas of a synset as its name."""
    order = [item for item in reversed(IMAGENET100)]
    names = [f"{item.name}, and other lemmas" if place % 2 else item.wordnet_id for place, item in enumerate(order)]
    written(tmp_path / "hub/a.parquet", [*range(100), 100, 0], [*names, "a class of another set"])
    source = parquet_images(tmp_path / "hub")
    manifest = import_images("imagenet100", {"train": source}, tmp_path / "out", rows_per_shard=40)["train"]
    assert manifest.class_names == tuple(item.name for item in IMAGENET100) and manifest.rows == 101
    rows = rows_of(tmp_path / "out/train")
    assert [row["label"] for row in rows] == [*range(99, -1, -1), 99]
    for number, row in enumerate(rows[:100]):
        assert row["image"]["bytes"] == encoded(picture(number))
        assert row["class_name"] == order[number].name


def test_names_are_classes_in_sorted_order_whatever_their_numbers(cluster: None, tmp_path: Path) -> None:
    written(tmp_path / "train/0.parquet", [1, 0, 1, 0, 1], ["sea", "dune"])
    written(tmp_path / "train/1.parquet", [0, 0], ["sea", "dune"])
    written(tmp_path / "val.parquet", ["sea", "dune"])
    out = ["--name", "own", "--out", tmp_path / "out"]
    done = run(*out, "--train", tmp_path / "train", "--val", tmp_path / "val.parquet", "--rows-per-shard", 4)
    assert done.exit_code == 0, done.output
    rows = {split: rows_of(tmp_path / "out" / split) for split in ("train", "validation")}
    assert [row["class_name"] for row in rows["train"]] == ["dune", "sea", "dune", "sea", "dune", "sea", "sea"]
    assert [row["label"] for row in rows["train"]] == [0, 1, 0, 1, 0, 1, 1]
    assert [row["index"] for row in rows["train"]] == [0, 0, 1, 1, 2, 2, 3]
    assert [row["class_name"] for row in rows["validation"]] == ["sea", "dune"]
    # The same classes from folders are the same labels.
    folders = import_images("own", {"train": image_folder(tmp_path / "f", {"sea": 1, "dune": 1})}, tmp_path / "f_out")
    assert folders["train"].class_names == ("dune", "sea")


def test_a_shard_reads_its_rows_whatever_the_row_groups(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", ["x"] * 8)
    written(tmp_path / "b.parquet", ["x"] * 2)
    places = [["a.parquet", 2], ["a.parquet", 3], ["a.parquet", 7], ["b.parquet", 0], ["b.parquet", 1]]
    found = list(parquet_contents(tmp_path, "image", places))
    assert found == [encoded(picture(number)) for number in (2, 3, 7, 0, 1)]


def test_plain_bytes_and_named_columns_are_taken_too(tmp_path: Path) -> None:
    table = pa.table({"photo": [encoded(picture(1))], "kind": ["dog"], "note": ["x"]})
    pq.write_table(table, tmp_path / "a.parquet")
    source = parquet_images(tmp_path / "a.parquet", label="kind")
    assert (source.image, source.label, classes_of(source)) == ("photo", "kind", ["dog"])
    assert next(parquet_contents(tmp_path, "photo", [["a.parquet", 0]])) == encoded(picture(1))


def test_planning_keeps_the_order_of_the_rows(tmp_path: Path) -> None:
    source = parquet_images(written(tmp_path / "a.parquet", ["b", "a", "b", "a"]))
    found = named_folders(["b", "a"], IMAGENET100[:0])
    assert found == {"b": "b", "a": "a"}
    from datagen.recipes.class_lists import classes_found

    split = planned("train", source, tmp_path / "out", classes_found(["a", "b"]), ["a", "b"], 3, None)
    assert [[file[0][1], file[2], file[3]] for shard in split.shards for file in shard.files] == [
        [0, 1, 0],
        [1, 0, 0],
        [2, 1, 1],
        [3, 0, 1],
    ]


def test_each_mistake_is_one_sentence(tmp_path: Path) -> None:
    numbers = written(tmp_path / "numbers.parquet", [0, 1])
    beyond = written(tmp_path / "beyond.parquet", [0, 7], ["a", "b"])
    double = written(tmp_path / "double.parquet", [0, 1], ["a", "a"])
    pq.write_table(pa.table({"label": ["a"]}), tmp_path / "bare.parquet")
    pq.write_table(pa.table({"image": [b"x"], "about": ["a"]}), tmp_path / "unlabelled.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    for path, options, said in [
        (numbers, {}, "are numbers without names. Give --label-names FILE"),
        (double, {}, "two classes called a"),
        (tmp_path / "bare.parquet", {}, "no column of images"),
        (tmp_path / "unlabelled.parquet", {}, "Give --label-column. It has: about"),
        (numbers, {"image": "picture"}, "has no column 'picture' of images. It has: image"),
        (tmp_path / "broken.parquet", {}, "cannot be read as Parquet"),
        (tmp_path / "nowhere", {}, "There are no Parquet files"),
    ]:
        with pytest.raises(InputError, match=said):
            parquet_images(path, **options)
    with pytest.raises(InputError, match="has the label 7, which nothing explains"):
        classes_of(parquet_images(beyond))
    named = parquet_images(numbers, names=["cat", "dog"])
    assert classes_of(named) == ["cat", "dog"]
    two = parquet_images(written(tmp_path / "two.parquet", ["robin", "n01558993"]))
    with pytest.raises(InputError, match="two classes of one name, n01558993, robin"):
        two.renamed(IMAGENET100)
