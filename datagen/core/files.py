"""Files on the disk: written whole or not at all, and checked by checksum."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SEAL = "checksum"
"""The key of a checksum over all else in a JSON file."""


def read_text(path: Path) -> str:
    """A text file's content: UTF-8, or UTF-16 with a byte-order mark as Windows writes it; the mark is dropped.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: it is no such text.
    """
    data = path.read_bytes()
    return data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A new file to write instead of `path`, which it replaces when the block ends.

    Readers meet the file of before or the new one, whole, also after a loss of power: its bytes are flushed to the disk
    before it gets its name. If the block raises, the new file is removed and `path` stays as it is. Several threads and
    processes may do this at once; the last one wins.

    Yields:
        A hidden file's path in the same folder, unlike any other's. It does not end as `path` does: say the format to
        writers that would look for it there.

    Raises:
        OSError: the file cannot be written, flushed or moved.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes `text` in UTF-8, whatever the locale is, as `written_whole` does."""
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Writes `values` as indented JSON, as `written_whole` does."""
    write_text(path, json.dumps(values, indent=2))


def write_sealed_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes values with their checksum among them, so that `read_sealed_json` tells when a digit has changed."""
    write_json(path, sealed(values))


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Reads what `write_sealed_json` has written; files without a checksum, of earlier versions, are taken as they are.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON object, or its checksum differs.
    """
    return unsealed(path.read_bytes())


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their checksum."""
    return {**values, SEAL: _seal(values)}


def unsealed(content: bytes) -> dict[str, Any]:
    """The values in a JSON object that may have a checksum.

    Raises:
        ValueError: it is no JSON object, or its checksum differs.
    """
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    seal = values.pop(SEAL, None)
    if seal is not None and seal != _seal(values):
        raise ValueError("its checksum differs")
    return values


def _seal(values: Mapping[str, Any]) -> str:
    """The same for equal values, however they are written: tuples as lists, in any order of keys."""
    plain = json.loads(json.dumps(dict(values)))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
