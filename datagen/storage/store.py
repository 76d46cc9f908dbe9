"""A store's data sets: by the fingerprints of their specs, published whole or not at all.

store/
  store.json               the format's version
  datasets/<fingerprint>/  Parquet shards and _manifest.json
  partial/<fingerprint>/   what is unfinished
  owner.json               the lock: which sweep writes here

`orchestrator.storage.store` adds models, studies and logs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from datagen.core.errors import InputError
from datagen.core.identity import Spec
from datagen.datasets.shards import FORMER_NAMES, MANIFEST, ShardRecord, damaged_files, listed_files, read_manifest
from datagen.datasets.spec import DatasetSpec, GeneratedDataset, RealDataset
from datagen.storage.backend import PARTIAL, Backend, FolderBackend, every_file
from datagen.storage.cache import SMALL
from datagen.storage.lock import is_alive, owned
from datagen.storage.object_store import Bucket, is_address
from datagen.storage.remote import RemoteBackend

FORMAT = 2
"""1 called what lies beside the shards `manifest.json`, without the underscore."""
DATASETS = "datasets"
KINDS = (DATASETS, "models", PARTIAL)
REPAIR = "Run the same command with --repair to have it made again."


@dataclass(frozen=True)
class Unfinished:
    """Work that may be interrupted: read and write in `folder`; `keep()` lets another machine go on from there."""

    folder: Path
    keep: Callable[[], None]


class DatasetStore:
    """The data sets in a folder, or at an address such as s3://bucket/folder. `create` it before writing.

    Methods raise OSError while an object store cannot be reached.

    Raises:
        InputError: the address is of an unknown kind.
    """

    def __init__(self, location: str | Path) -> None:
        self._backend: Backend
        if isinstance(location, str) and is_address(location):
            self._backend = RemoteBackend(Bucket(location))
        else:
            self._backend = FolderBackend(Path(location))

    @property
    def location(self) -> str:
        """What gives this store here and on other nodes: a folder, or an address."""
        return self._backend.location

    @property
    def root(self) -> Path:
        """The folder of this machine that the store's files are read from: the store itself, or a mirror."""
        return self._backend.root

    def create(self) -> Self:
        """Makes the store if there is none, and checks that this version can use it.

        Raises:
            InputError: it cannot be made or written, or a newer version of mindgap made it.
        """
        self._backend.prepare()
        self.root.mkdir(parents=True, exist_ok=True)  # Of one in an object store too: MLflow's database is here.
        if not self.exists():
            self._backend.write("store.json", json.dumps({"format": FORMAT}).encode())
        self._check_format()
        return self

    def exists(self) -> bool:
        """Whether there is a store at all."""
        try:
            self._backend.read("store.json")
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def look(self) -> Self:
        """Reads what there is, without writing; no store, or no folder, is fine.

        Raises:
            InputError: a newer version of mindgap made it, or it does not answer.
        """
        self._backend.connect()
        self._check_format()
        self._backend.refresh()
        return self

    def _check_format(self) -> None:
        try:
            found = json.loads(self._backend.read("store.json"))["format"]
        except (FileNotFoundError, NotADirectoryError):
            return
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.location}/store.json cannot be read. Is {self.location} a mindgap store? "
                "Choose another --store."
            ) from None
        if found < FORMAT:
            self._upgrade()
        if found > FORMAT:
            raise InputError(
                f"The store {self.location} has format {found}, made by a newer mindgap; this one knows up to {FORMAT}."
                " Update mindgap or choose another --store."
            )

    def _upgrade(self) -> None:
        """Gives the files of a store of format 1 their names; interrupted, it is gone on with by the next command."""
        if (owner := self.owner()) and owner[1]:
            raise InputError(
                f"The store {self.location} has format 1, and an earlier version is at work there: {owner[0]}. "
                "Wait until it ends; then this one upgrades the store."
            )
        found = [item.key for kind in KINDS for item in self._backend.list(kind)]
        for former in FORMER_NAMES:  # The manifest last: until it has its name the artifact is as it was.
            names = [name for name in found if name.rpartition("/")[2] == former]
            self._backend.rename_files({name: f"{name.removesuffix(former)}_{former}" for name in names})
        self._backend.write("store.json", json.dumps({"format": FORMAT}).encode())

    @contextmanager
    def owned(self, purpose: str) -> Iterator[None]:
        """Holds the store's lock: one sweep writes at a time; a dead owner's lock is taken over.

        What others have published until then is known from here on.

        Raises:
            InputError: another sweep holds it; the message says which and since when.
        """
        with owned(self._backend.lock, purpose):
            self.refresh()
            yield

    def owner(self) -> tuple[str, bool] | None:
        """Who holds the store, in words, and whether it is alive; None if nobody does."""
        owner = self._backend.lock.owner()
        return (owner.sentence(), is_alive(self._backend.lock, owner)) if owner else None

    def refresh(self) -> None:
        """Learns what others have published."""
        self._backend.refresh()

    def folder(self, spec: Spec) -> Path:
        """Where the files of an artifact are on this machine, or will be; `open` brings them there."""
        return spec.folder if isinstance(spec, RealDataset) else self.root / DATASETS / spec.fingerprint

    def where(self, spec: Spec) -> str:
        """The same where they are kept: a folder, or an address."""
        folder = self.folder(spec)
        return f"{self.location}/{self._name(folder)}" if folder.is_relative_to(self.root) else str(folder)

    def has(self, spec: Spec) -> bool:
        """Whether the artifact was published when the store was last looked at; costs no look."""
        return (self.folder(spec) / MANIFEST).is_file()

    def open(self, spec: Spec, *, checked: bool = False) -> Path:
        """Brings all files of a published artifact to this machine, and gives their folder.

        Shards and weights are brought once for all processes of a machine, and compared with their checksums then.

        Args:
            spec: of the artifact.
            checked: whether to compare every byte with its checksum now, too: files may have changed on a disk.

        Raises:
            InputError: it is not published, or damaged; the sentence says how to have it made again.
        """
        folder = self._opened(spec, every_file) or self._absent(spec)
        if checked:
            records = listed_files(folder)
            if not self._backend.shared and folder.is_relative_to(self.root):
                self._drop_damaged_copies(folder, records)
                self._opened(spec, every_file)
            if complaints := damaged_files(folder, records, checksums=True):
                raise InputError(f"{complaints[0]}. {REPAIR}")
        return folder

    def find(self, spec: Spec) -> Path | None:
        """The folder of an artifact with its small files alone; None if it is not published, by now."""
        return self._opened(spec, SMALL.__contains__)

    def open_samples(self, spec: DatasetSpec) -> Path | None:
        """The same with a few shards: the first of images that are drawn from prompts has all classes."""
        if not isinstance(spec, GeneratedDataset):
            return self._opened(spec, every_file)
        if (folder := self.find(spec)) is None:
            return None
        first = read_manifest(folder).shards[0].file
        return self._opened(spec, lambda file: file == first)

    def _opened(self, spec: Spec, only: Callable[[str], bool]) -> Path | None:
        folder = self.folder(spec)
        if isinstance(spec, RealDataset):
            return folder if self.has(spec) else None
        return folder if self._backend.bring(self._name(folder), only) else None

    def _absent(self, spec: Spec) -> Path:
        where = spec.folder if isinstance(spec, RealDataset) else self.location
        title = getattr(spec, "title", "") or spec.fingerprint[:12]
        raise InputError(f"{title} is not in {where}. Make or import it first.")

    @contextmanager
    def unfinished(self, fingerprint: str) -> Iterator[Unfinished]:
        """What is kept of unfinished work on an artifact or cohort: brought at the start, kept at the end.

        Of a block that raises nothing is kept but what `keep` was called for: what it leaves may be half of something.
        """
        self._backend.bring_unfinished(fingerprint)
        work = Unfinished(self.partial_folder(fingerprint), lambda: self._backend.keep_unfinished(fingerprint))
        yield work
        work.keep()

    def partial_folder(self, fingerprint: str) -> Path:
        """The folder of `unfinished` work on this machine."""
        return self._backend.unfinished(fingerprint)

    def shared_folder(self, fingerprint: str) -> UnfinishedDataset | None:
        """How nodes that share no file system draw a data set together; None where they share one."""
        return None if self._backend.shared else UnfinishedDataset(self.location, fingerprint)

    def publish_dataset(self, spec: DatasetSpec) -> None:
        """Moves a finished data set, with its manifest, from its partial folder to its place."""
        self._backend.publish(self.partial_folder(spec.fingerprint), self._name(self.folder(spec)))

    def published(self) -> list[str]:
        """The fingerprints of the data sets that were there when the store was last looked at, sorted."""
        return sorted(path.parent.name for path in (self.root / DATASETS).glob(f"*/{MANIFEST}"))

    def open_published(self, fingerprint: str) -> Path:
        """Brings the data set of that fingerprint to this machine, and gives its folder."""
        self._backend.bring(f"{DATASETS}/{fingerprint}")
        return self.root / DATASETS / fingerprint

    def shards_kept(self, spec: DatasetSpec) -> int:
        """How many shards of an unfinished data set are kept."""
        names = [item.key.rpartition("/")[2] for item in self._backend.list(f"{PARTIAL}/{spec.fingerprint}")]
        return sum(name.endswith(".parquet") and not name.startswith(".") for name in names)

    def complaints(self, spec: Spec, *, checksums: bool = False) -> list[str]:
        """What is wrong with a published artifact, a sentence for each file; empty if nothing is.

        Sizes are always compared; with `checksums` every byte is read where it is kept.
        """
        folder = self.folder(spec)
        try:
            whose = "" if isinstance(spec, RealDataset) else spec.fingerprint
            return self._damaged(folder, listed_files(folder, whose), checksums)
        except InputError as error:
            return [str(error)]

    def _damaged(self, folder: Path, records: Sequence[ShardRecord], checksums: bool) -> list[str]:
        if self._backend.shared or not folder.is_relative_to(self.root):
            return damaged_files(folder, records, checksums=checksums)
        if checksums:
            self._drop_damaged_copies(folder, records)
        found = (self._complaint(self._name(folder), record, checksums) for record in records)
        return [complaint for complaint in found if complaint]

    def _drop_damaged_copies(self, folder: Path, records: Sequence[ShardRecord]) -> None:
        """Removes files of the mirror that are not what they were; they are brought again when they are needed."""
        for record in records:
            path = folder / record.file
            if path.is_file() and damaged_files(folder, [record], checksums=True):
                path.unlink()

    def _complaint(self, folder: str, record: ShardRecord, checksums: bool) -> str | None:
        name = f"{folder}/{record.file}"
        where = f"{self.location}/{name}"
        try:
            if (size := self._backend.size(name)) != record.bytes:
                return f"{where} has {size} bytes instead of {record.bytes}"
            if checksums and self._backend.sha256(name) != record.sha256:
                return f"{where} has changed since it was written (its checksum differs)"
        except FileNotFoundError:
            return f"{where} is missing"
        return None

    def check(self, spec: Spec, *, checksums: bool = False) -> None:
        """Refuses a damaged artifact.

        Raises:
            InputError: names the first damaged file and says how to have it made again.
        """
        if complaints := self.complaints(spec, checksums=checksums):
            raise InputError(f"{complaints[0]}. {REPAIR}")

    def remove(self, spec: Spec) -> None:
        """Removes an artifact, so that the next run makes it again. Shipped and imported data are never removed.

        Raises:
            InputError: the artifact is real data.
        """
        if isinstance(spec, RealDataset):
            raise InputError(f"The real images in {spec.folder} are damaged. Restore or import them again.")
        self._backend.remove(self._name(self.folder(spec)))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class UnfinishedDataset:
    """A data set that actors on several machines draw: a `datagen.generation.shared_folder.SharedFolder`."""

    location: str
    fingerprint: str

    def here(self) -> Path:
        folder = _store(self.location).partial_folder(self.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def send(self, shard: Path) -> None:
        Bucket(self.location).upload(shard, self._key(shard))
        shard.unlink()

    def bring(self, shard: Path) -> None:
        if not shard.is_file():
            Bucket(self.location).download(self._key(shard), shard)

    def bring_dataset(self, spec: DatasetSpec) -> Path:
        return _store(self.location).open(spec)

    def _key(self, shard: Path) -> str:
        return f"{PARTIAL}/{self.fingerprint}/{shard.name}"


@functools.lru_cache(maxsize=4)
def _store(location: str) -> DatasetStore:
    return DatasetStore(location)
