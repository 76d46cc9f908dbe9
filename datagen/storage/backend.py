"""What a store's place must be able to do, and the place that is a folder; `remote.py` has the one in an object store.

Names are paths relative to the store, with slashes. Files of artifacts lie under the same names in either place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from datagen.core.errors import InputError
from datagen.core.files import file_sha256, written_whole
from datagen.datasets.shards import MANIFEST
from datagen.storage.lock import FolderLock, Lock
from datagen.storage.object_store import Item

PARTIAL = "partial"


def every_file(name: str) -> bool:
    """Chooses all files of an artifact."""
    return True


class Backend(Protocol):
    """A place that keeps a store's files.

    Attributes:
        location: the folder, or the address of the object store; every node understands it.
        root: the folder of this machine in which files are read and written.
        lock: tells the store's owner.
        shared: whether all nodes see `root`.

    Methods raise OSError while the place cannot be reached.
    """

    location: str
    root: Path
    lock: Lock
    shared: bool

    def connect(self) -> None:
        """Refuses a place that does not answer.

        Raises:
            InputError: it does not.
        """

    def prepare(self) -> None:
        """Makes the place ready to be written to.

        Raises:
            InputError: it cannot be made or written.
        """

    def refresh(self) -> None:
        """Learns which artifacts there are, and reads what is small of them."""

    def read(self, name: str) -> bytes:
        """A file's bytes as they are there now.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def read_part(self, name: str, start: int, length: int) -> bytes:
        """Some bytes of a file, fewer at its end."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file whole, in place of what was there."""

    def list(self, folder: str) -> list[Item]:
        """The files below a folder, for example "partial"."""
        ...

    def remove_files(self, names: Sequence[str]) -> None:
        """Removes files, and the folders that are empty then; those that are not there are no error."""

    def rename_files(self, names: Mapping[str, str]) -> None:
        """Renames files: former names to new ones."""

    def bring(self, folder: str, only: Callable[[str], bool] = every_file) -> bool:
        """Makes those files of an artifact readable below `root` whose names pass `only`; whether it is published.

        Raises:
            InputError: a file is not what the manifest says.
        """
        ...

    def publish(self, aside: Path, folder: str) -> None:
        """Moves a folder of this machine, with its manifest, to its place, unless an artifact is there already."""

    def remove(self, folder: str) -> None:
        """Removes an artifact, its manifest first: without that there is none, whatever happens next."""

    def size(self, name: str) -> int:
        """The size of a file in bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def sha256(self, name: str) -> str:
        """sha256 of a file's bytes, 64 hexadecimal digits."""
        ...

    def unfinished(self, name: str) -> Path:
        """The folder of this machine where this process has the unfinished work of that name."""
        ...

    def bring_unfinished(self, name: str) -> None:
        """Makes what is kept of unfinished work readable in `unfinished(name)`."""

    def keep_unfinished(self, name: str) -> None:
        """Keeps what has changed in `unfinished(name)`, and forgets what this process has removed there."""

    def bring_folder(self, folder: str) -> None:
        """Makes all files of a folder that holds no artifact readable below `root`."""

    def send(self, paths: Sequence[Path]) -> None:
        """Keeps files below `root` where other machines can read them."""

    def log_name(self, name: str) -> str:
        """The name of this process's log, to which it appends."""
        ...


class FolderBackend:
    """A folder that every node sees."""

    shared = True

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.location = str(self.root)
        self.lock: Lock = FolderLock(self.root)

    def connect(self) -> None:
        pass

    def prepare(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise InputError(
                f"The store {self.root} cannot be written ({error.strerror}). Choose another folder with --store."
            ) from error

    def refresh(self) -> None:
        pass

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def read_part(self, name: str, start: int, length: int) -> bytes:
        with (self.root / name).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def write(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as aside:
            aside.write_bytes(content)

    def list(self, folder: str) -> list[Item]:
        found = []
        for path in (self.root / folder).rglob("*"):
            with suppress(FileNotFoundError):  # A drawing of images may be at work here.
                if path.is_file():
                    state = path.stat()
                    found.append(Item(path.relative_to(self.root).as_posix(), state.st_size, state.st_mtime))
        return found

    def rename_files(self, names: Mapping[str, str]) -> None:
        for former, name in names.items():
            (self.root / former).replace(self.root / name)

    def remove_files(self, names: Sequence[str]) -> None:
        for name in names:
            (self.root / name).unlink(missing_ok=True)
        places = {tuple(name.split("/")[:2]) for name in names}
        # <fingerprint>.lock and <fingerprint>.<process> lie beside <fingerprint>.
        for kind, place in places | {(kind, place.partition(".")[0]) for kind, place in places}:
            for folder, _, _ in os.walk(self.root / kind / place, topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)

    def bring(self, folder: str, only: Callable[[str], bool] = every_file) -> bool:
        return (self.root / folder / MANIFEST).is_file()

    def publish(self, aside: Path, folder: str) -> None:
        move_whole(aside, self.root / folder)

    def remove(self, folder: str) -> None:
        (self.root / folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.root / folder, ignore_errors=True)

    def size(self, name: str) -> int:
        return (self.root / name).stat().st_size

    def sha256(self, name: str) -> str:
        return file_sha256(self.root / name)

    def unfinished(self, name: str) -> Path:
        return self.root / PARTIAL / name

    def bring_unfinished(self, name: str) -> None:
        pass

    def keep_unfinished(self, name: str) -> None:
        pass

    def bring_folder(self, folder: str) -> None:
        pass

    def send(self, paths: Sequence[Path]) -> None:
        pass

    def log_name(self, name: str) -> str:
        return f"{name}.log"


def move_whole(aside: Path, folder: Path) -> None:
    """Moves a finished artifact to its place on this machine."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).is_file():
        # A worker that outlived its driver for a moment has published the same.
        shutil.rmtree(aside, ignore_errors=True)
        return
    if folder.exists():
        # A folder without a manifest: what is left of a removed artifact.
        shutil.rmtree(folder)
    aside.rename(folder)
