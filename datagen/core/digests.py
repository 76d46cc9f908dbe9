"""Digests of files that a data set is made with: pipelines, adapters, style pictures."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError
from datagen.core.files import file_sha256, write_json

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
SUFFIXES = (".json", ".safetensors", ".txt", ".pth", *PICTURES)
"""Configuration, weights, vocabulary and pictures; a README or a licence does not change what is made."""

NOT_THERE = "not there"
"""Stands for the digest of files that the user has yet to provide, so that a plan can be made before."""


NOT_READ = ("safety_checker",)
"""Parts of a pipeline that are never loaded, so that they do not change what is made."""

REMEMBERED_FROM = 1_000_000
"""Bytes from which a file's digest is remembered between processes: a pipeline has 4 to 14 GB, which take a minute."""


@functools.cache
def file_digest(file: Path) -> str:
    """sha256 (64 hexadecimal digits) of one file, or `NOT_THERE`."""
    return _remembered_sha256(file) if file.is_file() else NOT_THERE


@functools.cache
def files_digest(folder: Path) -> str:
    """sha256 (64 hexadecimal digits) over the names and bytes of a folder's configuration, weights and pictures.

    Raises:
        InputError: it has no such files, or one cannot be read.
    """
    try:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if (folder / "model_index.json").is_file():
            # Of a pipeline only its parts: single-file checkpoints beside them are not read.
            files = [path for path in files if path.parent != folder or path.name == "model_index.json"]
            files = [path for path in files if path.relative_to(folder).parts[0] not in NOT_READ]
        files = [path for path in files if not path.relative_to(folder).parts[0].startswith(".")]
        if not files:
            raise InputError(f"There are no weights or pictures in {folder}. Point to the folder that holds them.")
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(_remembered_sha256(path).encode())
    except OSError as error:
        raise InputError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error
    return digest.hexdigest()


def memory() -> Path:
    """The file that remembers digests: in the user's cache folder (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mindgap" / "digests.json"


def _remembered_sha256(path: Path) -> str:
    """sha256 of a file, taken from memory if path, size and time of last change are the same."""
    state = path.stat()
    if state.st_size < REMEMBERED_FROM:
        return file_sha256(path)
    key, stamp = str(path.resolve()), [state.st_size, state.st_mtime_ns]
    if (known := _recall().get(key)) and known[:2] == stamp:
        return str(known[2])
    digest = file_sha256(path)
    # A file may change twice within one tick of a file system's clock (2 s on some); so new ones are not remembered.
    if time.time_ns() - state.st_mtime_ns > 2_000_000_000:
        _remember(key, [*stamp, digest])
    return digest


def _recall() -> dict[str, list[Any]]:
    try:
        known = json.loads(memory().read_text(encoding="utf-8"))
        return {key: entry for key, entry in known.items() if isinstance(entry, list) and len(entry) == 3}
    except (OSError, ValueError, AttributeError):
        return {}


def _remember(key: str, entry: list[Any]) -> None:
    """Writes one more digest; where the cache folder cannot be written, the file is read again next time."""
    try:
        memory().parent.mkdir(parents=True, exist_ok=True)
        write_json(memory(), {**_recall(), key: entry})
    except OSError:
        pass
