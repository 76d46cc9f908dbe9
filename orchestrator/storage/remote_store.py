"""The store in an object store: the same artifacts under the same names, as objects; this machine has a mirror of it.

An artifact's manifest is its last object: without it there is none. What is unfinished is sent after every epoch and
shard, so that any machine can go on. The default MLflow database stays on the machine that runs the sweep.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from datagen.core.errors import InputError
from datagen.datasets.shards import ShardRecord, read_manifest
from datagen.datasets.spec import DatasetSpec, GeneratedDataset, RealDataset
from datagen.generation.shared_folder import SharedFolder
from orchestrator.storage.cache import SMALL, Mirror, cache_folder, process_name, remove_leftovers
from orchestrator.storage.lock import BucketLock
from orchestrator.storage.object_store import Bucket, Item, ReplacedError, each, is_address
from orchestrator.storage.store import FORMAT, LEDGER, Store, StoredModel
from trainables.spec import TrainingSpec

STATUS_SECONDS = 10.0
"""The status is sent at most this often."""


def store_at(location: str | Path) -> Store:
    """The store in a folder, or at an address such as s3://bucket/folder.

    Raises:
        InputError: the address is of an unknown kind.
    """
    if isinstance(location, str) and is_address(location):
        return RemoteStore(Bucket(location))
    return Store(Path(location))


class RemoteStore(Store):
    """A store in an object store. Its methods raise `BucketError`, an OSError, while that cannot be reached."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(cache_folder(bucket.address))
        self._bucket, self._lock = bucket, BucketLock(bucket)
        self._mirror = Mirror(bucket, self.root)
        self._status_sent = 0.0

    @property
    def location(self) -> str:
        """See `Store`."""
        return self._bucket.address

    def open(self) -> Store:
        """Writes the format if there is none, and checks that this version can use it."""
        self._bucket.check()
        try:
            self._bucket.create("store.json", json.dumps({"format": FORMAT}).encode())
        except ReplacedError:
            pass
        except FileNotFoundError:
            raise InputError(f"There is no bucket for {self.location}. Make it, or give another --store.") from None
        remove_leftovers(self.root / "partial")
        return super().open()

    @contextmanager
    def owned(self, purpose: str) -> Iterator[None]:
        """See `Store`. What others have done until then is known from here on."""
        with super().owned(purpose):
            self.refresh()
            yield

    def exists(self) -> bool:
        """See `Store`."""
        self._mirror.bring("store.json")
        return super().exists()

    def check_format(self) -> None:
        """See `Store`."""
        self._bucket.check()
        self._mirror.bring("store.json")
        super().check_format()

    def refresh(self) -> None:
        """See `Store`."""
        self._mirror.refresh()

    def has_by_now(self, spec: DatasetSpec | TrainingSpec) -> bool:
        """See `Store`."""
        if isinstance(spec, RealDataset):
            return self.has(spec)
        return self._mirror.bring_artifact(self._name(self._folder(spec)), lambda file: file in SMALL)

    def bring(self, spec: DatasetSpec | TrainingSpec) -> None:
        """See `Store`. Shards and weights are brought once for all processes of a machine."""
        if not isinstance(spec, RealDataset):
            self._mirror.bring_artifact(self._name(self._folder(spec)))

    def bring_samples(self, spec: DatasetSpec) -> None:
        """See `Store`. The first shard of images that are drawn from prompts has all classes."""
        if isinstance(spec, GeneratedDataset) and self.has(spec):
            first = read_manifest(self.dataset_folder(spec)).shards[0].file
            self._mirror.bring_artifact(self._name(self._folder(spec)), lambda file: file == first)
        else:
            self.bring(spec)

    def partial_folder(self, fingerprint: str) -> Path:
        """Where this process keeps unfinished work; `keep_unfinished` sends it."""
        return self.root / "partial" / process_name() / fingerprint

    def bring_unfinished(self, fingerprint: str) -> None:
        """See `Store`."""
        self._mirror.bring_folder(f"partial/{fingerprint}", self.partial_folder(fingerprint))

    def keep_unfinished(self, fingerprint: str) -> None:
        """See `Store`."""
        self._mirror.send_folder(self.partial_folder(fingerprint), f"partial/{fingerprint}")

    def forget_epochs(self, spec: TrainingSpec) -> None:
        """See `Store`."""
        folder = f"partial/{spec.cohort}"
        if not any(True for _ in self._bucket.list(f"{folder}/")):
            return
        self.bring_unfinished(spec.cohort)
        super().forget_epochs(spec)
        self._mirror.send_folder(self.partial_folder(spec.cohort), folder)

    def clear_partial(self) -> None:
        """See `Store`. What dead processes of this machine have left in its cache goes too: the store has it."""
        remove_leftovers(self.root / "partial")
        super().clear_partial()

    def list_files(self, folder: str) -> list[Item]:
        """See `Store`."""
        return list(self._bucket.list(f"{folder}/"))

    def read_part(self, name: str, start: int, length: int) -> bytes:
        """See `Store`."""
        return self._bucket.read_part(name, start, length)

    def remove_files(self, names: Sequence[str]) -> None:
        """See `Store`."""
        each(lambda name: self._bucket.remove([name]), names)

    def shared_folder(self, fingerprint: str) -> SharedFolder:
        """See `Store`."""
        return UnfinishedDataset(self.location, fingerprint)

    def open_log(self, name: str, header: str) -> TextIO:
        """See `Store`. Every process has a log of its own, for objects cannot be appended to."""
        return super().open_log(f"{name}.{process_name()}", header)

    def keep_log(self, name: str) -> None:
        """See `Store`. A log that cannot be sent stops no training."""
        try:
            self._mirror.send(self.root / "logs" / f"{name}.{process_name()}.log")
        except OSError:
            pass

    def logs(self) -> Iterator[tuple[str, str]]:
        """See `Store`."""
        items = list(self._bucket.list("logs/"))
        each(self._bucket.download, [item.key for item in items], [self.root / item.key for item in items])
        return super().logs()

    def remove_logs(self, name: str) -> None:
        """See `Store`."""
        super().remove_logs(name)
        keys = [item.key for item in self._bucket.list("logs/") if item.key.startswith(f"logs/{name}.")]
        self._bucket.remove(keys)

    def read_model(self, spec: TrainingSpec) -> StoredModel:
        """See `Store`."""
        if not self.has(spec):
            self.has_by_now(spec)
        return super().read_model(spec)

    def remove(self, spec: DatasetSpec | TrainingSpec) -> None:
        """See `Store`."""
        if not isinstance(spec, RealDataset):
            self._mirror.remove(self._name(self._folder(spec)))
        super().remove(spec)

    def write_status(self, study: str, scale: str, status: Mapping[str, Any]) -> None:
        """See `Store`. It is not sent as often as it is written."""
        super().write_status(study, scale, status)
        if time.monotonic() - self._status_sent > STATUS_SECONDS:
            self._status_sent = time.monotonic()
            self._mirror.send(self.study_folder(study, scale) / "status.json")

    def read_status(self, study: str, scale: str) -> dict[str, Any]:
        """See `Store`."""
        self._mirror.bring(self._name(self.study_folder(study, scale) / "status.json"))
        return super().read_status(study, scale)

    def write_ledger(self, study: str, scale: str, ledger: Mapping[str, Any]) -> None:
        """See `Store`."""
        super().write_ledger(study, scale, ledger)
        self._mirror.send(self.study_folder(study, scale) / LEDGER)

    def write_speed(self, scale: str, speed: Mapping[str, float]) -> None:
        """See `Store`."""
        super().write_speed(scale, speed)
        self._mirror.send(self.root / "speed.json")

    def keep_report(self, study: str, scale: str) -> None:
        """See `Store`. What was recorded in MLflow is this machine's matter: its database may be here."""
        folder = self.study_folder(study, scale)
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
        each(self._mirror.send, [path for path in files if path.name != "recorded.json"])

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _publish(self, aside: Path, folder: Path) -> None:
        """The object store has the artifact before this machine does, so that what is here is always there."""
        unfinished = f"partial/{aside.name}" if folder.parent.name == "datasets" else None
        self._mirror.send_artifact(aside, self._name(folder), unfinished)
        super()._publish(aside, folder)
        if unfinished:
            self._mirror.remove(unfinished)

    def _damaged(self, folder: Path, records: Sequence[ShardRecord], checksums: bool) -> list[str]:
        if folder.is_relative_to(self.root):
            return [complaint for record in records if (complaint := self._complaint(folder, record, checksums))]
        return super()._damaged(folder, records, checksums)

    def _complaint(self, folder: Path, record: ShardRecord, checksums: bool) -> str | None:
        """What is wrong with an object; those of artifacts that are new since `refresh` are looked at one by one."""
        name = f"{self._name(folder)}/{record.file}"
        try:
            size = self._mirror.size(name)
            if size is None:
                size = self._bucket.item(name).size
            if size != record.bytes:
                return f"{self.location}/{name} has {size} bytes instead of {record.bytes}"
            if checksums and self._bucket.sha256(name) != record.sha256:
                return f"{self.location}/{name} has changed since it was written (its checksum differs)"
        except FileNotFoundError:
            return f"{self.location}/{name} is missing"
        return None


@dataclass(frozen=True)
class UnfinishedDataset:
    """A data set that actors on several machines draw: see `datagen.generation.shared_folder.SharedFolder`."""

    location: str
    fingerprint: str

    def here(self) -> Path:
        """See `SharedFolder`."""
        folder = _remote(self.location).partial_folder(self.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def send(self, shard: Path) -> None:
        """See `SharedFolder`."""
        Bucket(self.location).upload(shard, self._key(shard))
        shard.unlink()

    def bring(self, shard: Path) -> None:
        """See `SharedFolder`."""
        if not shard.is_file():
            Bucket(self.location).download(self._key(shard), shard)

    def bring_dataset(self, spec: DatasetSpec) -> Path:
        """See `SharedFolder`."""
        store = _remote(self.location)
        store.bring(spec)
        return store.dataset_folder(spec)

    def _key(self, shard: Path) -> str:
        return f"partial/{self.fingerprint}/{shard.name}"


@functools.lru_cache(maxsize=4)
def _remote(location: str) -> RemoteStore:
    return RemoteStore(Bucket(location))
