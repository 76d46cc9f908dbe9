"""A folder of this machine that mirrors a store in an object store: what is small always, what is large when needed.

The object store is the record; the folder is a cache that all processes of a machine share and that may be deleted
whenever none runs. It is `$MINDGAP_CACHE` or `~/.cache/mindgap`, with a sub-folder for each address.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
from filelock import FileLock

from datagen.core.errors import InputError
from datagen.core.files import file_sha256
from datagen.core.terminal import console_for_errors
from datagen.datasets.shards import MANIFEST, STATISTICS, SUMMARY, ShardRecord, listed_files
from datagen.storage.object_store import Bucket, Item, each

BESIDE = (STATISTICS, SUMMARY)
"""Small files of a data set that its manifest does not list."""
SMALL = (MANIFEST, "model.json", "prediction.json", *BESIDE)
"""Files that are always mirrored: by them plans and reports are made."""

MANY = 200
"""Artifacts that take longer to learn of than a reader should wait without a word: about 50 a second and connection."""


def cache_folder(address: str) -> Path:
    """Where a machine keeps what it has of the object store at `address`."""
    root = os.environ.get("MINDGAP_CACHE") or Path.home() / ".cache" / "mindgap"
    readable = "".join(letter if letter.isalnum() else "-" for letter in address.partition("://")[2])
    return Path(root).absolute() / f"{readable[-40:]}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"


class Mirror:
    """The object store `bucket` and what this machine has of it under `root`; names are paths relative to either."""

    def __init__(self, bucket: Bucket, root: Path) -> None:
        self.bucket, self.root = bucket, root
        self._sizes: dict[str, int] = {}
        self._sent: dict[Path, tuple[int, int]] = {}

    def refresh(self) -> None:
        """Brings all small files up to date, and forgets artifacts that somebody has removed from the object store."""
        found = {item.key: item for part in ("models/", "datasets/", "predictions/") for item in self.bucket.list(part)}
        self._sizes = {key: item.size for key, item in found.items()}
        for manifest in self.root.glob(f"*/*/{MANIFEST}"):
            if self._name(manifest) not in found:
                self._forget_if_gone(manifest)
        small = [item for key, item in found.items() if key.rpartition("/")[2] in SMALL]
        manifests = [item for item in small if item.key.endswith(MANIFEST)]
        new = [item for item in manifests if not self._is_current(item)]
        if len(new) > MANY:
            console_for_errors().print(f"Reading what is new in {self.bucket.address}: {len(new):,} artifacts")
        each(self._bring_small, new)
        each(self._bring_small, [item for item in small if not self._is_current(item)])

    def size(self, name: str) -> int | None:
        """The size of an object at the last `refresh`; None if it was not there."""
        return self._sizes.get(name)

    def bring_artifact(self, folder: str, only: Callable[[str], bool] = lambda file: True) -> bool:
        """Brings a published artifact's files whose names pass `only`; whether it is published.

        Each file is compared with the manifest's checksum as it arrives, once on a machine.

        Raises:
            InputError: a file is not what the manifest says.
        """
        try:
            manifest = self.bucket.item(f"{folder}/{MANIFEST}")
        except FileNotFoundError:
            self._forget(self.root / folder / MANIFEST)
            return False
        if not self._is_current(manifest):
            self._bring_small(manifest)
        wanted = [record for record in listed_files(self.root / folder) if only(record.file)]
        each(lambda record: self._bring_checked(folder, record), wanted)
        self._bring_unlisted(folder)
        return True

    def send_artifact(self, aside: Path, folder: str, unfinished: str) -> None:
        """Publishes the files in `aside` as an artifact, the manifest last: until then it is none.

        Those that are already in the folder `unfinished` of the object store are copied there.
        """
        there = {item.key.rpartition("/")[2]: item.size for item in self.bucket.list(f"{unfinished}/")}

        def send(path: Path) -> None:
            if there.get(path.name) == path.stat().st_size:
                self.bucket.copy(f"{unfinished}/{path.name}", f"{folder}/{path.name}")
            else:
                self.bucket.upload(path, f"{folder}/{path.name}")

        files = [path for path in aside.iterdir() if path.is_file() and not path.name.startswith(".")]
        each(send, [path for path in files if path.name != MANIFEST])
        self.bucket.upload(aside / MANIFEST, f"{folder}/{MANIFEST}")
        for path in files:
            if path.name in SMALL:
                changed = self.bucket.item(f"{folder}/{path.name}").changed
                os.utime(path, (changed, changed))

    def remove(self, folder: str) -> None:
        """Removes a folder of the object store; a manifest goes first: without it there is no artifact."""
        self.bucket.remove([f"{folder}/{MANIFEST}"])
        each(lambda item: self.bucket.remove([item.key]), list(self.bucket.list(f"{folder}/")))

    def bring_folder(self, folder: str, target: Path) -> None:
        """Makes `target` hold what the folder of the object store holds, and nothing else."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        items = list(self.bucket.list(f"{folder}/"))
        files = [target / item.key.removeprefix(f"{folder}/") for item in items]
        each(self.bucket.download, [item.key for item in items], files)
        self._sent |= {path: _state(path) for path in files}

    def send_folder(self, source: Path, folder: str) -> None:
        """Sends the files of `source` that have changed since, and removes those that this process has removed."""
        found = source.iterdir() if source.is_dir() else ()
        files = [path for path in found if path.is_file() and not path.name.startswith(".")]
        changed = [path for path in files if self._sent.get(path) != _state(path)]
        states = {path: _state(path) for path in changed}
        each(lambda path: self.bucket.upload(path, f"{folder}/{path.name}"), changed)
        self._sent |= states
        gone = [path for path in self._sent if path.parent == source and not path.exists()]
        self.bucket.remove([f"{folder}/{path.name}" for path in gone])
        for path in gone:
            del self._sent[path]

    def send(self, path: Path) -> None:
        """Sends a file of the mirror."""
        self.bucket.upload(path, self._name(path))

    def bring(self, name: str) -> None:
        """Brings a file that others write, if there is one."""
        try:
            self.bucket.download(name, self.root / name)
        except FileNotFoundError:
            (self.root / name).unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _is_current(self, item: Item) -> bool:
        """Whether the file here is the object: its time is set to the object's when it is brought."""
        try:
            found = (self.root / item.key).stat()
        except OSError:
            return False
        return found.st_size == item.size and abs(found.st_mtime - item.changed) < 0.001

    def _bring_small(self, item: Item) -> None:
        """Brings a small file; other contents of a manifest make all files beside it those of another artifact."""
        path = self.root / item.key
        if path.name == MANIFEST and path.is_file():
            content = self.bucket.read(item.key)
            if content == path.read_bytes():
                os.utime(path, (item.changed, item.changed))
                return
            self._forget(path)
        self.bucket.download(item.key, path)

    def _bring_checked(self, folder: str, record: ShardRecord) -> None:
        path = self.root / folder / record.file
        if path.is_file() and path.stat().st_size == record.bytes:
            return
        with FileLock(self._lock_file(path)):
            if path.is_file() and path.stat().st_size == record.bytes:
                return
            with self.bucket.downloaded(f"{folder}/{record.file}", path) as aside:
                if file_sha256(aside) != record.sha256:
                    where = f"{self.bucket.address}/{folder}/{record.file}"
                    raise InputError(f"{where} is not what its manifest says. Run the same command with --repair.")

    def _bring_unlisted(self, folder: str) -> None:
        for name in BESIDE:
            if folder.startswith("datasets/") and not (self.root / folder / name).exists():
                self.bring(f"{folder}/{name}")

    def _lock_file(self, path: Path) -> Path:
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        return locks / hashlib.sha256(self._name(path).encode()).hexdigest()[:32]

    def _forget_if_gone(self, manifest: Path) -> None:
        try:
            self.bucket.item(self._name(manifest))  # It may have been published since the objects were listed.
        except FileNotFoundError:
            self._forget(manifest)

    def _forget(self, manifest: Path) -> None:
        manifest.unlink(missing_ok=True)
        shutil.rmtree(manifest.parent, ignore_errors=True)


def process_name() -> str:
    """Tells this process from all others, also of machines and containers that share a home folder."""
    return f"{_machine()}-{os.getpid()}"


def _machine() -> str:
    """Where process ids mean the same: containers on one machine may share its name, and count their own."""
    try:
        return f"{socket.gethostname()}-{re.sub(r'[^0-9]', '', os.readlink('/proc/self/ns/pid'))}"
    except OSError:
        return socket.gethostname()


def remove_leftovers(folder: Path) -> None:
    """Removes sub-folders with the `process_name` of processes of this machine that run no more."""
    for path in folder.iterdir() if folder.is_dir() else ():
        machine, _, process = path.name.rpartition("-")
        if machine == _machine() and process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
