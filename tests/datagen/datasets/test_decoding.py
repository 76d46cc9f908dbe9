"""The decoder: its pixels are torchvision's, and no bytes end the process."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from datagen import pocket
from datagen.core.errors import InputError
from datagen.datasets import pictures
from datagen.datasets.decoding import CorruptError, decoded_image
from datagen.datasets.pictures import checked_picture, rgb_picture
from datagen.datasets.pixel_statistics import dataset_statistics
from datagen.datasets.shards import STATISTICS, publish_dataset, read_manifest, read_rows
from datagen.datasets.source_rows import SourceRows
from datagen.datasets.spec import RealDataset
from orchestrator.planning.plan import repair
from orchestrator.storage.images import check_shards
from orchestrator.storage.store import Store
from tests.conftest import CLASSES, noisy_rows
from trainables.input import mapped_file
from trainables.input.data import load_images


def picture(mode: str, height: int = 61, width: int = 47) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_wrong_checksum(png: bytes, chunk: bytes = b"IDAT") -> bytes:
    """The PNG with one bit of a chunk's checksum flipped: the picture itself is whole."""
    start = png.index(chunk)
    place = start + 4 + int.from_bytes(png[start - 4 : start], "big")
    return png[:place] + bytes([png[place] ^ 1]) + png[place + 1 :]


WHOLE = {
    "colour PNG": encoded(picture("RGB"), "png"),
    "grey PNG": encoded(picture("L"), "png"),
    "palette PNG": encoded(picture("P"), "png"),
    "PNG with transparency": encoded(picture("RGBA"), "png"),
    "PNG of one pixel": encoded(picture("RGB", 1, 1), "png"),
    "JPEG": encoded(picture("RGB"), "jpeg", quality=90),
    "grey JPEG": encoded(picture("L"), "jpeg"),
    "progressive JPEG": encoded(picture("RGB"), "jpeg", progressive=True, subsampling=0),
    "CMYK JPEG": encoded(picture("CMYK"), "jpeg"),
    "WebP": encoded(picture("RGB"), "webp", lossless=True),
}


@pytest.mark.parametrize("data", list(WHOLE.values()), ids=WHOLE)
def test_pixels_are_torchvisions_to_the_bit(data: bytes) -> None:
    theirs = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    ours = decoded_image(data)
    assert torch.equal(ours, theirs)
    assert torch.equal(decoded_image(memoryview(data)), theirs)


def test_pixels_of_the_pocket_images_are_torchvisions_to_the_bit() -> None:
    batch = next(read_rows(pocket.IMAGES / "validation"))
    for data in batch.column("image").field("bytes").to_pylist():
        theirs = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
        assert torch.equal(decoded_image(data), theirs)


@pytest.mark.parametrize("chunk", [b"IHDR", b"IDAT", b"IEND"])
@pytest.mark.parametrize("decode", [decoded_image, checked_picture, rgb_picture])
def test_a_png_with_a_wrong_checksum_is_corrupt_for_import_and_training_alike(decode: object, chunk: bytes) -> None:
    with pytest.raises(CorruptError, match=f"checksum differs.*{chunk.decode()}"):
        decode(with_wrong_checksum(encoded(picture("RGB"), "png"), chunk))  # type: ignore[operator]


def test_what_training_cannot_decode_is_corrupt_at_import_whatever_pillow_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(encoded: bytes) -> None:
        raise CorruptError("training cannot decode it")

    monkeypatch.setattr(pictures, "decoded_image", refuse)
    with pytest.raises(CorruptError, match="training cannot decode it"):
        checked_picture(WHOLE["JPEG"])


def test_a_picture_that_is_converted_is_checked_first() -> None:
    with pytest.raises(CorruptError, match="checksum differs"):
        checked_picture(with_wrong_checksum(encoded(picture("P"), "png")))


def test_every_truncation_is_corrupt_and_every_flip_is_a_picture_or_corrupt(tmp_path: Path) -> None:
    """In a process of its own: torchvision's PNG decoder would end it."""
    assert run("fuzz_pictures", str(tmp_path)) == 0


def fuzz_pictures(unused: str) -> None:
    chance = random.Random(0)
    for data in WHOLE.values():
        for place in {0, 1, 2, 3, 8, len(data) - 4, *(chance.randrange(len(data) - 2) for _ in range(50))}:
            with pytest.raises(CorruptError):
                decoded_image(data[:place])
        for _ in range(200):
            flipped = bytearray(data)
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            try:
                assert decoded_image(bytes(flipped)).dtype == torch.uint8
            except CorruptError as error:
                assert str(error)


def test_a_flip_anywhere_in_a_stored_shard_is_told_before_its_bytes_are_parsed(tmp_path: Path) -> None:
    assert run("fuzz_shard", str(tmp_path)) == 0


def fuzz_shard(root: str) -> None:
    folder, mapped_file.ROOT = Path(root) / "set", Path(root)
    shutil.copytree(pocket.IMAGES / "validation", folder)
    (folder / STATISTICS).unlink()
    (shard,) = read_manifest(folder).shards
    path, chance = folder / shard.file, random.Random(0)
    whole = path.read_bytes()
    regions = 24
    for region in range(regions):
        flipped = bytearray(whole)
        place = region * len(whole) // regions + chance.randrange(len(whole) // regions)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        for read in (
            lambda: load_images(folder, check_shards),
            lambda: dataset_statistics(folder),
            lambda: SourceRows(folder).read([0]),
        ):
            with pytest.raises(InputError, match="checksum differs"):
                read()


def test_an_image_that_training_cannot_decode_is_named_with_its_set_and_what_to_do(tmp_path: Path) -> None:
    folder = set_with_a_bad_picture(tmp_path)
    with pytest.raises(InputError, match=rf"circle/bad\.png in {folder} cannot be decoded: a checksum .* Import or"):
        load_images(folder, check_shards)


def test_repair_finds_a_real_image_that_cannot_be_decoded(tmp_path: Path) -> None:
    folder = set_with_a_bad_picture(tmp_path / "set")
    manifest = read_manifest(folder)
    real = RealDataset(
        name="real", class_names=CLASSES, split="train", digest=manifest.digest, rows=manifest.rows, folder=folder
    )
    with pytest.raises(InputError, match=r"circle/bad\.png in .* cannot be decoded.* Import or generate"):
        repair(SimpleNamespace(artifacts=(real,)), Store(tmp_path / "store").create())  # type: ignore[arg-type]


def set_with_a_bad_picture(folder: Path) -> Path:
    """A set whose shards are whole, as an import has made it that looked less closely."""
    good, *rows = noisy_rows(2, seed=0)
    bad = replace(good, image=with_wrong_checksum(good.image), path="circle/bad.png")
    publish_dataset(folder, [[*rows, bad]], split="train", class_names=CLASSES, description={})
    return folder


def run(what: str, argument: str) -> int:
    """Calls a function of this module in a process of its own; returns how that ended, -11 for a crash."""
    code = f"import sys; from tests.datagen.datasets import test_decoding; test_decoding.{what}(sys.argv[1])"
    return subprocess.run([sys.executable, "-c", code, argument], check=False, timeout=300).returncode
