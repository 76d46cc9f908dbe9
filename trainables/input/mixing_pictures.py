"""A user's folder of pictures as PixMix's mixing set: what it holds and its digest. No torch here, for the plan."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datagen.core.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
"""What `datagen.datasets.decoding` decodes."""
READERS = 8


def picture_files(folder: Path) -> list[Path]:
    """The picture files anywhere below a folder, by name; a mixing set's pictures are numbered in this order.

    Raises:
        InputError: there are none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        kinds = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        raise InputError(
            f"There are no pictures ({kinds}) in {folder}. Point mixing_pictures to a folder that has some."
        )
    return files


def digest_of(folder: Path) -> str:
    """sha256 (64 hexadecimal digits) over the pictures' bytes in order: elsewhere, or renamed in order, the same.

    PixMix's own set of 1.6 GB takes about a second and a half from memory on one core.

    Raises:
        InputError: there are none, or one cannot be read.
    """
    try:
        with ThreadPoolExecutor(READERS) as readers:
            digests = list(readers.map(_file_digest, picture_files(folder)))
    except OSError as error:
        raise InputError(f"The picture {error.filename} cannot be read: {error.strerror}.") from error
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
