"""Putting a finished folder in its place."""

import os
import shutil
from pathlib import Path


def unfinished_folder(final: Path) -> Path:
    """Name the folder in which this process prepares ``final``; leftovers of that name are removed."""
    unfinished = final.with_name(f"{final.name}.unfinished-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    return unfinished


def replace_folder(finished: Path, final: Path) -> None:
    """Move a finished folder to its final name, so that no reader meets a half-written one.

    Args:
        finished: The complete folder, on the same file system as ``final``.
        final: The name it gets; a folder already there is removed.
    """
    old = final.with_name(f"{final.name}.old-{os.getpid()}")
    if final.exists():
        final.rename(old)
    finished.rename(final)
    shutil.rmtree(old, ignore_errors=True)
