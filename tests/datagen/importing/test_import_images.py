"""The import of real images: the right labels, the right bytes, and nothing published that is not whole."""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
from click.testing import CliRunner, Result
from PIL import Image

from datagen.core.errors import InputError
from datagen.datasets.decoding import CorruptError
from datagen.datasets.pictures import Picture, checked_picture
from datagen.datasets.shards import read_manifest, shard_name
from datagen.import_images import main
from datagen.importing import importer as module
from datagen.importing.importer import import_images
from datagen.importing.picture_lists import labelled_list, oxford_pets_lists
from datagen.importing.shard_task import import_shard
from datagen.importing.splits import interleaved
from datagen.recipes.class_lists import CLASS_LISTS, IMAGENET100, OXFORD_PETS, match_folders
from datagen.recipes.wordnet import wordnet_definitions
from tests.conftest import ROOT
from tests.datagen.datasets.test_decoding import with_wrong_checksum

GREY_RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
"""16-bit grey whose high byte counts from 0 to 255."""


def encoded(image: Image.Image, image_format: str = "jpeg", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def picture(seed: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Image.Image:
    shape = (size[1], size[0], len(Image.new(mode, (1, 1)).getbands()))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels.squeeze(-1) if shape[2] == 1 else pixels, mode)


def image_folder(root: Path, files: dict[str, int]) -> Path:
    """`files[class]` JPEG files for each class, all different."""
    for label, (folder, count) in enumerate(files.items()):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            (root / folder / f"{index:03d}.jpg").write_bytes(encoded(picture(1000 * label + index)))
    return root


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for shard in read_manifest(folder).shards for row in pq.read_table(folder / shard.file).to_pylist()]


def pixels_of(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


def png_of_16_bits(channels: int) -> bytes:
    """A PNG of 16 bits a channel, which PIL can read and not write for colour: all channels are the grey ramp."""
    rows = np.repeat(GREY_RAMP[:, :, None], channels, 2).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2 if channels == 3 else 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments])


# Class lists


def test_imagenet100_is_100_sorted_synsets_that_wordnet_knows_under_their_first_lemma() -> None:
    ids = [item.wordnet_id for item in IMAGENET100]
    assert len(set(ids)) == 100
    assert ids == sorted(ids) == [item.folder for item in IMAGENET100]
    assert set(ids) <= wordnet_definitions().keys()
    timm = find_spec("timm")
    assert timm is not None and timm.origin is not None
    lemmas = (Path(timm.origin).parent / "data" / "_info" / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    first = {line.split("\t")[0]: line.split("\t")[1].split(",")[0] for line in lemmas}
    assert [item.name for item in IMAGENET100] == [first[wordnet_id] for wordnet_id in ids]
    assert (IMAGENET100[0].name, IMAGENET100[99].name) == ("robin", "stinkhorn")


def test_oxford_pets_has_37_breeds_in_the_order_of_the_annotations() -> None:
    names = [item.name for item in OXFORD_PETS]
    assert len(set(names)) == 37
    assert names == sorted(names)
    assert [names[label] for label in (0, 5, 33, 36)] == ["Abyssinian", "Bengal", "Sphynx", "Yorkshire Terrier"]


def test_missing_and_extra_classes_are_named_in_one_sentence_and_then_counted() -> None:
    folders = [item.folder for item in IMAGENET100[8:]] + ["cats", "dogs"]
    with pytest.raises(InputError) as caught:
        match_folders(Path("pictures"), folders, "imagenet100", IMAGENET100)
    assert str(caught.value) == (
        "pictures lacks 8 of the 100 classes of imagenet100: n01558993 (robin), n01692333 (Gila monster), "
        "n01729322 (hognose snake), n01735189 (garter snake), n01749939 (green mamba) and 3 more, "
        "and has 2 folders that imagenet100 does not have: cats, dogs. Add or remove those folders."
    )


def test_breeds_are_found_however_their_folders_are_spelled() -> None:
    spelled = [item.name.upper() if label % 2 else item.folder.lower() for label, item in enumerate(OXFORD_PETS)]
    assert match_folders(Path("pets"), sorted(spelled), "oxford_pets", OXFORD_PETS) == spelled
    with pytest.raises(InputError, match="two folders of one class, EGYPTIAN MAU and Egyptian Mau"):
        match_folders(Path("pets"), [*spelled, "Egyptian Mau"], "oxford_pets", OXFORD_PETS)


def test_files_are_interleaved_by_class_and_classes_that_ran_out_are_passed_over() -> None:
    assert interleaved([3, 1, 2]) == [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2)]


