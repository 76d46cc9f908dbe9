"""The one decoder of the images that are imported, stored and trained with: no bytes, however damaged, end a process.

torchvision's JPEG decoder refuses damaged files by an error. Its PNG decoder ends the process where a checksum is
wrong, so PNG is Pillow's, which gives the same pixels; and since Pillow passes over a wrong checksum of pixel data, the
checksums are compared here. Other formats, which only mixing pictures have, are Pillow's too.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, features

from datagen.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *(("AVIF",) if features.check("avif") else ()))
"""What a file may hold, whatever its name ends in: ImageNet itself has a PNG that is called .JPEG."""
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


class CorruptError(Exception):
    """A file holds no whole picture; the message says why."""


def decoded_image(encoded: bytes | memoryview) -> Tensor:
    """Decodes a picture to RGB [3, height, width] uint8; of an animation, the first frame.

    Transparency is dropped, and an EXIF orientation is not applied.

    Raises:
        CorruptError: the bytes are no whole picture.
    """
    import torch

    if bytes(encoded[:3]) == _JPEG:
        from torchvision.io import ImageReadMode, decode_jpeg

        try:
            # A copy, because torch wants bytes that may be written to.
            return decode_jpeg(torch.frombuffer(bytearray(encoded), dtype=torch.uint8), ImageReadMode.RGB)
        except (RuntimeError, ValueError) as error:
            raise CorruptError(reason_of(error)) from None
    check_png(encoded)
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            image.load()
            pixels = np.array(as_rgb(image))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files, SyntaxError and struct.error included
        raise CorruptError(reason_of(error)) from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def check_png(encoded: bytes | memoryview) -> None:
    """Compares every checksum of a PNG, up to its end; passes other formats.

    Raises:
        CorruptError: one differs, or the file ends too early.
    """
    if bytes(encoded[:8]) != _PNG:
        return
    content, place, kind = memoryview(encoded), 8, b""
    while kind != b"IEND":
        if place + 12 > len(content):
            raise CorruptError("image file is truncated")
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            raise CorruptError("image file is truncated")
        if zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise CorruptError(f"a checksum differs (PNG chunk {kind.decode('ascii', 'replace')})")
        place = end + 4


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture as 8-bit RGB, without transparency."""
    if image.mode.startswith("I;16"):
        # PIL would clip 16-bit grey at 255 instead of scaling it.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def undecodable(folder: Path, path: str, error: CorruptError) -> InputError:
    """What to say of an image of a stored data set."""
    return InputError(
        f"The image {path} in {folder} cannot be decoded: {error}. Import or generate the data set again."
    )


def reason_of(error: Exception) -> str:
    """The first line of what a decoder says."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
