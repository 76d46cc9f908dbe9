"""The store: every artifact by the fingerprint of its spec, published whole or not at all. It is the record.

store/
  store.json               the format's version
  datasets/<fingerprint>/  Parquet shards and _manifest.json
  models/<fingerprint>/    weights.safetensors, model.json (spec, metrics by epoch), _manifest.json
  predictions/<fingerprint>/  predictions.parquet, prediction.json, _manifest.json
  measures/<fingerprint>/  measures.json, _manifest.json
  partial/                 data sets being generated, cohorts being trained; `unfinished` says what is spent
  studies/<study>/<scale>/ tables and figures
  logs/                    what the processes of tasks that failed or still run have said
  owner.json               the lock: which sweep writes here
  mlflow.db, mlflow/       the default MLflow tracking store and its files

A folder and an object store are the same here: `datagen.storage` knows where files lie, and brings and sends them.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from datagen.core.errors import InputError
from datagen.core.files import file_sha256, read_sealed_json, sealed, unsealed, write_json, write_sealed_json
from datagen.core.identity import Spec
from datagen.datasets.shards import MANIFEST, listed_files
from datagen.storage.backend import PARTIAL
from datagen.storage.object_store import Item
from datagen.storage.store import DATASETS, REPAIR, DatasetStore
from orchestrator.storage.unfinished import is_spent
from trainables.evaluation.measure_spec import MeasureSpec
from trainables.evaluation.prediction_spec import PredictionSpec
from trainables.spec import TrainingSpec

MODELS, PREDICTIONS, MEASURES = "models", "predictions", "measures"
WEIGHTS = "weights.safetensors"
MODEL = "model.json"
STATUS_SECONDS = 10.0
"""A status, and what a log says, is sent to an object store at most this often."""


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


class StoredLog:
    """A log of this process, kept where other machines can read it. One that cannot be sent stops no training."""

    def __init__(self, file: TextIO, send: Callable[[], None] = lambda: None) -> None:
        self.file, self._send, self._sent = file, send, float("-inf")

    def write(self, text: str) -> None:
        """Appends text."""
        self.file.write(text)
        self.file.flush()
        if time.monotonic() - self._sent > STATUS_SECONDS:
            self._sent = time.monotonic()
            with suppress(OSError):
                self._send()

    def close(self) -> None:
        """Keeps all that was said."""
        self.file.close()
        with suppress(OSError):
            self._send()


class Store(DatasetStore):
    """All artifacts of studies, in a folder or an object store. `create` it before writing."""

    _status_sent = float("-inf")

    def folder(self, spec: Spec) -> Path:
        """Where the files of an artifact are on this machine, or will be; `open` brings them there."""
        kind = {TrainingSpec: MODELS, PredictionSpec: PREDICTIONS, MeasureSpec: MEASURES}.get(type(spec))
        return self.root / kind / spec.fingerprint if kind else super().folder(spec)

    def study_folder(self, study: str, scale: str) -> Path:
        """Where a study's tables and figures are on this machine; `report` keeps them."""
        return self.root / self._study(study, scale)

    @contextmanager
    def report(self, study: str, scale: str) -> Iterator[Path]:
        """The folder to write a study's tables and figures into; they are kept at the end of the block.

        What was recorded in MLflow is this machine's matter: its database may be here.
        """
        folder = self.study_folder(study, scale)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
        self._backend.send([path for path in files if path.name != "recorded.json"])

    def open_log(self, name: str, header: str) -> StoredLog:
        """Opens the log `name` to append to; a new one begins with the line `header`."""
        path = self.root / "logs" / self._backend.log_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
        if file.tell() == 0:
            file.write(f"{header}\n")
            file.flush()
        return StoredLog(file, lambda: self._backend.send([path]))

    def logs(self) -> Iterator[tuple[str, str]]:
        """The header and the text of every log, the oldest first."""
        self._backend.bring_folder("logs")
        for path in sorted((self.root / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime_ns):
            header, _, text = path.read_text(encoding="utf-8", errors="replace").partition("\n")
            yield header, text

    def last_line(self, name: str) -> str:
        """The last line that a process of this machine's has written to the logs of that name; "" if there is none."""
        paths = [path for path in (self.root / "logs").glob(f"{name}.*.log") if path.is_file()]
        if not paths:
            return ""
        newest = max(paths, key=lambda path: path.stat().st_mtime_ns)
        with newest.open("rb") as file:
            file.seek(max(0, newest.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def remove_logs(self, name: str) -> None:
        """Removes the logs of that name, of all its processes."""
        for path in (self.root / "logs").glob(f"{name}.*.log"):
            path.unlink(missing_ok=True)
        self.remove_files([item.key for item in self.list_files("logs") if item.key.startswith(f"logs/{name}.")])

    def publish_model(
        self,
        spec: TrainingSpec,
        history: Sequence[dict[str, float]],
        failure: str | None,
        save_weights: Callable[[Path], object],
        evaluation: Mapping[str, Any] | None = None,
        usage: Mapping[str, float] | None = None,
    ) -> None:
        """Publishes a training. `save_weights(path)` writes the weights file; it is not called for a failed one.

        `evaluation` (what network the weights belong to and how it was evaluated, as
        `trainables.evaluation.record` writes it) and `usage` (see `StoredModel`) go into the sidecar.
        """
        if self.find(spec):
            return
        sidecar = {
            "title": spec.title,
            "spec": spec.described(),
            "class_names": list(spec.train.class_names),
            **(evaluation or {}),
            "failure": failure,
            "usage": dict(usage or {}),
            "history": list(history),
        }

        def write(folder: Path) -> None:
            if failure is None:
                save_weights(folder / WEIGHTS)
            write_json(folder / MODEL, sidecar)

        self.publish_files(spec, write)

    def publish_files(self, spec: Spec, write: Callable[[Path], None]) -> None:
        """Publishes what `write` writes into the folder that it is given, whole or not at all."""
        aside = self.partial_folder(f"{spec.fingerprint}.{os.getpid()}")
        aside.mkdir(parents=True, exist_ok=True)
        write(aside)
        files = [
            {"file": path.name, "rows": 0, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
            for path in sorted(aside.iterdir())
        ]
        write_sealed_json(aside / MANIFEST, {"fingerprint": spec.fingerprint, "files": files})
        self._backend.publish(aside, self._name(self.folder(spec)))

    def remove(self, spec: Spec) -> None:
        """Removes an artifact, and of a training what its network has predicted and measured, to be made again.

        Raises:
            InputError: the artifact is real data, which is never removed.
        """
        super().remove(spec)
        if not isinstance(spec, TrainingSpec):
            return
        for kind, file, key in ((PREDICTIONS, "prediction.json", "training"), (MEASURES, "measures.json", "encoder")):
            for path in (self.root / kind).glob(f"*/{file}"):
                with suppress(OSError, ValueError):
                    if json.loads(path.read_text(encoding="utf-8")).get(key) == spec.fingerprint:
                        self._backend.remove(self._name(path.parent))

    def read_model(self, spec: TrainingSpec) -> StoredModel:
        """Reads a published training's metrics.

        Raises:
            InputError: they are damaged.
        """
        weights = self.folder(spec) / WEIGHTS
        with self.sidecar(spec, MODEL) as values:
            return StoredModel(spec.fingerprint, values["history"], values["failure"], weights, values.get("usage", {}))

    @contextmanager
    def sidecar(self, spec: Spec, file: str) -> Iterator[dict[str, Any]]:
        """The values of a published artifact's JSON file, compared with its checksum; for the block that reads them.

        Raises:
            InputError: it is damaged, or lacks what the block looks for.
        """
        folder = self.folder(spec)
        if not self.has(spec):
            self.find(spec)  # It may have been published since the last look.
        try:
            (record,) = [item for item in listed_files(folder, spec.fingerprint) if item.file == file]
            if not self._backend.shared:
                self._drop_damaged_copies(folder, [record])
            if not (folder / file).exists():
                self.find(spec)
            content = (folder / file).read_bytes()
            if hashlib.sha256(content).hexdigest() != record.sha256:
                raise ValueError("its checksum differs")
            yield json.loads(content)
        except (OSError, ValueError, KeyError, InputError) as error:
            raise InputError(f"{folder / file} is damaged ({error}). {REPAIR}") from error

    def write_status(self, study: str, scale: str, status: Mapping[str, Any]) -> None:
        """Keeps what a sweep says of itself while it runs, for other terminals and machines."""
        if self._backend.shared or time.monotonic() - self._status_sent > STATUS_SECONDS:
            self._status_sent = time.monotonic()
            self._write(f"{self._study(study, scale)}/status.json", status)

    def read_status(self, study: str, scale: str) -> dict[str, Any]:
        """What the last sweep of a study has said of itself; empty if there was none."""
        return self._read(f"{self._study(study, scale)}/status.json")

    def write_ledger(self, study: str, scale: str, ledger: Mapping[str, Any]) -> None:
        """Keeps what a search has tried."""
        self._write(self._ledger(study, scale), sealed(ledger))

    def read_ledger(self, study: str, scale: str) -> dict[str, Any]:
        """What a search has tried, as it was written.

        Raises:
            FileNotFoundError: nothing was written yet.
            InputError: it is damaged.
        """
        name = self._ledger(study, scale)
        try:
            return unsealed(self._backend.read(name))
        except ValueError as error:
            where = f"{self.location}/{name}"
            raise InputError(f"{where} is damaged ({error}). Remove it to begin the search anew.") from error

    def write_speed(self, scale: str, speed: Mapping[str, float]) -> None:
        """Keeps what a run has shown of the machine's speed, for later estimates."""
        self._write("speed.json", {**self._read("speed.json"), scale: dict(speed)})

    def read_speed(self, scale: str) -> dict[str, float]:
        """What the last run in a scale has shown of the machine's speed; empty if there was none."""
        found: dict[str, float] = self._read("speed.json").get(scale, {})
        return found

    def _study(self, study: str, scale: str) -> str:
        return f"studies/{study}/{scale}"

    def _ledger(self, study: str, scale: str) -> str:
        return f"{self._study(study, scale)}/search.json"

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        self._backend.write(name, json.dumps(dict(values), indent=2).encode())

    def _read(self, name: str) -> dict[str, Any]:
        """Values that no result depends on: none if they are not there or damaged."""
        try:
            values: dict[str, Any] = json.loads(self._backend.read(name))
            return values
        except (OSError, ValueError):
            return {}

    def write_usage(self, cohort: str, piece: str, usage: Mapping[str, Mapping[str, float]]) -> None:
        """Keeps what the trials of an unfinished piece of a cohort have used, by fingerprint."""
        folder = self.partial_folder(cohort)
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed_json(folder / f"{piece}.usage.json", {key: dict(value) for key, value in usage.items()})

    def read_usage(self, cohort: str, fingerprints: Sequence[str]) -> dict[str, dict[str, float]]:
        """What these trials have used in earlier attempts, whatever piece they were in."""
        found: dict[str, dict[str, float]] = {}
        for path in self.partial_folder(cohort).glob("*.usage.json"):
            try:
                usage = read_sealed_json(path)
            except (OSError, ValueError):
                continue  # It costs a part of a sum, no result.
            for key in fingerprints:
                if sum(usage.get(key, {}).values()) > sum(found.get(key, {}).values()):
                    found[key] = usage[key]
        return found

    def forget_epochs(self, spec: TrainingSpec) -> None:
        """Removes what is kept of a training, so that it starts anew; what is kept of others of its cohort stays."""
        if not self.list_files(f"{PARTIAL}/{spec.cohort}") and not self.partial_folder(spec.cohort).is_dir():
            return
        from trainables.checkpoint import CohortCheckpoint

        with self.unfinished(spec.cohort) as work:
            CohortCheckpoint(work.folder).forget(spec.fingerprint)
            for path in work.folder.glob("*.usage.json"):
                try:
                    usage = read_sealed_json(path)
                except (OSError, ValueError):
                    continue
                if usage.pop(spec.fingerprint, None) is not None:
                    write_sealed_json(path, usage)
            with suppress(OSError):
                work.folder.rmdir()

    def clear_partial(self) -> None:
        """Removes what is kept of tasks whose results are published by now, whichever study began them.

        To be called by the owner of the store while none of its tasks runs.
        """
        found = self.list_files(PARTIAL)
        self.remove_files([item.key for item in found if is_spent(item, self.is_published, self.read_part)])

    def is_published(self, fingerprint: str) -> bool:
        """Whether this machine knows of an artifact with this fingerprint: a made data set, or a training."""
        return any((self.root / kind / fingerprint / MANIFEST).is_file() for kind in (DATASETS, MODELS, PREDICTIONS))

    def list_files(self, folder: str) -> list[Item]:
        """The files below a folder of the store, for example "partial"."""
        return self._backend.list(folder)

    def read_part(self, name: str, start: int, length: int) -> bytes:
        """Some bytes of a file of the store, fewer at its end."""
        return self._backend.read_part(name, start, length)

    def remove_files(self, names: Sequence[str]) -> None:
        """Removes files of the store, and the folders of theirs that are empty then."""
        self._backend.remove_files(names)

    @contextmanager
    def untouched(self, fingerprint: str) -> Iterator[bool]:
        """Whether nobody draws a data set just now, and while the context lasts nobody does.

        `datagen.generate` does not own the store that it draws into.
        """
        lock = FileLock(self.root / PARTIAL / f"{fingerprint}.lock")
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
