"""The store: every artifact by the fingerprint of its spec, published whole or not at all. It is the record.

One in an object store is `orchestrator.storage.remote_store`; methods that do nothing here bring and send there.

store/
  store.json               the format's version
  datasets/<fingerprint>/  Parquet shards and manifest.json
  models/<fingerprint>/    weights.safetensors, model.json (spec, metrics by epoch), manifest.json
  partial/                 data sets being generated, cohorts being trained; `unfinished` says what is spent
  studies/<study>/<scale>/ tables and figures
  logs/                    what the processes of tasks that failed or still run have said
  owner.json               the lock: which sweep writes here
  mlflow.db, mlflow/       the default MLflow tracking store and its files
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from datagen.core.errors import InputError
from datagen.core.files import file_sha256, write_json
from datagen.datasets.shards import MANIFEST, ShardRecord, damaged_files, read_manifest
from datagen.datasets.spec import DatasetSpec, RealDataset
from datagen.generation.shared_folder import SharedFolder
from orchestrator.storage.lock import FolderLock, Lock, is_alive, owned
from orchestrator.storage.object_store import Item
from orchestrator.storage.unfinished import is_spent, owner_of
from trainables.spec import TrainingSpec

FORMAT = 1
WEIGHTS = "weights.safetensors"
MODEL = "model.json"
LEDGER = "search.json"


@dataclass(frozen=True)
class StoredModel:
    """A published training: its metrics by epoch (percent, mean loss, seconds) and where its weights are.

    `failure` is the reason if the training was given up; then there are no weights. `usage` is what the training took
    of its machines, all attempts together: cpu_seconds, gpu_seconds, energy_wh (of the GPUs), peak_memory_bytes and
    peak_gpu_memory_bytes, as far as it could be measured.
    """

    fingerprint: str
    history: list[dict[str, float]]
    failure: str | None
    weights: Path
    usage: Mapping[str, float] = field(default_factory=dict)


class Store:
    """A folder of artifacts. `open` it before use.

    Raises:
        InputError: the folder cannot be made or written, or a newer version of mindgap made it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._lock: Lock = FolderLock(self.root)

    @property
    def location(self) -> str:
        """What `store_at` takes, here and on other nodes, to give this store."""
        return str(self.root)

    def open(self) -> Store:
        """Makes the folder if missing and checks that this version can use it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / "store.json").exists():
                write_json(self.root / "store.json", {"format": FORMAT})
        except OSError as error:
            raise InputError(
                f"The store {self.root} cannot be written ({error.strerror}). Choose another folder with --store."
            ) from error
        self.check_format()
        return self

    def exists(self) -> bool:
        """Whether there is a store at all."""
        return (self.root / "store.json").is_file()

    def check_format(self) -> None:
        """Refuses a store of a newer format; a folder that is not there yet is fine."""
        path = self.root / "store.json"
        try:
            found = json.loads(path.read_text())["format"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, OSError):
            raise InputError(
                f"{path} cannot be read. Is {self.root} a mindgap store? Choose another --store."
            ) from None
        if found > FORMAT:
            raise InputError(
                f"The store {self.root} has format {found}, made by a newer mindgap; this one knows up to {FORMAT}. "
                "Update mindgap or choose another --store."
            )

    @contextmanager
    def owned(self, purpose: str) -> Iterator[None]:
        """Holds the store's lock: one sweep writes at a time; a dead owner's lock is taken over.

        Raises:
            InputError: another sweep holds it; the message says which and since when.
        """
        with owned(self._lock, purpose):
            yield

    def owner(self) -> tuple[str, bool] | None:
        """Who holds the store, in words, and whether it is alive; None if nobody does."""
        owner = self._lock.owner()
        return (owner.sentence(), is_alive(self._lock, owner)) if owner else None

    def refresh(self) -> None:
        """Learns what others have published."""

    def bring(self, spec: DatasetSpec | TrainingSpec) -> None:
        """Makes a published artifact's files readable on this machine."""

    def bring_samples(self, spec: DatasetSpec) -> None:
        """Makes a few of a data set's shards readable on this machine."""

    def bring_unfinished(self, fingerprint: str) -> None:
        """Makes what is kept of the unfinished work on an artifact or cohort readable on this machine."""

    def keep_unfinished(self, fingerprint: str) -> None:
        """Keeps the unfinished work on an artifact or cohort where another machine can go on with it."""

    def keep_log(self, name: str) -> None:
        """Keeps what this process has said so far in the log `name` where other machines can read it."""

    def keep_report(self, study: str, scale: str) -> None:
        """Keeps a study's report where other machines can read it."""

    def shared_folder(self, fingerprint: str) -> SharedFolder | None:
        """How nodes that share no file system work on an unfinished data set together; None where they share one."""
        return None

    def dataset_folder(self, spec: DatasetSpec) -> Path:
        """Where the shards of a data set are, or will be."""
        return spec.folder if isinstance(spec, RealDataset) else self.root / "datasets" / spec.fingerprint

    def model_folder(self, spec: TrainingSpec) -> Path:
        """Where a trained model is, or will be."""
        return self.root / "models" / spec.fingerprint

    def partial_folder(self, fingerprint: str) -> Path:
        """Where the unfinished work on an artifact or cohort is kept, so that it can go on after an interruption."""
        return self.root / "partial" / fingerprint

    def open_log(self, name: str, header: str) -> TextIO:
        """Opens the log `name` to append to; a new one begins with the line `header`."""
        path = self.root / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
        if file.tell() == 0:
            file.write(f"{header}\n")
            file.flush()
        return file

    def logs(self) -> Iterator[tuple[str, str]]:
        """The header and the text of every log, the oldest first."""
        for path in sorted((self.root / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime_ns):
            header, _, text = path.read_text(encoding="utf-8", errors="replace").partition("\n")
            yield header, text

    def remove_logs(self, name: str) -> None:
        """Removes the logs of that name, of all its processes."""
        for path in (self.root / "logs").glob(f"{name}.*.log"):
            path.unlink(missing_ok=True)

    def study_folder(self, study: str, scale: str) -> Path:
        """Where a study's tables and figures are."""
        return self.root / "studies" / study / scale

    def has(self, spec: DatasetSpec | TrainingSpec) -> bool:
        """Whether the artifact is published."""
        return (self._folder(spec) / MANIFEST).is_file()

    def has_by_now(self, spec: DatasetSpec | TrainingSpec) -> bool:
        """The same, also if another machine has published it since `refresh`."""
        return self.has(spec)

    def publish_dataset(self, spec: DatasetSpec) -> None:
        """Moves a finished data set from its partial folder to its place."""
        self._publish(self.partial_folder(spec.fingerprint), self.dataset_folder(spec))

    def publish_model(
        self,
        spec: TrainingSpec,
        history: Sequence[dict[str, float]],
        failure: str | None,
        save_weights: Callable[[Path], object],
        normalization: dict[str, Any] | None = None,
        usage: Mapping[str, float] | None = None,
    ) -> None:
        """Publishes a training. `save_weights(path)` writes the weights file; it is not called for a failed one.

        `normalization` (mean and std of the network's input) and `usage` (see `StoredModel`) go into the sidecar.
        """
        if self.has_by_now(spec):
            return
        aside = self.partial_folder(f"{spec.fingerprint}.{os.getpid()}")
        aside.mkdir(parents=True, exist_ok=True)
        if failure is None:
            save_weights(aside / WEIGHTS)
        sidecar = {
            "title": spec.title,
            "spec": spec.described(),
            "class_names": list(spec.train.class_names),
            "normalization": normalization,
            "failure": failure,
            "usage": dict(usage or {}),
            "history": list(history),
        }
        write_json(aside / MODEL, sidecar)
        files = [
            {"file": path.name, "rows": 0, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
            for path in sorted(aside.iterdir())
        ]
        write_json(aside / MANIFEST, {"files": files})
        self._publish(aside, self.model_folder(spec))

    def read_model(self, spec: TrainingSpec) -> StoredModel:
        """Reads a published training's metrics.

        Raises:
            InputError: they are damaged.
        """
        folder = self.model_folder(spec)
        try:
            values = json.loads((folder / MODEL).read_text())
            usage = values.get("usage", {})
            return StoredModel(spec.fingerprint, values["history"], values["failure"], folder / WEIGHTS, usage)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder / MODEL} is damaged ({error}). {_REPAIR}") from error

    def complaints(self, spec: DatasetSpec | TrainingSpec, *, checksums: bool = False) -> list[str]:
        """What is wrong with a published artifact, a sentence for each file; empty if nothing is."""
        folder = self._folder(spec)
        try:
            return self._damaged(folder, _records(folder), checksums)
        except (OSError, ValueError, KeyError, TypeError, InputError):
            return [f"{folder / MANIFEST} cannot be read"]

    def _damaged(self, folder: Path, records: Sequence[ShardRecord], checksums: bool) -> list[str]:
        return damaged_files(folder, records, checksums=checksums)

    def _folder(self, spec: DatasetSpec | TrainingSpec) -> Path:
        return self.model_folder(spec) if isinstance(spec, TrainingSpec) else self.dataset_folder(spec)

    def write_status(self, study: str, scale: str, status: Mapping[str, Any]) -> None:
        """Keeps what a sweep says of itself while it runs, for other terminals and machines."""
        folder = self.study_folder(study, scale)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "status.json", dict(status))

    def read_status(self, study: str, scale: str) -> dict[str, Any]:
        """What the last sweep of a study has said of itself; empty if there was none."""
        try:
            values: dict[str, Any] = json.loads((self.study_folder(study, scale) / "status.json").read_text())
            return values
        except (OSError, ValueError):
            return {}

    def write_ledger(self, study: str, scale: str, ledger: Mapping[str, Any]) -> None:
        """Keeps what a search has tried."""
        folder = self.study_folder(study, scale)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / LEDGER, dict(ledger))

    def read_ledger(self, study: str, scale: str) -> dict[str, Any]:
        """What a search has tried, as it was written.

        Raises:
            FileNotFoundError: nothing was written yet.
            InputError: it is damaged.
        """
        path = self.study_folder(study, scale) / LEDGER
        try:
            values: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}). Remove it to begin the search anew.") from error
        return values

    def write_usage(self, cohort: str, piece: str, usage: Mapping[str, Mapping[str, float]]) -> None:
        """Keeps what the trials of an unfinished piece of a cohort have used, by fingerprint."""
        folder = self.partial_folder(cohort)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{piece}.usage.json", {key: dict(value) for key, value in usage.items()})

    def read_usage(self, cohort: str, fingerprints: Sequence[str]) -> dict[str, dict[str, float]]:
        """What these trials have used in earlier attempts, whatever piece they were in."""
        found: dict[str, dict[str, float]] = {}
        for path in self.partial_folder(cohort).glob("*.usage.json"):
            try:
                usage = json.loads(path.read_text())
            except (OSError, ValueError):
                continue  # It costs a part of a sum, no result.
            for key in fingerprints:
                if sum(usage.get(key, {}).values()) > sum(found.get(key, {}).values()):
                    found[key] = usage[key]
        return found

    def write_speed(self, scale: str, speed: Mapping[str, float]) -> None:
        """Keeps what a run has shown of the machine's speed, for later estimates."""
        write_json(self.root / "speed.json", {**self._speeds(), scale: dict(speed)})

    def read_speed(self, scale: str) -> dict[str, float]:
        """What the last run in a scale has shown of the machine's speed; empty if there was none."""
        return self._speeds().get(scale, {})

    def _speeds(self) -> dict[str, dict[str, float]]:
        try:
            values: dict[str, dict[str, float]] = json.loads((self.root / "speed.json").read_text())
            return values
        except (OSError, ValueError):
            return {}

    def forget_epochs(self, spec: TrainingSpec) -> None:
        """Removes what is kept of a training, so that it starts anew; what is kept of others of its cohort stays."""
        folder = self.partial_folder(spec.cohort)
        if not folder.is_dir():
            return
        from trainables.checkpoint import CohortCheckpoint

        CohortCheckpoint(folder).forget(spec.fingerprint)
        for path in folder.glob("*.usage.json"):
            try:
                usage = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            if usage.pop(spec.fingerprint, None) is not None:
                write_json(path, usage)
        with suppress(OSError):
            folder.rmdir()

    def clear_partial(self) -> None:
        """Removes what is kept of tasks whose results are published by now, whichever study began them.

        To be called by the owner of the store while none of its tasks runs.
        """
        found = self.list_files("partial")
        self.remove_files([item.key for item in found if is_spent(item, self.is_published, self.read_part)])

    def is_published(self, fingerprint: str) -> bool:
        """Whether this machine knows of an artifact with this fingerprint: a made data set, or a training."""
        return any((self.root / kind / fingerprint / MANIFEST).is_file() for kind in ("datasets", "models"))

    def list_files(self, folder: str) -> list[Item]:
        """The files below a folder of the store, for example "partial"."""
        found = []
        for path in (self.root / folder).rglob("*"):
            with suppress(FileNotFoundError):  # A drawing of images may be at work here.
                if path.is_file():
                    state = path.stat()
                    found.append(Item(path.relative_to(self.root).as_posix(), state.st_size, state.st_mtime))
        return found

    def read_part(self, name: str, start: int, length: int) -> bytes:
        """Some bytes of a file of the store, fewer at its end."""
        with (self.root / name).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def remove_files(self, names: Sequence[str]) -> None:
        """Removes files of the store, and the folders of theirs that are empty then."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)
        places = {tuple(name.split("/")[:2]) for name in names}
        for kind, place in places | {(kind, owner_of(place)) for kind, place in places}:
            for folder, _, _ in os.walk(self.root / kind / place, topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)

    @contextmanager
    def untouched(self, fingerprint: str) -> Iterator[bool]:
        """Whether nobody draws a data set just now, and while the context lasts nobody does.

        `datagen.generate` does not own the store that it draws into.
        """
        lock = FileLock(self.root / "partial" / f"{fingerprint}.lock")
        if not Path(lock.lock_file).exists():
            yield True
            return
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def check(self, spec: DatasetSpec | TrainingSpec, *, checksums: bool = False) -> None:
        """Refuses a damaged artifact.

        Raises:
            InputError: names the first damaged file and says how to have it made again.
        """
        if complaints := self.complaints(spec, checksums=checksums):
            raise InputError(f"{complaints[0]}. {_REPAIR}")

    def remove(self, spec: DatasetSpec | TrainingSpec) -> None:
        """Removes an artifact, so that the next run makes it again. Shipped and imported data are never removed.

        Raises:
            InputError: the artifact is real data.
        """
        if isinstance(spec, RealDataset):
            raise InputError(f"The real images in {spec.folder} are damaged. Restore or import them again.")
        folder = self._folder(spec)
        # The manifest goes first: without it the folder is no artifact, whatever happens next.
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def _publish(self, aside: Path, folder: Path) -> None:
        """Moves a whole artifact to its place."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        if (folder / MANIFEST).is_file():
            # A worker that outlived its driver for a moment has published the same.
            shutil.rmtree(aside, ignore_errors=True)
            return
        if folder.exists():
            # A folder without a manifest: what is left of a removed artifact.
            shutil.rmtree(folder)
        aside.rename(folder)


_REPAIR = "Run the same command with --repair to have it made again."


def _records(folder: Path) -> Sequence[ShardRecord]:
    """The files that an artifact's manifest lists."""
    if folder.parent.name == "models":
        return [ShardRecord(**file) for file in json.loads((folder / MANIFEST).read_text())["files"]]
    return read_manifest(folder).shards
