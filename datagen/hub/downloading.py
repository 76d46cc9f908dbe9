"""What every download shares: the question before it, room on the disk, and its progress."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import click
from rich.console import Console
from rich.progress import Task
from rich.table import Table

from datagen.core.errors import InputError
from datagen.core.progress import ImageProgress

LOOKED = 0.5
"""Seconds between two looks at the folder that grows."""


class Wanted(NamedTuple):
    """Something to fetch: what it is, from where, bytes (0: not known), under which licence, and where to."""

    what: str
    source: str
    bytes: int
    licence: str
    folder: Path


class Download(Protocol):
    """Something that can be fetched, once the user agrees."""

    @property
    def wanted(self) -> Wanted:
        """What the user is asked."""

    def fetch(self, console: Console) -> None:
        """Fetches it, and shows its progress."""


def fetch_all(downloads: Sequence[Download], yes: bool, console: Console) -> None:
    """Fetches what the user agrees to, after one question for all.

    Raises:
        InputError: the user does not agree or cannot be asked; or the hub, the network or the disk refuses.
    """
    if downloads:
        _agree([download.wanted for download in downloads], yes, console)
    for download in downloads:
        download.fetch(console)


def _agree(wanted: Sequence[Wanted], yes: bool, console: Console) -> None:
    table = Table("to fetch", "from", "size", "licence", "into", box=None, pad_edge=False)
    for item in wanted:
        table.add_row(item.what, item.source, size_words(item.bytes), item.licence or "not said", str(item.folder))
    console.print(table)
    known = sum(item.bytes for item in wanted)
    console.print(f"{size_words(known)} in all. The licences are yours to keep.")
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("Nothing was fetched. Give --yes to fetch it.")
    if not click.confirm("Fetch it?"):
        raise InputError("Nothing was fetched.")


def size_words(count: int) -> str:
    """A number of bytes for people; "not known" for 0."""
    if not count:
        return "not known"
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def check_room(folder: Path, count: int, what: str) -> None:
    """Refuses a download that the disk has no room for.

    Raises:
        InputError: it says how much is lacking.
    """
    free = shutil.disk_usage(folder).free
    if count > free:
        raise InputError(
            f"{what} takes {size_words(count)}, but {folder} has {size_words(free)} free. Free space; the same command "
            "goes on."
        )


@contextmanager
def shown_download(folder: Path, total: int, name: str, console: Console) -> Iterator[None]:
    """Shows how much of `total` bytes has come into a folder that grows within it."""
    ended = threading.Event()
    with _Bytes(console, "asking the hub", name) as progress:

        def watch() -> None:
            while not ended.wait(LOOKED):
                progress(min(total, grown(folder)), total)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def grown(folder: Path) -> int:
    """The bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # Renamed in between.
            continue
    return total


class _Bytes(ImageProgress):
    def text(self, task: Task) -> str:
        """What is known of the bytes, without the name."""
        if task.total is None:
            return self._starting
        known = f"{size_words(round(task.completed))} of {size_words(round(task.total))}"
        if speed := task.speed:
            minutes, seconds = divmod(round((task.total - task.completed) / speed), 60)
            known += f", {speed / 1e6:,.1f} MB/s, about {minutes}:{seconds:02d} left"
        return known
