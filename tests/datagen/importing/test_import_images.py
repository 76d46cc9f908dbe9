"""The import of real images: the right labels, the right bytes, and nothing published that is not whole."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray

from datagen.core.errors import InputError
from datagen.datasets.shards import read_manifest, shard_name
from datagen.importing import importer as module
from datagen.importing.importer import import_images
from datagen.importing.shard_task import import_shard
from datagen.importing.splits import interleaved
from datagen.recipes.class_lists import OXFORD_PETS
from tests.conftest import ROOT
from tests.datagen.datasets.test_decoding import with_wrong_checksum
from tests.datagen.importing.folders import encoded, image_folder, picture, rows_of, run


def test_files_are_interleaved_by_class_and_classes_that_ran_out_are_passed_over() -> None:
    assert interleaved([3, 1, 2]) == [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2)]


def test_a_png_that_is_called_jpeg_is_stored_as_the_png_it_is(cluster: None, tmp_path: Path) -> None:
    data = encoded(picture(1), "png")
    (image_folder(tmp_path / "real", {"a": 1}) / "a" / "000.jpg").write_bytes(data)
    import_images("own", {"train": tmp_path / "real"}, tmp_path / "out")
    assert rows_of(tmp_path / "out/train")[0]["image"] == {"bytes": data, "path": "a/000.jpg"}


def test_labels_follow_the_class_list_and_rows_are_the_same_with_one_worker_and_with_two(
    cluster: None, tmp_path: Path
) -> None:
    # Made in reverse, with the list's order as the only right one.
    spelled = {item.name.lower(): 1 + label % 3 for label, item in reversed(list(enumerate(OXFORD_PETS)))}
    train = image_folder(tmp_path / "real/train", spelled)
    seen: list[tuple[int, int]] = []
    for workers in (1, 2):
        import_images(
            "oxford_pets",
            {"train": train},
            tmp_path / str(workers),
            rows_per_shard=16,
            workers=workers,
            on_progress=lambda *progress: seen.append(progress),
        )
    one, two = read_manifest(tmp_path / "1/train"), read_manifest(tmp_path / "2/train")
    assert one == two
    assert one.class_names == tuple(item.name for item in OXFORD_PETS)
    counts = [1 + label % 3 for label in range(37)]
    rows = rows_of(tmp_path / "1/train")
    assert [(row["label"], row["index"]) for row in rows] == interleaved(counts)
    for row in rows:
        item = OXFORD_PETS[row["label"]]
        assert (row["class_name"], row["image"]["path"]) == (item.name, f"{item.folder}/{row['index']:03d}.jpg")
        assert row["image"]["bytes"] == (train / item.name.lower() / f"{row['index']:03d}.jpg").read_bytes()
    assert [shard.rows for shard in one.shards] == [16, 16, 16, 16, one.rows - 64]
    assert seen[0] == (0, one.rows) and seen[-1] == (one.rows, one.rows)
    assert str(tmp_path) not in (tmp_path / "1/train/_manifest.json").read_text()
    assert [path.name for path in sorted((tmp_path / "1/train").iterdir())] == [
        "_manifest.json",
        *[shard.file for shard in one.shards],
    ]


def test_a_split_with_nested_hidden_linked_and_other_files_is_read_as_documented(cluster: None, tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"a": 2, "b": 1})
    (real / "a/deeper").mkdir()
    (real / "a/deeper/x.PNG").write_bytes(encoded(picture(7), "png"))
    (real / "a/loop").symlink_to(real / "a", target_is_directory=True)
    (real / "b/._000.jpg").write_bytes(b"left by an archive")
    (real / "b/notes.txt").write_text("not a picture")
    (real / ".cache").mkdir()
    image_folder(tmp_path / "elsewhere", {"c": 1})
    (real / "c").symlink_to(tmp_path / "elsewhere/c", target_is_directory=True)
    manifest = import_images("own", {"train": real}, tmp_path / "out")["train"]
    assert manifest.class_names == ("a", "b", "c")
    assert manifest.description["other_files"] == 1
    paths = [row["image"]["path"] for row in rows_of(tmp_path / "out/train")]
    assert paths == ["a/000.jpg", "b/000.jpg", "c/000.jpg", "a/001.jpg", "a/deeper/x.PNG"]


def test_corrupt_files_are_named_and_counted_and_above_the_limit_nothing_is_published(
    cluster: None, tmp_path: Path
) -> None:
    folders = {split: image_folder(tmp_path / "real" / split, {"a": 10, "b": 10}) for split in ("train", "validation")}
    (folders["validation"] / "a/003.jpg").write_bytes(b"")
    cut = folders["validation"] / "b/001.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    (folders["train"] / "a/004.jpg").write_bytes(encoded(picture(1, (1, 1), "CMYK")))
    (folders["validation"] / "a/linked.jpg").symlink_to(tmp_path / "nowhere.jpg")
    said: list[str] = []
    with pytest.raises(InputError) as caught:
        import_images("own", folders, tmp_path / "out", limit_corrupt=0.1, say=said.append)
    assert "validation: 3 corrupt files of 21" in str(caught.value)
    assert "a/003.jpg (empty file)" in str(caught.value)
    assert not (tmp_path / "out/train").exists() and not (tmp_path / "out/validation").exists()

    manifests = import_images("own", folders, tmp_path / "out", limit_corrupt=0.2, say=said.append)
    assert {item["file"] for item in manifests["validation"].description["corrupt"]} == {
        "a/003.jpg",
        "a/linked.jpg",
        "b/001.jpg",
    }
    assert any("3 corrupt files left out" in sentence for sentence in said)
    assert manifests["validation"].rows == 18
    rows = rows_of(tmp_path / "out/validation")
    assert 3 not in [row["index"] for row in rows if row["label"] == 0]
    about = manifests["train"].description
    assert (about["files"], about["converted"], about["tiny"], about["corrupt"]) == (20, 1, 1, [])


def test_a_png_with_a_wrong_checksum_is_counted_as_corrupt_and_named(cluster: None, tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"a": 3, "b": 3})
    (real / "b/bad.png").write_bytes(with_wrong_checksum(encoded(picture(1), "png")))
    said: list[str] = []
    manifest = import_images("own", {"train": real}, tmp_path / "out", limit_corrupt=0.5, say=said.append)["train"]
    assert manifest.description["corrupt"] == [{"file": "b/bad.png", "reason": "a checksum differs (PNG chunk IDAT)"}]
    assert any("train: 1 corrupt file left out: b/bad.png" in sentence for sentence in said)


def test_a_finished_shard_with_a_flipped_byte_is_made_again_by_the_next_attempt(cluster: None, tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"a": 8, "b": 8})
    (real / "a/zz.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="1 corrupt file of 17"):
        import_images("own", {"train": real}, tmp_path / "out", rows_per_shard=4)
    shard = tmp_path / "out/train.partial" / shard_name("train", 1, 5)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])
    said: list[str] = []
    folder = tmp_path / "out"
    import_images("own", {"train": real}, folder, rows_per_shard=4, limit_corrupt=0.5, say=said.append)
    assert f"{shard} has changed since it was written (its checksum differs); the shard is made again." in said
    assert (folder / "train" / shard.name).read_bytes() == whole


def test_a_class_of_corrupt_files_only_is_refused_whatever_the_limit(cluster: None, tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"a": 3, "b": 1})
    (real / "b/000.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="every picture of b is corrupt"):
        import_images("own", {"train": real}, tmp_path / "out", limit_corrupt=1)
    assert not (tmp_path / "out/train").exists()


def test_a_resumed_import_makes_missing_and_changed_shards_only_and_ends_as_an_uninterrupted_one(
    cluster: None, tmp_path: Path
) -> None:
    real = image_folder(tmp_path / "real", {"a": 8, "b": 8})
    (real / "a/007.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="nothing was published"):
        import_images("own", {"train": real}, tmp_path / "resumed", rows_per_shard=4)
    partial = tmp_path / "resumed/train.partial"
    names = [f"train-{shard:05d}-of-00004.parquet" for shard in range(4)]
    assert sorted(path.name for path in partial.glob("*.parquet")) == names
    # As if killed: one shard is missing, one has its final name but no report yet, one is half-written.
    (partial / names[1]).unlink()
    (partial / ".import" / f"{names[2]}.json").unlink()
    (partial / f".{names[1]}.123").write_bytes(b"half")
    before = {name: (partial / name).stat().st_mtime_ns for name in (names[0], names[2])}
    (real / "a/007.jpg").write_bytes(encoded(picture(77)))
    done: list[int] = []
    resumed = import_images(
        "own", {"train": real}, tmp_path / "resumed", rows_per_shard=4, on_progress=lambda n, _: done.append(n)
    )
    assert done[0] == 4
    after = {name: (tmp_path / "resumed/train" / name).stat().st_mtime_ns for name in before}
    assert after[names[0]] == before[names[0]]
    assert not partial.exists() and not list((tmp_path / "resumed/train").glob(".*"))
    whole = import_images("own", {"train": real}, tmp_path / "whole", rows_per_shard=4)
    assert resumed == whole


def test_what_is_there_is_not_made_again_and_other_settings_are_not_taken_for_it(cluster: None, tmp_path: Path) -> None:
    folders = [image_folder(tmp_path / split, {"cat": 3, "dog": 2}) for split in ("train", "val")]
    arguments = ["--name", "own", "--train", folders[0], "--val", folders[1], "--out", tmp_path / "out"]
    first = run(*arguments)
    assert first.exit_code == 0, first.output
    assert "5 images of 2 classes, 1 shard" in first.output
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    again = run(*arguments)
    assert (again.exit_code, again.output.count("Already there: ")) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    other = run(*arguments, "--resize", 8)
    assert other.exit_code == 2 and "imported with resize None, not own with resize 8" in other.output
    next(iter(before)).unlink()
    damaged = run(*arguments)
    assert damaged.exit_code == 2 and "is missing" in damaged.output


def test_each_mistake_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    good = image_folder(tmp_path / "good", {"a": 1, "b": 1})
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/x.jpg").write_bytes(encoded(picture(1)))
    (image_folder(tmp_path / "bare", {"a": 1}) / "b").mkdir()
    more = image_folder(tmp_path / "more", {"a": 1, "b": 1, "c": 1})
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "other/train").mkdir(parents=True)
    (tmp_path / "other/train/mine.txt").write_text("precious")
    out = tmp_path / "out"
    for name, train, val, where, complaint in [
        ("own", tmp_path / "none", good, out, "There is no folder"),
        ("own", tmp_path / "flat", good, out, "has no sub-folders"),
        ("own", tmp_path / "taken", good, out, "Cannot read the folder"),
        ("own", good, tmp_path / "bare", out, "has no pictures (.jpg, .jpeg,"),
        ("own", good, more, out, "has 1 folder that own does not have: c."),
        ("own", more, good, out, "lacks 1 of the 3 classes of own: c."),
        ("own", good, good, out, "are one folder"),
        ("imagenet100", good, more, out, "lacks 100 of the 100 classes"),
        ("own", good, image_folder(tmp_path / "val", {"a": 1, "b": 1}), tmp_path / "taken/out", "Cannot write"),
        ("own", good, tmp_path / "val", tmp_path / "other", "is not a data set"),
        ("../own", good, tmp_path / "val", out, "is no name"),
    ]:
        done = run("--name", name, "--train", train, "--val", val, "--out", where)
        assert done.exit_code == 2, (complaint, done.output, done.exception)
        assert complaint in done.output
        assert done.output.count("Error: ") == 1 and "Traceback" not in done.output
        assert not out.exists()
    assert (tmp_path / "other/train/mine.txt").read_text() == "precious"


def test_a_full_disk_is_one_sentence_and_leaves_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = image_folder(tmp_path / "real", {"a": 1})
    (tmp_path / "partial/.import").mkdir(parents=True)

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    task = {"shard": "s.parquet", "digest": "", "resize": None, "files": [["a/000.jpg", "a/000.jpg", 0, 0, 1, 0]]}
    report = json.loads(import_shard({"task": json.dumps(task)}, real, tmp_path / "partial", ["a"])["report"])
    shard = tmp_path / "partial/s.parquet"
    assert report["error"] == f"Cannot write {shard}: No space left on device. Free space, or choose another --out."
    assert not [path for path in (tmp_path / "partial").rglob("*") if path.is_file()]


def test_two_imports_do_not_write_to_one_folder(tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"a": 1})
    with module._owned(tmp_path / "out"), pytest.raises(InputError, match="Another import is writing"):
        import_images("own", {"train": real}, tmp_path / "out")


def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    real = image_folder(tmp_path / "real", {"a": 1})
    with pytest.raises(InputError, match=r"No Ray cluster can be reached at 127\.0\.0\.1:1: "):
        import_images("own", {"train": real}, tmp_path / "out", address="127.0.0.1:1")


def test_an_import_that_was_killed_is_finished_by_the_same_command(cluster: None, tmp_path: Path) -> None:
    folders = [image_folder(tmp_path / split, {"a": 20, "b": 20}) for split in ("train", "val")]
    arguments = ["--name", "own", "--train", folders[0], "--val", folders[1], "--rows-per-shard", 2, "--out"]
    command = [sys.executable, "-m", "datagen.import_images", *map(str, arguments), str(tmp_path / "killed")]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "killed/train.partial"
    while running.poll() is None and len(list(partial.glob("*.parquet"))) < 3:
        time.sleep(0.02)
    running.kill()
    errors = running.communicate()[1]
    assert running.returncode == -9, errors
    time.sleep(1)  # its workers notice and end
    made = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.parquet")}
    assert 3 <= len(made) < 20
    assert run(*arguments, tmp_path / "killed").exit_code == 0
    assert run(*arguments, tmp_path / "whole").exit_code == 0
    for split in ("train", "validation"):
        assert read_manifest(tmp_path / "killed" / split) == read_manifest(tmp_path / "whole" / split)
    kept = [name for name, at in made.items() if (tmp_path / "killed/train" / name).stat().st_mtime_ns == at]
    assert len(kept) >= len(made) - 2  # at most the shards that had no report yet are made again
