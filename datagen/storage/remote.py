"""The store's place in an object store: the same files under the same names, as objects; this machine has a mirror.

An artifact's manifest is its last object: without it there is none. What is unfinished is sent after every epoch and
shard, so that any machine can go on. What is recorded in MLflow's default database stays on the machine that runs the
sweep.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from datagen.datasets.shards import MANIFEST
from datagen.storage.backend import PARTIAL, every_file, move_whole
from datagen.storage.cache import Mirror, cache_folder, process_name, remove_leftovers
from datagen.storage.lock import BucketLock, Lock
from datagen.storage.object_store import Bucket, Item, each


class RemoteBackend:
    """An object store, and what this machine has of it."""

    shared = False

    def __init__(self, bucket: Bucket) -> None:
        self.location, self.root = bucket.address, cache_folder(bucket.address)
        self.lock: Lock = BucketLock(bucket)
        self._bucket, self._mirror = bucket, Mirror(bucket, self.root)

    def connect(self) -> None:
        self._bucket.check()

    def prepare(self) -> None:
        self._bucket.check()
        remove_leftovers(self.root / PARTIAL)

    def refresh(self) -> None:
        self._mirror.refresh()

    def read(self, name: str) -> bytes:
        return self._bucket.read(name)

    def read_part(self, name: str, start: int, length: int) -> bytes:
        return self._bucket.read_part(name, start, length)

    def write(self, name: str, content: bytes) -> None:
        self._bucket.write(name, content)

    def list(self, folder: str) -> list[Item]:
        return list(self._bucket.list(f"{folder}/"))

    def remove_files(self, names: Sequence[str]) -> None:
        each(lambda name: self._bucket.remove([name]), names)
        for name in names:
            (self.root / name).unlink(missing_ok=True)
            if name.startswith(f"{PARTIAL}/"):
                self._forget_copies(name.removeprefix(f"{PARTIAL}/"))

    def _forget_copies(self, name: str) -> None:
        """Removes what processes of this machine have of a file of unfinished work, and folders that are empty then."""
        for path in list((self.root / PARTIAL).glob(f"*/{name}")):
            path.unlink(missing_ok=True)
            for folder in (path.parent, path.parent.parent):
                with suppress(OSError):
                    folder.rmdir()

    def rename_files(self, names: Mapping[str, str]) -> None:
        each(self._bucket.copy, list(names), list(names.values()))
        self.remove_files(list(names))

    def bring(self, folder: str, only: Callable[[str], bool] = every_file) -> bool:
        return self._mirror.bring_artifact(folder, only)

    def publish(self, aside: Path, folder: str) -> None:
        """The object store has the artifact before this machine does, so that what is here is always there.

        Shards of a data set are there already, and copied without passing through here.
        """
        self._mirror.send_artifact(aside, folder, f"{PARTIAL}/{aside.name}")
        move_whole(aside, self.root / folder)
        self._mirror.remove(f"{PARTIAL}/{aside.name}")

    def remove(self, folder: str) -> None:
        self._mirror.remove(folder)
        (self.root / folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.root / folder, ignore_errors=True)

    def size(self, name: str) -> int:
        """As it was at the last `refresh`; of what is new since, as it is."""
        known = self._mirror.size(name)
        return self._bucket.item(name).size if known is None else known

    def sha256(self, name: str) -> str:
        return self._bucket.sha256(name)

    def unfinished(self, name: str) -> Path:
        return self.root / PARTIAL / process_name() / name

    def bring_unfinished(self, name: str) -> None:
        self._mirror.bring_folder(f"{PARTIAL}/{name}", self.unfinished(name))

    def keep_unfinished(self, name: str) -> None:
        self._mirror.send_folder(self.unfinished(name), f"{PARTIAL}/{name}")

    def bring_folder(self, folder: str) -> None:
        items = self.list(folder)
        each(self._bucket.download, [item.key for item in items], [self.root / item.key for item in items])

    def send(self, paths: Sequence[Path]) -> None:
        each(self._mirror.send, paths)

    def log_name(self, name: str) -> str:
        """Every process has a log of its own, for objects cannot be appended to."""
        return f"{name}.{process_name()}.log"
