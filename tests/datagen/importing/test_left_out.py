"""What an import turns, leaves out, refuses or finds twice is counted, named, and never silent."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from datagen.core.errors import InputError
from datagen.datasets.decoding import decoded_image
from datagen.datasets.pictures import checked_picture
from datagen.importing.duplicates import find_duplicates
from datagen.importing.importer import import_images
from datagen.importing.picture_lists import labelled_list
from datagen.importing.scan import scan_folder
from datagen.recipes.prompt_styles import class_prompts
from tests.datagen.importing.folders import encoded, image_folder, picture, rows_of, run

ORIENTATION = 0x0112


def on_its_side(image: Image.Image, orientation: int, image_format: str = "jpeg") -> bytes:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return encoded(image, image_format, exif=tags)


# Orientation


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_on_its_side_is_stored_upright_for_every_reader(orientation: int) -> None:
    smooth = Image.radial_gradient("L").resize((48, 32)).convert("RGB").rotate(20)
    data = on_its_side(smooth, orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    stored = checked_picture(data)
    assert (stored.turned, stored.converted) == (True, False)
    read = Image.open(io.BytesIO(stored.encoded))
    assert read.format == "JPEG" and read.getexif().get(ORIENTATION, 1) == 1 and read.size == upright.size
    trained = decoded_image(stored.encoded).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(trained - np.asarray(upright).astype(int)).mean() < 3


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_other_formats_are_turned_too(image_format: str) -> None:
    stored = checked_picture(on_its_side(picture(1, (30, 20)), 6, image_format))
    assert stored.turned and Image.open(io.BytesIO(stored.encoded)).size == (20, 30)


def test_a_picture_that_is_made_smaller_is_turned_first() -> None:
    stored = checked_picture(on_its_side(picture(1, (90, 60)), 6), resize=40)
    assert (stored.turned, stored.resized) == (True, True)
    assert Image.open(io.BytesIO(stored.encoded)).size == (40, 60)


def test_an_upright_picture_and_one_of_damaged_metadata_keep_their_bytes() -> None:
    for data in (on_its_side(picture(1), 1), encoded(picture(1), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")):
        assert checked_picture(data).encoded == data


def test_pictures_that_a_camera_appends_to_a_jpeg_do_not_make_it_another_format() -> None:
    data = encoded(picture(1), "mpo", save_all=True, append_images=[picture(2)])
    stored = checked_picture(data)
    assert stored.encoded == data and not stored.converted


def test_an_import_says_how_many_it_has_turned(cluster: None, tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"a": 2, "b": 1})
    (real / "a/000.jpg").write_bytes(on_its_side(picture(9, (30, 20)), 8))
    said: list[str] = []
    manifest = import_images("own", {"train": real}, tmp_path / "out", say=said.append)["train"]
    assert manifest.description["turned"] == 1
    assert "1 turned upright" in said[-1]


# Endings


def test_every_ending_that_is_no_pictures_is_counted(cluster: None, tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"a": 1, "b": 1})
    for name in ("x.mp4", "y.MP4", "notes.txt", "README", ".hidden"):
        (real / "a" / name).write_text("no picture")
    for name in ("lost.jpg", "classes.txt"):
        (real / name).write_bytes(encoded(picture(1)))
    said: list[str] = []
    manifest = import_images("own", {"train": real}, tmp_path / "out", say=said.append)["train"]
    assert any("train: 4 other files left out: 2 .mp4, " in sentence for sentence in said)
    assert any("train: 2 files without a class left out: " in sentence for sentence in said)
    assert manifest.description["other_files"] == 4
    assert manifest.description["left_out"] == {
        "endings": {".mp4": 2, ".txt": 1, "no ending": 1},
        "without_class": {".jpg": 1, ".txt": 1},
        "links": [],
    }


def test_what_pillow_decodes_safely_is_imported(cluster: None, tmp_path: Path) -> None:
    image = picture(5)
    formats = {"a.tif": "tiff", "b.TIFF": "tiff", "c.ppm": "ppm", "d.jfif": "jpeg", "e.gif": "gif"}
    if features.check("avif"):
        formats["f.avif"] = "avif"
    (tmp_path / "real/a").mkdir(parents=True)
    for name, image_format in formats.items():
        (tmp_path / "real/a" / name).write_bytes(encoded(image, image_format))
    import_images("own", {"train": tmp_path / "real"}, tmp_path / "out")
    rows = {row["image"]["path"]: row["image"]["bytes"] for row in rows_of(tmp_path / "out/train")}
    assert rows.keys() == {f"a/{name}" for name in formats}
    for name in ("a.tif", "b.TIFF", "c.ppm"):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(rows[f"a/{name}"]))), np.asarray(image))


# Links


def test_links_to_folders_are_not_followed_and_named(cluster: None, tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"dune": 2, "sea": 3})
    (real / "dune/loop").symlink_to("..", target_is_directory=True)
    (real / "dune/more").symlink_to(real / "sea", target_is_directory=True)
    said: list[str] = []
    manifest = import_images("own", {"train": real}, tmp_path / "out", say=said.append)["train"]
    assert manifest.rows == 5
    assert sorted(manifest.description["left_out"]["links"]) == ["dune/loop", "dune/more"]
    assert any("train: 2 links to folders not followed: dune/" in sentence for sentence in said)


def test_a_class_may_be_a_link_elsewhere_but_to_no_folder_that_holds_it_and_not_to_another_class(
    tmp_path: Path,
) -> None:
    real = image_folder(tmp_path / "real", {"a": 1})
    (real / "again").symlink_to("a", target_is_directory=True)
    with pytest.raises(InputError, match="two classes that are one folder, a and again"):
        import_images("own", {"train": real}, tmp_path / "out")
    (real / "again").unlink()
    (real / "self").symlink_to("..", target_is_directory=True)
    with pytest.raises(InputError, match="self is a link to a folder that holds it"):
        import_images("own", {"train": real}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_to_pictures_are_followed(tmp_path: Path) -> None:
    real = image_folder(tmp_path / "real", {"a": 1})
    (real / "a/link.jpg").symlink_to(real / "a/000.jpg")
    assert [file.name for file in scan_folder(real / "a").files] == ["000.jpg", "link.jpg"]


# Duplicates


def test_equal_pictures_are_told_apart_by_what_is_wrong_with_them() -> None:
    found = find_duplicates(
        {
            "train": [("x", 0, "a/1"), ("y", 0, "a/2"), ("y", 0, "a/3"), ("z", 0, "a/4"), ("z", 1, "b/1")],
            "validation": [("x", 0, "a/9"), ("w", 0, "a/8")],
        }
    )
    assert found.splits == ("train/a/1 = validation/a/9",)
    assert found.classes == ("train/a/4 = train/b/1",)
    assert found.others == ("train/a/2 = train/a/3",)


def test_duplicates_are_counted_and_named_and_refused_where_that_is_asked_for(cluster: None, tmp_path: Path) -> None:
    folders = [image_folder(tmp_path / split, {"a": 2, "b": 2}) for split in ("train", "val")]
    for path in folders[1].rglob("*.jpg"):
        path.write_bytes(encoded(picture(hash(path.name + path.parent.name) % 9999 + 5000)))
    (folders[1] / "b/001.jpg").write_bytes((folders[0] / "a/001.jpg").read_bytes())
    arguments = ["--name", "own", "--train", folders[0], "--val", folders[1], "--out", tmp_path / "out"]
    refused = run(*arguments, "--duplicates", "refuse")
    assert refused.exit_code == 2
    assert "1 picture is there in several splits, byte for byte the same: train/a/001.jpg = validation/b/001.jpg." in (
        refused.output
    )
    assert not (tmp_path / "out/train").exists()
    kept = run(*arguments)
    assert kept.exit_code == 0 and "1 picture is there of several classes" in kept.output
    # A split that is there already is compared with, too.
    for path in (tmp_path / "out/validation").iterdir():
        path.unlink()
    assert "several splits" in run(*arguments).output


# Text from other systems


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_are_read_however_their_system_writes_text(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    for name in ("one", "two"):
        (tmp_path / f"val/{name}.JPEG").write_bytes(encoded(picture(1)))
    (tmp_path / "list.txt").write_bytes("one n01440764\r\ntwo n01443537\r\n".encode(encoding))
    found = labelled_list(tmp_path / "val", tmp_path / "list.txt")
    assert found.classes == {"n01440764": ["one.JPEG"], "n01443537": ["two.JPEG"]}
    (tmp_path / "prompts.csv").write_bytes("class,prompt\r\ncat,a cat\r\n".encode(encoding))
    assert class_prompts([("cat", "")], "c", tmp_path / "prompts.csv") == (("a cat",),)


def test_composed_and_decomposed_letters_are_the_same_class(cluster: None, tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "théière") for form in ("NFC", "NFD"))
    assert composed != decomposed
    folders = {"train": image_folder(tmp_path / "t", {composed: 1, "b": 1})}
    folders["validation"] = image_folder(tmp_path / "v", {decomposed: 1, "b": 1})
    manifests = import_images("own", folders, tmp_path / "out")
    assert manifests["train"].class_names == manifests["validation"].class_names == ("b", composed)
    (tmp_path / "prompts.csv").write_text(f"class,prompt\n{decomposed},tea\n", encoding="utf-8")
    assert class_prompts([(composed, "")], "c", tmp_path / "prompts.csv") == (("tea",),)
