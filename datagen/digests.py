"""Digests of files that a data set is made with: pipelines, adapters, style pictures."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from datagen.errors import InputError
from datagen.shards import file_sha256

SUFFIXES = (".json", ".safetensors", ".txt", ".pth", ".png", ".jpg", ".jpeg", ".webp")
"""Configuration, weights, vocabulary and pictures; a README or a licence does not change what is made."""

NOT_THERE = "not there"
"""Stands for the digest of files that the user has yet to provide, so that a plan can be made before."""


@functools.cache
def file_digest(file: Path) -> str:
    """sha256 (64 hexadecimal digits) of one file, or `NOT_THERE`."""
    return file_sha256(file) if file.is_file() else NOT_THERE


@functools.cache
def files_digest(folder: Path) -> str:
    """sha256 (64 hexadecimal digits) over the names and bytes of a folder's configuration, weights and pictures.

    Raises:
        InputError: it has no such files.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if (folder / "model_index.json").is_file():
        # Of a pipeline only its parts: single-file checkpoints beside them are not read.
        files = [path for path in files if path.parent != folder or path.name == "model_index.json"]
    if not files:
        raise InputError(f"There are no weights or pictures in {folder}. Point to the folder that holds them.")
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(file_sha256(path).encode())
    return digest.hexdigest()