# Pictures


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_a_plain_picture_keeps_its_bytes(mode: str, image_format: str) -> None:
    data = encoded(picture(1, mode=mode), image_format)
    stored = checked_picture(data, resize=16)
    assert stored.encoded == data
    assert not (stored.converted or stored.resized or stored.tiny)


def test_a_png_that_is_called_jpeg_is_stored_as_the_png_it_is(cluster: None, tmp_path: Path) -> None:
    data = encoded(picture(1), "png")
    (image_folder(tmp_path / "real", {"a": 1}) / "a" / "000.jpg").write_bytes(data)
    import_images("own", {"train": tmp_path / "real"}, tmp_path / "out")
    assert rows_of(tmp_path / "out/train")[0]["image"] == {"bytes": data, "path": "a/000.jpg"}


@pytest.mark.parametrize("image_format", ["jpeg", "webp", "bmp"])
def test_other_formats_and_cmyk_become_the_rgb_that_pil_makes_of_them(image_format: str) -> None:
    data = encoded(picture(1, mode="CMYK" if image_format == "jpeg" else "RGB"), image_format)
    stored = checked_picture(data)
    assert stored.converted
    np.testing.assert_array_equal(pixels_of(stored.encoded), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_the_upper_8(channels: int) -> None:
    stored = checked_picture(png_of_16_bits(channels))
    assert stored.converted
    np.testing.assert_array_equal(pixels_of(stored.encoded), np.repeat((GREY_RAMP >> 8)[:, :, None], 3, 2))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_dropped(mode: str) -> None:
    image = picture(1, mode=mode)
    stored = checked_picture(encoded(image, "png"))
    assert stored.converted
    np.testing.assert_array_equal(pixels_of(stored.encoded), np.asarray(image.convert("RGB")))


def test_a_palette_or_a_transparent_colour_makes_a_picture_not_plain() -> None:
    image = picture(1)
    palette = checked_picture(encoded(image.quantize(16), "png"))
    np.testing.assert_array_equal(pixels_of(palette.encoded), np.asarray(image.quantize(16).convert("RGB")))
    assert palette.converted
    keyed = checked_picture(encoded(image, "png", transparency=(1, 2, 3)))
    np.testing.assert_array_equal(pixels_of(keyed.encoded), np.asarray(image))
    assert keyed.converted


@pytest.mark.parametrize("image_format", ["gif", "png", "webp"])
def test_of_an_animation_the_first_frame_is_stored(image_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if image_format == "webp" else {}
    stored = checked_picture(encoded(frames[0], image_format, save_all=True, append_images=frames[1:], **options))
    assert stored.converted
    np.testing.assert_array_equal(pixels_of(stored.encoded), np.asarray(frames[0]))


def test_one_pixel_is_a_picture_but_a_tiny_one() -> None:
    data = encoded(picture(1, (1, 1)), "png")
    assert checked_picture(data) == Picture(data, converted=False, resized=False, tiny=True)
    assert not checked_picture(encoded(picture(1, (8, 8)))).tiny


def test_larger_pictures_are_made_smaller_on_request_and_others_left_alone() -> None:
    stored = checked_picture(encoded(picture(1, (90, 60))), resize=40)
    image = Image.open(io.BytesIO(stored.encoded))
    assert (image.format, image.size) == ("JPEG", (60, 40))
    assert stored.resized and not stored.converted
    both = checked_picture(encoded(picture(1, (60, 90), "CMYK")), resize=40)
    assert (both.resized, both.converted) == (True, True)
    assert Image.open(io.BytesIO(both.encoded)).size == (40, 60)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "a link to nothing"),
        (b"", "empty file"),
        (b"<html>not found</html>", "not a picture"),
        (encoded(picture(1))[:-200], "truncated"),
        (encoded(picture(1), "png")[:-300], "."),
        (encoded(picture(1), "png")[:40], "."),
        (with_wrong_checksum(encoded(picture(1), "png")), "checksum differs"),
        (encoded(picture(1), "webp")[:-50], "."),
    ],
)
def test_what_is_no_whole_picture_is_corrupt_and_the_reason_names_no_address(data: bytes | None, reason: str) -> None:
    with pytest.raises(CorruptError, match=reason) as caught:
        checked_picture(data)
    assert str(caught.value) and "0x" not in str(caught.value)


