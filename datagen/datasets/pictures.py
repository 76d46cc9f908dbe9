"""Checks picture files by decoding them, and makes plain RGB of those that are not plain."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from datagen.datasets.decoding import FORMATS, CorruptError, as_rgb, check_png, decoded_image, reason_of

JPEG_FORMATS = ("JPEG", "MPO")
"""As Pillow calls them: cameras append further pictures to a JPEG (MPO), which decoders pass over."""
UPRIGHT, _ORIENTATION = 1, 0x0112
TINY = 8
"""Pictures with a side below this many pixels are valid, but counted: they are seldom meant."""


@dataclass(frozen=True)
class Picture:
    """A picture as it is stored, and what was done to it."""

    encoded: bytes
    converted: bool
    resized: bool
    tiny: bool
    turned: bool = False


def checked_picture(data: bytes | None, resize: int | None = None) -> Picture:
    """Decodes a file's bytes, and encodes them anew where they are not plain or where `resize` asks for it.

    An EXIF orientation is applied, so that what is stored is upright for every reader: a JPEG's pixels are encoded anew
    at quality 95 without chroma subsampling, other formats as PNG.

    Args:
        data: the file's bytes, None if there is no such file.
        resize: if the shorter side is longer than this many pixels, it is made as long (bicubic, JPEG quality 95).

    Raises:
        CorruptError: the bytes are no whole picture.
    """
    with _opened(data) as (image, content):
        plain = _is_plain(image, content)
        image.load()
        short, tiny = min(image.size), min(image.size) < TINY
        smaller = resize is not None and short > resize
        turned = _orientation(image) != UPRIGHT
        if plain and not smaller and not turned:
            decoded_image(content)  # It is stored as it is: the decoder that training uses must take it, too.
            return Picture(content, False, False, tiny)
        pixels = ImageOps.exif_transpose(image) if turned else image
        pixels = pixels.copy() if plain else as_rgb(pixels)
        lossy = plain and image.format in JPEG_FORMATS
    if resize is not None and smaller:
        return Picture(_encoded(made_smaller(pixels, resize), "jpeg", quality=95), not plain, True, tiny, turned)
    encoded = _encoded(pixels, "jpeg", quality=95, subsampling=0) if lossy else _encoded(pixels, "png")
    return Picture(encoded, not plain, False, tiny, turned)


def made_smaller(image: Image.Image, size: int) -> Image.Image:
    """The picture with a shorter side of `size` pixels, bicubic with antialiasing; a smaller one as it is.

    The one resampling of real images and of synthetic ones, so that a gap between them is not its.
    """
    short = min(image.size)
    if short <= size:
        return image
    width, height = (int(size * side / short) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def stored_bytes(pixels: np.ndarray, image_format: str, jpeg_quality: int, size: int) -> bytes:
    """Encodes what a network has drawn.

    Args:
        pixels: (height, width, 3), uint8.
        image_format: "jpeg" or "png".
        jpeg_quality: 1..100, of "jpeg".
        size: as `made_smaller` takes it; 0 leaves the size.
    """
    image = Image.fromarray(pixels)
    options = {"quality": jpeg_quality} if image_format == "jpeg" else {}
    return _encoded(made_smaller(image, size) if size else image, image_format, **options)


def rgb_picture(data: bytes | None, enough: int | None = None) -> Image.Image:
    """Decodes a file's bytes to 8-bit RGB, as `checked_picture` converts.

    Args:
        data: the file's bytes, None if there is no such file.
        enough: a larger JPEG may be decoded at 1/2, 1/4 or 1/8 of its size that has this many pixels on each side.

    Raises:
        CorruptError: the bytes are no whole picture.
    """
    with _opened(data) as (image, _):
        if enough is not None:
            image.draft("RGB", (enough, enough))
        image.load()
        return as_rgb(image)


@contextmanager
def _opened(data: bytes | None) -> Iterator[tuple[Image.Image, bytes]]:
    """The picture that a file's bytes hold, with the bytes; whatever decoding raises becomes a CorruptError."""
    if not data:
        raise CorruptError("a link to nothing, or no file" if data is None else "empty file")
    check_png(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes and damaged metadata, which do not matter here
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                yield image, data
    except UnidentifiedImageError:
        raise CorruptError("not a picture") from None
    except (MemoryError, CorruptError):
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files, SyntaxError and struct.error included
        raise CorruptError(reason_of(error)) from None


def _is_plain(image: Image.Image, data: bytes) -> bool:
    if image.mode not in ("RGB", "L"):
        return False
    if image.format in JPEG_FORMATS:
        return True
    # PIL shows a PNG of 16 bits a channel as 8-bit RGB; its header (byte 24: bits a channel) tells.
    still = getattr(image, "n_frames", 1) == 1
    return image.format == "PNG" and still and data[24] == 8 and "transparency" not in image.info


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, UPRIGHT)
    except Exception:  # Damaged metadata raises nearly anything, and says nothing.
        return UPRIGHT
    return value if value in range(2, 9) else UPRIGHT


def _encoded(image: Image.Image, image_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()
