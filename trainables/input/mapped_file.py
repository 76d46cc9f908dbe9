"""A set's images in one file that all processes of a node map: written by the first that needs them.

The system's page cache is the shared memory: a page that is read is there for all, and one that no memory is left for
is read again, so that sets may be larger than memory. Picking batches at random from 8 and from 512 MB took the same
time from a file on a disk as from /dev/shm, which a container limits to 64 MB.

Each set is a folder `mindgap-UID/KEY` with `bytes` and `index.safetensors`, published by renaming, so that it is whole
or absent, in $MINDGAP_CACHE or else where temporary files are. Who uses it holds a shared lock on `bytes`, which ends
with the process however it ends. The last to leave removes the set; what killed processes left behind is removed by the
next that comes, after ten minutes. A set that is removed while mapped lives on for those who have mapped it.
"""

from __future__ import annotations

import atexit
import fcntl
import io
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(os.environ.get("MINDGAP_CACHE") or tempfile.gettempdir())
LEFT_FREE = 0.05
"""Share of the disk that is left to others."""
LEFT_BEHIND_SECONDS = 600
Build = Callable[[BinaryIO], dict[str, Tensor]]
_logger = logging.getLogger(__name__)
_leases: dict[Path, int] = {}
"""The file descriptors that hold this process's locks."""


def mapped_bytes(key: str, size: Callable[[], int], build: Build) -> tuple[Tensor, dict[str, Tensor]]:
    """What `build` writes, as [n] uint8, and the index that it returns; one copy for all processes of this node.

    The mapping is private to the process: writing to it changes nobody else's bytes. Without room for it the bytes
    stay in this process's own memory, which a line in the log tells.

    Args:
        key: names the content; equal keys must mean equal bytes.
        size: how many bytes to expect, roughly; asked before `build`.
        build: writes the bytes and returns tensors that say what is where; called by one process at a time.
    """
    try:
        folder = _own_folder()
        with FileLock(folder / "lock"):
            _discard(folder, LEFT_BEHIND_SECONDS, keep=key)
            entry = folder / key
            index = _read_index(entry)
            if index is None:
                disk, needed = shutil.disk_usage(folder), size()
                if needed > disk.free - LEFT_FREE * disk.total:
                    raise OSError(f"{needed >> 20} MB are needed and {disk.free >> 20} MB free")
                index = _publish(entry, build)
            return _lease(entry), index
    except OSError as error:
        _logger.warning(
            "Every process keeps the images in memory of its own (%s: %s). Set MINDGAP_CACHE to a folder with room.",
            ROOT,
            error.strerror or error,
        )
        buffer = io.BytesIO()
        index = build(buffer)
        return torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8), index


def discard_unused() -> None:
    """Removes the sets that no process uses, and lets go of this process's own."""
    for descriptor in _leases.values():
        os.close(descriptor)
    _leases.clear()
    try:
        folder = _own_folder()
        with FileLock(folder / "lock", timeout=0):
            _discard(folder, 0)
    except (Timeout, OSError):
        return  # someone who builds a set will do it, or the next who comes


def _own_folder() -> Path:
    """This user's folder; another's, or one that others may write to, could serve us anything.

    Raises:
        OSError: it cannot be made or is not ours.
    """
    folder = ROOT / f"mindgap-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OSError(f"{folder} is not this user's own folder")
    return folder


def _read_index(entry: Path) -> dict[str, Tensor] | None:
    """The index of a set if it is whole, that is, if there are as many bytes as it says."""
    try:
        index = load_file(entry / "index.safetensors")
        whole = (entry / "bytes").stat().st_size == int(index["size"])
    except (OSError, KeyError, SafetensorError):
        return None
    return index if whole else None


def _publish(entry: Path, build: Build) -> dict[str, Tensor]:
    aside = entry.with_name(f".{entry.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        with (aside / "bytes").open("wb") as file:
            index = build(file)
            index["size"] = torch.tensor(file.tell())
        save_file(index, aside / "index.safetensors")
        shutil.rmtree(entry, ignore_errors=True)
        aside.rename(entry)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return index


def _lease(entry: Path) -> Tensor:
    if not _leases:
        atexit.register(discard_unused)
    path = entry / "bytes"
    if path not in _leases:
        _leases[path] = os.open(path, os.O_RDONLY)
        fcntl.flock(_leases[path], fcntl.LOCK_SH)
    os.utime(entry)
    return torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)


def _discard(folder: Path, age: float, keep: str = "") -> None:
    """Removes sets, whole or half-written, that nobody holds and that were last taken `age` seconds ago or earlier.

    The caller holds the folder's lock, so that nobody takes or writes one meanwhile.
    """
    for entry in folder.iterdir():
        if entry.name == keep or not entry.is_dir() or time.time() - entry.stat().st_mtime < age:
            continue
        try:
            with (entry / "bytes").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry)
        except OSError:
            continue
