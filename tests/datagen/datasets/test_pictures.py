"""A picture file is stored as it is, or as the plain RGB that it shows, or it is corrupt."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from datagen.datasets.decoding import CorruptError
from datagen.datasets.pictures import Picture, checked_picture
from tests.datagen.datasets.test_decoding import with_wrong_checksum
from tests.datagen.importing.folders import encoded, picture

GREY_RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
"""16-bit grey whose high byte counts from 0 to 255."""


def png_of_16_bits(channels: int) -> bytes:
    """A PNG of 16 bits a channel, which PIL can read and not write for colour: all channels are the grey ramp."""
    rows = np.repeat(GREY_RAMP[:, :, None], channels, 2).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2 if channels == 3 else 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def pixels_of(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_a_plain_picture_keeps_its_bytes(mode: str, image_format: str) -> None:
    data = encoded(picture(1, mode=mode), image_format)
    stored = checked_picture(data, resize=16)
    assert stored.encoded == data
    assert not (stored.converted or stored.resized or stored.tiny)


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
