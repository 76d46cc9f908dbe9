"""Stylized sets: every image in one style of its own, the same whatever is drawn beside it, bad pictures named."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datagen import pocket
from datagen.core.digests import files_digest
from datagen.core.errors import InputError
from datagen.datasets.shards import ImageRow, publish_dataset
from datagen.datasets.spec import StylizedDataset
from datagen.generation.adain import StyleTransfer
from datagen.generation.stylize import StyleGenerator, StyleLibrary, content_pixels
from datagen.pocket.making.draw_styles import FAMILIES, PER_FAMILY, draw_style
from datagen.recipes.recipe import StyleRecipe
from experiments.datasets.pocket_stylized import RECIPE
from tests.conftest import CLASSES, png, real_dataset


@pytest.fixture(scope="module")
def spec(image_folders: Path) -> StylizedDataset:
    return RECIPE.spec("stylized", real_dataset(image_folders, "train"))


@pytest.fixture(scope="module")
def drawn(spec: StylizedDataset, image_folders: Path) -> list[ImageRow]:
    return StyleGenerator(spec, "cpu", image_folders / "train").draw(range(48))


def colors(row: ImageRow) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row.image)))


def saved(path: Path, seed: int, size: tuple[int, int] = (40, 40), **options: Any) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_each_image_keeps_class_label_and_index_of_its_source(drawn: list[ImageRow], spec: StylizedDataset) -> None:
    assert [(row.class_name, row.label, row.index) for row in drawn] == [
        (CLASSES[place % 3], place % 3, place // 3) for place in range(48)
    ]
    for row in drawn:
        image = Image.open(io.BytesIO(row.image))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))
        assert row.seed == spec.image_seed(row.class_name, row.index) and row.prompt is None
        assert row.path.startswith(f"{row.class_name}/{row.index:06d}-stylized-") and row.path.endswith(".png")


def test_pixels_do_not_depend_on_what_is_drawn_beside_them_or_in_which_order(
    drawn: list[ImageRow], spec: StylizedDataset, image_folders: Path
) -> None:
    other = StyleGenerator(replace(spec, images_at_once=5, rows_per_shard=3), "cpu", image_folders / "train")
    assert other.draw([7]) == [drawn[7]]
    order = [int(row) for row in np.random.default_rng(0).permutation(48)]
    parts = [order[:1], order[1:4], order[4:21], order[21:]]
    again = [row for part in parts for row in other.draw(part)]
    assert again == [drawn[row] for row in order]


def noting(seen: set[torch.Size], step: Callable[..., Any]) -> Callable[..., Any]:
    """The step of a network, which keeps the shapes that it is given."""

    def noted(network: StyleTransfer, images: torch.Tensor, *others: Any) -> Any:
        seen.add(images.shape)
        return step(network, images, *others)

    return noted


def test_on_a_cpu_the_network_sees_batches_of_one_size_only(
    spec: StylizedDataset, image_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set[torch.Size]()
    for name in ("statistics", "forward"):
        monkeypatch.setattr(StyleTransfer, name, noting(seen, getattr(StyleTransfer, name)))
    generator = StyleGenerator(spec, "cpu", image_folders / "train")
    for rows in ([0], range(1, 4), range(48)):
        generator.draw(rows)
    assert seen == {(16, 3, 32, 32)}


def test_each_image_takes_a_style_of_its_own_and_its_colors(drawn: list[ImageRow], spec: StylizedDataset) -> None:
    styles = [row.path.split("-stylized-")[1].removesuffix(".png") for row in drawn]
    assert len(set(styles)) > 30
    expected = np.array(
        [np.asarray(Image.open(pocket.STYLES / f"{style}.png").convert("RGB")).mean((0, 1)) for style in styles]
    )
    reached = np.array([colors(row).mean((0, 1)) for row in drawn])
    hue, wanted = (values - values.mean(1, keepdims=True) for values in (reached, expected))
    assert np.corrcoef(hue.ravel(), wanted.ravel())[0, 1] > 0.8


def test_styles_follow_the_seed_and_change_with_the_data_set(spec: StylizedDataset) -> None:
    library = StyleLibrary(pocket.STYLES, 32)
    first = [library.draw(seed) for seed in range(500)]
    assert first == [StyleLibrary(pocket.STYLES, 32).draw(seed) for seed in range(500)]
    counts = np.unique(first, return_counts=True)[1]
    assert len(counts) > 120 and counts.max() < 16
    other = replace(spec, dataset_seed=1)
    assert other.image_seed("circle", 0) != spec.image_seed("circle", 0)


def test_alpha_and_format_are_settings(spec: StylizedDataset, image_folders: Path, drawn: list[ImageRow]) -> None:
    plain = replace(spec, alpha=0.0, image_format="jpeg", jpeg_quality=90)
    rows = StyleGenerator(plain, "cpu", image_folders / "train").draw([0, 1])
    assert [Image.open(io.BytesIO(row.image)).format for row in rows] == ["JPEG", "JPEG"]
    assert rows[0].path.endswith(".jpeg")
    assert np.abs(colors(rows[0]).astype(int) - colors(drawn[0])).mean() > 10


def test_half_precision_draws_nearly_the_same(
    spec: StylizedDataset, image_folders: Path, drawn: list[ImageRow]
) -> None:
    half = replace(spec, precision="bfloat16")
    vars(half)["fingerprint"] = spec.fingerprint  # So that each image takes the same style: seeds come from the set.
    rows = StyleGenerator(half, "cpu", image_folders / "train").draw(range(16))
    differences = [np.abs(colors(a).astype(int) - colors(b)).mean() for a, b in zip(rows, drawn, strict=False)]
    assert 0 < np.mean(differences) < 6


def test_small_and_damaged_styles_are_left_out_and_named(tmp_path: Path) -> None:
    for seed in range(6):
        saved(tmp_path / f"good{seed}.png", seed)
    saved(tmp_path / "small.png", 7, (31, 64))
    saved(tmp_path / "cut.png", 8)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:600])
    (tmp_path / "empty.jpg").write_bytes(b"")
    saved(tmp_path / "wide/painting.jpg", 9, (300, 90))
    library = StyleLibrary(tmp_path, 32)
    chosen = [library.draw(seed) for seed in range(300)]
    assert set(chosen) == {*(f"good{seed}.png" for seed in range(6)), "wide/painting.jpg"}
    assert library.unusable == {
        "small.png": "only 31 x 64 pixels",
        "cut.png": library.unusable["cut.png"],
        "empty.jpg": "empty file",
    }
    shares = np.unique(chosen, return_counts=True)[1]
    assert shares.max() < 2.5 * shares.min()
    assert {library.pixels(name).shape for name in set(chosen)} == {(32, 32, 3)}


def test_the_middle_of_a_style_and_of_a_content_is_taken() -> None:
    wide = np.zeros((64, 192, 3), dtype=np.uint8)
    wide[:, 64:128] = 200
    row = ImageRow(png(wide), "a/0.png", 0, "a", 0)
    assert (content_pixels(row, 32, 32) == 200).all()
    framed = np.full((256, 256, 3), 200, dtype=np.uint8)
    framed[:15] = framed[-15:] = framed[:, :15] = framed[:, -15:] = 0
    cropped = content_pixels(ImageRow(png(framed), "a/0.png", 0, "a", 0), 224, 224)
    assert cropped.shape == (224, 224, 3) and (cropped == 200).all()
    whole = content_pixels(ImageRow(png(framed), "a/0.png", 0, "a", 0), 256, 256)
    np.testing.assert_array_equal(whole, framed)


def test_grey_and_16_bit_contents_are_converted() -> None:
    ramp = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "png")
    pixels = content_pixels(ImageRow(buffer.getvalue(), "a/0.png", 0, "a", 0), 32, 32)
    np.testing.assert_array_equal(pixels, np.repeat((ramp >> 8).astype(np.uint8)[:, :, None], 3, 2))


def test_each_mistake_is_one_sentence(spec: StylizedDataset, image_folders: Path, tmp_path: Path) -> None:
    source = image_folders / "train"
    (tmp_path / "bare").mkdir()
    saved(tmp_path / "tiny/a.png", 1, (9, 9))
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"styles_folder": tmp_path / "none"}, "There is no folder"),
        ({"styles_folder": tmp_path / "bare"}, "There are no style pictures in"),
        ({"styles_folder": tmp_path / "tiny"}, r"a.png \(only 9 x 9 pixels\). Pictures must have 32 pixels or more"),
        ({"network_folder": tmp_path / "bare"}, "Put the style-transfer network there"),
    ]
    for changes, complaint in mistakes:
        with pytest.raises(InputError, match=complaint):
            StyleGenerator(replace(spec, **changes), "cpu", source).draw([0])
    with pytest.raises(InputError, match="is not a data set"):
        StyleGenerator(spec, "cpu", tmp_path / "bare")
    row = ImageRow(b"not a picture", "circle/0.png", 0, "circle", 0)
    publish_dataset(tmp_path / "damaged", [[row]], split="train", class_names=CLASSES, description={})
    with pytest.raises(InputError, match=r"circle/0\.png cannot be stylized: not a picture"):
        StyleGenerator(spec, "cpu", tmp_path / "damaged").draw([0])


def test_the_pocket_styles_are_what_their_script_draws() -> None:
    names = {path.name for path in pocket.STYLES.iterdir()}
    assert names == {f"{family}-{number:02d}.png" for family in FAMILIES for number in range(PER_FAMILY)}
    for family in FAMILIES:
        image = draw_style(family, 3).convert("RGB")
        there = Image.open(pocket.STYLES / f"{family}-03.png").convert("RGB")
        assert image.size == there.size == (64, 64)
        # Not to the last bit: another machine's sine may round elsewhere.
        assert np.abs(np.asarray(image).astype(int) - np.asarray(there)).mean() < 3


def test_the_pocket_stylizer_is_small_and_its_recipe_names_it(spec: StylizedDataset) -> None:
    assert sum(path.stat().st_size for path in pocket.STYLIZER.iterdir()) < 1_000_000
    assert sum(path.stat().st_size for path in pocket.STYLES.iterdir()) < 300_000
    assert isinstance(RECIPE, StyleRecipe)
    assert (spec.network_digest, spec.styles_digest) == (files_digest(pocket.STYLIZER), files_digest(pocket.STYLES))
    assert (spec.images, spec.width, spec.height, spec.alpha) == (48, 32, 32, 1.0)