# Whole imports


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
    assert str(tmp_path) not in (tmp_path / "1/train/manifest.json").read_text()
    assert [path.name for path in sorted((tmp_path / "1/train").iterdir())] == [
        "manifest.json",
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


# Mistakes


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


def test_every_class_list_has_distinct_folders_and_names() -> None:
    for classes in CLASS_LISTS.values():
        assert len({item.folder for item in classes}) == len({item.name for item in classes}) == len(classes)


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


# Pictures in one folder, with a list


def pets(root: Path, train: list[str], test: list[str]) -> Path:
    """Oxford-IIIT Pet as it is unpacked, with these pictures listed, all of them there."""
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for name, stems in (("trainval.txt", train), ("test.txt", test)):
        lines = ["#Image CLASS-ID SPECIES BREED ID", *[f"{stem} 1 2 1" for stem in stems]]
        (root / "annotations" / name).write_text("\n".join(lines) + "\n")
    for seed, stem in enumerate(train + test):
        (root / "images" / f"{stem}.jpg").write_bytes(encoded(picture(seed)))
    (root / "images/Abyssinian_100.mat").write_bytes(b"of no use")
    return root


def test_oxford_pets_as_downloaded_is_the_same_set_as_sorted_by_hand(cluster: None, tmp_path: Path) -> None:
    # Cats are spelled with a capital and dogs without, as in the original.
    spelled = [item.folder if label % 3 == 0 else item.folder.lower() for label, item in enumerate(OXFORD_PETS)]
    train, test = ([f"{name}_{number}" for name in spelled for number in numbers] for numbers in ((7, 12), (3,)))
    downloaded = pets(tmp_path / "pets", train, test)
    for split, stems in (("train", train), ("val", test)):
        for stem in stems:
            folder = tmp_path / "sorted" / split / stem.rpartition("_")[0]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{stem}.jpg").write_bytes((downloaded / "images" / f"{stem}.jpg").read_bytes())
    done = run("--name", "oxford_pets", "--pets", downloaded, "--out", tmp_path / "one")
    assert done.exit_code == 0, done.output
    folders = [tmp_path / "sorted/train", tmp_path / "sorted/val"]
    done = run("--name", "oxford_pets", "--train", folders[0], "--val", folders[1], "--out", tmp_path / "two")
    assert done.exit_code == 0, done.output
    for split, rows in (("train", 74), ("validation", 37)):
        manifest = read_manifest(tmp_path / "one" / split)
        assert manifest == read_manifest(tmp_path / "two" / split) and manifest.rows == rows


def test_listed_pictures_that_are_missing_or_damaged_are_named_and_counted(cluster: None, tmp_path: Path) -> None:
    downloaded = pets(tmp_path / "pets", ["cat_1", "cat_2", "cat_3", "dog_1"], ["cat_4", "dog_2"])
    (downloaded / "images/cat_2.jpg").unlink()
    whole = (downloaded / "images/cat_3.jpg").read_bytes()
    (downloaded / "images/cat_3.jpg").write_bytes(b"\0\0" + whole[2:])  # a damaged header
    (downloaded / "images/dog_2.jpg").write_bytes(encoded(picture(3).quantize(8), "gif"))  # as some of the original are
    lists = oxford_pets_lists(downloaded)
    manifests = import_images("own", lists, tmp_path / "out", limit_corrupt=0.6)
    corrupt = manifests["train"].description["corrupt"]
    assert [item["file"] for item in corrupt] == ["cat/cat_2.jpg", "cat/cat_3.jpg"]
    assert [item["reason"] for item in corrupt] == ["a link to nothing, or no file", "not a picture"]
    assert [row["image"]["path"] for row in rows_of(tmp_path / "out/train")] == ["cat/cat_1.jpg", "dog/dog_1.jpg"]
    assert manifests["validation"].description["converted"] == 1


def test_validation_pictures_in_one_folder_are_sorted_by_their_list(cluster: None, tmp_path: Path) -> None:
    train = image_folder(tmp_path / "train", {"n00000001": 1, "n00000002": 1})
    flat = tmp_path / "val"
    flat.mkdir()
    for number in range(1, 6):
        (flat / f"ILSVRC2012_val_0000000{number}.JPEG").write_bytes(encoded(picture(number)))
    ids = ["n00000002", "n00000009", "n00000001", "n00000002", "n00000001"]
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    (tmp_path / "solution.csv").write_text(
        "ImageId,PredictionString\n"
        + "".join(f"ILSVRC2012_val_0000000{n},{ids[n - 1]} 85 1 499 272 \n" for n in (4, 3, 2, 1, 5))
    )
    for number, labels in enumerate(("ids.txt", "solution.csv")):
        listing = labelled_list(flat, tmp_path / labels)
        import_images("own", {"train": train, "validation": listing}, tmp_path / str(number))
        rows = rows_of(tmp_path / str(number) / "validation")
        assert [(row["class_name"], row["image"]["path"][-6:-5]) for row in rows] == [
            ("n00000001", "3"),
            ("n00000002", "1"),
            ("n00000001", "5"),
            ("n00000002", "4"),
        ]  # n00000009 is none of the set's classes


def test_each_mistake_in_a_list_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    good = pets(tmp_path / "pets", ["cat_1"], ["cat_2"])
    both = pets(tmp_path / "both", ["cat_1", "cat_2"], ["cat_2"])
    odd = pets(tmp_path / "odd", ["cat_1"], ["cat_2"])
    (odd / "annotations/test.txt").write_text("cat_2.jpg;1\n")
    (tmp_path / "none").mkdir()
    twice, short, numbers = (tmp_path / f"{name}.txt" for name in ("twice", "short", "numbers"))
    twice.write_text("cat_1.jpg n00000001\ncat_1.jpg n00000002\n")
    short.write_text("n00000001\n")
    numbers.write_text("cat_1.jpg 65\ncat_2.jpg 970\n")
    outside = tmp_path / "outside.txt"
    outside.write_text("../secret.jpg n00000001\n")
    train = image_folder(tmp_path / "train", {"n00000001": 1})
    lists = ["--train", train, "--val", good / "images", "--val-labels"]
    for arguments, complaint in [
        (["--pets", tmp_path / "none"], "Unpack images.tar.gz and annotations.tar.gz"),
        (["--pets", both], "1 picture of"),
        (["--pets", odd], "test.txt, line 1 is not like 'Abyssinian_100 1 1 1': 'cat_2.jpg;1'"),
        (["--pets", good, "--train", good], "leave out --train"),
        ([], "Name the folders of the splits"),
        (["--train", train, "--val-labels", short], "name the folder of the validation images, too"),
        ([*lists, twice], "lists 1 picture twice: cat_1.jpg"),
        ([*lists, short], "has 1 line, but"),
        ([*lists, numbers], "line 2 has no picture and WordNet id"),
        ([*lists, outside], "names pictures outside"),
        ([*lists, tmp_path / "nowhere.txt"], "There is no file"),
    ]:
        done = run("--name", "own", *arguments, "--out", tmp_path / "out")
        assert done.exit_code == 2 and complaint in done.output, (complaint, done.output)
        assert done.output.count("Error: ") == 1 and not (tmp_path / "out").exists()
