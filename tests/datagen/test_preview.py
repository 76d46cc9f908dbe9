"""Contact sheet and summary: they show what is there, in plain values, and load neither torch nor Ray."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from datagen.core.errors import InputError
from datagen.datasets.contact_sheet import Section, contact_sheet, drawn_sheet
from datagen.datasets.shards import ImageRow, publish_dataset, read_rows
from datagen.datasets.summary import summary
from datagen.preview import main
from datagen.storage.named import find_dataset
from tests.conftest import ROOT, png


def flat(color: tuple[int, int, int], size: tuple[int, int] = (32, 32), image_format: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, image_format)
    return buffer.getvalue()


def colored(folder: Path, per_class: int = 6, classes: int = 3) -> Path:
    """Image number i of class c is of one color, (40 c, 40 i, 0)."""
    names = tuple(f"class {label}" for label in range(classes))
    rows = [
        ImageRow(flat((40 * label, 40 * index, 0)), f"{label}/{index}.png", label, names[label], index, "p", 10 * index)
        for index in range(per_class)
        for label in range(classes)
    ]
    publish_dataset(folder, [rows[:7], rows[7:]], split="train", class_names=names, description={"kind": "Made"})
    return folder


def places_of(sheet: Image.Image, color: tuple[int, int, int]) -> np.ndarray:
    return np.argwhere((np.asarray(sheet) == color).all(-1))


def test_a_sheet_shows_the_first_images_of_each_class_in_a_row_of_its_own(tmp_path: Path) -> None:
    sheet = contact_sheet(colored(tmp_path / "set"), samples=4, tile=32)
    tops = []
    for label in range(3):
        lefts = []
        for index in range(4):
            places = places_of(sheet, (40 * label, 40 * index, 0))
            if (label, index) != (0, 0):  # black is the captions' color too
                assert len(places) == 32 * 32
                lefts.append(places[:, 1].min())
                tops.append(places[:, 0].min())
        assert lefts == sorted(set(lefts))
        assert len(places_of(sheet, (40 * label, 40 * 4, 0))) == 0
    assert len(set(tops)) == 3 and tops == sorted(tops)


def test_the_classes_are_named_on_the_sheet(tmp_path: Path) -> None:
    named = contact_sheet(colored(tmp_path / "set", classes=1), samples=2, tile=32)
    caption = np.asarray(named.convert("L"))[: named.height - 40]
    assert 20 < (caption < 128).sum() < 400
    long = tmp_path / "long"
    publish_dataset(
        long,
        [[ImageRow(flat((9, 9, 9)), "a", 0, "x" * 500, 0)]],
        split="train",
        class_names=["x" * 500],
        description={},
    )
    assert contact_sheet(long, samples=2).width < 200


def test_many_classes_stand_in_several_columns_and_some_can_be_chosen(tmp_path: Path) -> None:
    rows = [ImageRow(flat((label, 0, 0), (8, 8)), f"{label}", label, f"c{label}", 0) for label in range(60)]
    names = [row.class_name for row in rows]
    publish_dataset(tmp_path / "set", [rows], split="train", class_names=names, description={})
    sheet = contact_sheet(tmp_path / "set", samples=2, tile=32)
    assert 0.5 < sheet.width / sheet.height < 2
    chosen = contact_sheet(tmp_path / "set", samples=1, classes=3, tile=32)
    assert [len(places_of(chosen, (label, 0, 0))) > 0 for label in (20, 40, 59)] == [True, True, False]


def test_large_images_keep_their_proportions_and_damaged_ones_are_crossed_out(tmp_path: Path) -> None:
    rows = [
        ImageRow(flat((0, 0, 250), (400, 200)), "a", 0, "a", 0),
        ImageRow(b"damaged", "b", 0, "a", 1),
    ]
    publish_dataset(tmp_path / "set", [rows], split="train", class_names=["a"], description={})
    sheet = contact_sheet(tmp_path / "set", tile=64)
    blue = places_of(sheet, (0, 0, 250))
    assert tuple(blue.max(0) - blue.min(0) + 1) == (32, 64)
    assert len(places_of(sheet, (255, 0, 0))) > 60
    assert summary(tmp_path / "set")["damaged"] == 1


def test_a_summary_has_the_right_plain_values(tmp_path: Path) -> None:
    values = summary(colored(tmp_path / "set"))
    digest = values.pop("digest")
    assert values == {
        "kind": "Made",
        "split": "train",
        "rows": 18,
        "classes": 3,
        "rows_per_class": [6, 6],
        "shards": 2,
        "bytes": sum(path.stat().st_size for path in (tmp_path / "set").glob("*.parquet")),
        "format": "PNG",
        "width": [32, 32],
        "height": [32, 32],
        "mean": [round(40 / 255, 4), round(100 / 255, 4), 0.0],
        "std": [round(float(np.std([0, 40, 80])) / 255, 4), round(float(np.std(range(0, 240, 40))) / 255, 4), 0.0],
        "measured": 18,
        "damaged": 0,
        "seeds": [0, 50],
        "prompts": 1,
    }
    assert len(digest) == 64
    assert json.loads(json.dumps(values)) == values


def test_a_summary_tells_sizes_and_formats_apart(tmp_path: Path) -> None:
    rows = [
        ImageRow(flat((1, 2, 3), (20, 10)), "a", 0, "a", 0),
        ImageRow(flat((1, 2, 3), (30, 40), "jpeg"), "b", 0, "a", 1),
        ImageRow(png(np.zeros((5, 5), dtype=np.uint8)), "c", 0, "a", 2),
    ]
    publish_dataset(tmp_path / "set", [rows], split="train", class_names=["a", "b"], description={})
    values = summary(tmp_path / "set")
    assert (values["width"], values["height"], values["format"]) == ([5, 30], [5, 40], "PNG (2), JPEG (1)")
    assert (values["rows_per_class"], values["seeds"], values["kind"]) == ([0, 3], None, "imported")


def test_pixel_statistics_are_those_of_all_images_of_a_small_set(image_folders: Path) -> None:
    values = summary(image_folders / "train")
    images = [
        np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) / 255
        for batch in read_rows(image_folders / "train")
        for row in batch.to_pylist()
    ]
    np.testing.assert_allclose(values["mean"], np.mean(images, axis=(0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(values["std"], np.std(images, axis=(0, 1, 2)), atol=1e-4)


def test_a_set_is_found_by_folder_or_by_the_first_digits_of_its_fingerprint(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first, second = (colored(store / "datasets" / name, 1) for name in ("abc1" + "0" * 60, "abc2" + "0" * 60))
    assert find_dataset(str(first), str(store)) == first
    assert find_dataset("abc2", str(store)) == second
    for name, complaint in [
        ("abc", r"2 data sets in .* begin with abc: abc10000000, abc20000000. Give more digits"),
        ("ffff", r"no data set in .* begins with ffff. It has 2 data sets, for example abc100000000"),
        (str(store / "datasets"), r"It holds data sets: name one, for example .*abc1"),
        (str(tmp_path), r"it has no _manifest.json.$"),
    ]:
        with pytest.raises(InputError, match=complaint):
            find_dataset(name, str(store))


def test_the_command_prints_the_summary_and_writes_the_sheet(tmp_path: Path) -> None:
    folder = colored(tmp_path / "set")
    done = CliRunner().invoke(main, [str(folder), "--out", str(tmp_path / "sheet.png"), "--samples", "3"])
    assert done.exit_code == 0, done.output
    assert "rows per class" in done.output and "Contact sheet: " in done.output
    assert Image.open(tmp_path / "sheet.png").size == contact_sheet(folder, samples=3).size
    for arguments, complaint in [
        ([str(folder), "--out", str(tmp_path / "sheet.docx")], "Let it end in .png or .jpg"),
        ([str(folder), "--out", str(tmp_path / "none/sheet.png")], "Cannot write"),
        (["none", "--store", str(tmp_path)], "There is no folder none"),
    ]:
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2 and complaint in done.output and "Traceback" not in done.output
    (folder / "train-00000-of-00002.parquet").write_bytes(b"damaged")
    done = CliRunner().invoke(main, [str(folder)])
    assert done.exit_code == 2 and "cannot be read" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "sheet.png"]


def test_previews_load_neither_torch_nor_ray() -> None:
    code = (
        "import sys, datagen.preview as p; from pathlib import Path;"
        "p.contact_sheet(Path('datagen/pocket/images/validation'), samples=1);"
        "heavy = {'torch', 'ray', 'mlflow', 'pandas'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_sheet_is_drawn_of_the_shards_that_are_at_hand(tmp_path: Path) -> None:
    folder = colored(tmp_path / "set")
    (folder / "train-00001-of-00002.parquet").unlink()
    sheet = contact_sheet(folder, samples=6, tile=32)
    assert len(places_of(sheet, (40, 40, 0))) == 32 * 32 and len(places_of(sheet, (40, 200, 0))) == 0


def test_sections_of_several_rows_stand_below_each_other(tmp_path: Path) -> None:
    rows = [[flat((200, 0, 0))], [flat((0, 200, 0))]]
    sheet = drawn_sheet([Section("a", rows), Section("b", rows[:1])], samples=1, tile=32)
    red, green = places_of(sheet, (200, 0, 0)), places_of(sheet, (0, 200, 0))
    assert (len(red), len(green)) == (2 * 32 * 32, 32 * 32)
    assert green[:, 0].min() > red[red[:, 1] < green[:, 1].max() + 1][:, 0].min() + 31
