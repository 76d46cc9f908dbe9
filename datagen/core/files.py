"""Files on the disk: written atomically, checked by checksum, and the pictures of a folder."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from datagen.core.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Endings of picture files, in any case."""


class FoundFile(NamedTuple):
    """A picture file: its path below the class's folder, with slashes; its size in bytes and time of last change."""

    name: str
    size: int
    changed_ns: int


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, values: Any) -> None:
    """Writes `values` as indented JSON, atomically and flushed to the disk."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w") as file:
        json.dump(values, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def picture_files(folder: Path) -> tuple[list[FoundFile], int]:
    """The picture files in `folder` and its sub-folders, sorted by name, and the number of other files there.

    Links are followed, each folder once. Hidden files and folders are passed over: file managers and macOS archives
    leave such beside pictures. A link to nothing counts as a picture file of size -1, so that it will be named.

    Raises:
        InputError: a folder cannot be read.
    """
    found: list[FoundFile] = []
    others = 0
    waiting, visited = [("", str(folder))], {os.path.realpath(folder)}
    try:
        while waiting:
            prefix, path = waiting.pop()
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        if (real := os.path.realpath(entry.path)) not in visited:
                            visited.add(real)
                            waiting.append((f"{prefix}{entry.name}/", entry.path))
                    elif not entry.name.lower().endswith(SUFFIXES):
                        others += 1
                    elif entry.is_file():
                        state = entry.stat()
                        found.append(FoundFile(prefix + entry.name, state.st_size, state.st_mtime_ns))
                    else:
                        found.append(FoundFile(prefix + entry.name, -1, 0))
    except OSError as error:
        raise InputError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error
    return sorted(found), others
