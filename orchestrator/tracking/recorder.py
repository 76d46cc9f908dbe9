"""Records a study in MLflow: one parent run for the study, one child for each trial.

The sweep process is the only writer, so SQLite serves on a laptop and no worker needs to reach a tracking server. A
thread of its own does the writing: a slow or absent server delays no training, and fails none.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tenacity

from datagen.core.errors import InputError
from datagen.core.identity import fingerprint_of
from datagen.datasets.contact_sheet import contact_sheet
from datagen.datasets.spec import DatasetSpec, DiffusionDataset, MixedDataset
from datagen.datasets.summary import stored_summary
from orchestrator.planning.plan import Plan, Task
from orchestrator.planning.selection import trial_values
from orchestrator.storage.store import Store, StoredModel
from orchestrator.tracking.secrets import redacted
from orchestrator.tracking.server import reason_of
from orchestrator.tracking.writers import Changes, Writer, find_run, writer_for
from trainables.direction import REAL
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "mindgap"
METRICS = ("top1", "top5", "train_loss", "learning_rate", "seconds")
"""What every epoch has; whatever else is a number is logged too."""
WRITE_SECONDS = 1.0
"""What happens within that time is written together."""
LONGEST_TAG, LONGEST_VALUE = 5000, 6000
"""Characters that MLflow takes, of a tag and of a parameter."""
RETRY_SECONDS = 60
"""How long a failing write is tried again before it is given up and counted."""


def tracking_uri(store: Store) -> str:
    """Where runs are recorded: MLFLOW_TRACKING_URI if set, else a SQLite file in the store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store.root / 'mlflow.db'}"


def ui_command(uri: str) -> str:
    """How to look at the runs in a browser."""
    shown = redacted(uri)
    return f"look at {shown}" if uri.startswith("http") else f"mlflow ui --backend-store-uri {shown}"


@dataclass(slots=True)
class _TrialRun:
    """A trial's run: what is still to be written to it, the last epoch logged, and whether it has ended."""

    changes: Changes
    logged: int = 0
    ended: bool = False


class Tracker:
    """A watcher of `run_plan` that writes what happens to MLflow; use as a context manager."""

    def __init__(self, plan: Plan, store: Store, forced: Sequence[TrainingSpec] = ()) -> None:
        self._plan, self._store, self._forced = plan, store, forced
        self._trials = {spec.fingerprint: spec for spec in plan.trials}
        self._runs: dict[str, _TrialRun] = {}
        self._changed: dict[str, Changes] = {}
        self._datasets: dict[tuple[str, str], Any] = {}
        self._noted: set[str] = set()
        self._earlier: dict[str, tuple[str, str]] = {}
        self._parent = ""
        self._queue: queue.Queue[Callable[[], Any] | None] = queue.Queue()
        self._closing = threading.Event()
        self._opened = self._down = False
        self._lost: list[str] = []
        self._thread = threading.Thread(target=self._write, name="mlflow", daemon=True)
        self._client: MlflowClient
        self._writer: Writer
        self._experiment = ""

    def __enter__(self) -> Tracker:
        self._thread.start()
        self._later(self._open_study)
        for spec in self._forced:
            self._later(self._supersede, spec)
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[:1] == (KeyboardInterrupt,):
            return  # "Now" was asked for; the next run brings MLflow up to date from the store.
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    @property
    def pending(self) -> int:
        """How many writes are still waiting."""
        return self._queue.qsize() + len(self._changed) if self._thread.is_alive() else 0

    @property
    def lost(self) -> Sequence[str]:
        """What could not be written, after `__exit__`."""
        return self._lost

    def tasks_added(self, tasks: Sequence[Task]) -> None:
        """Knows the trials that a search suggests, but not the bases that they need, as trials of the study."""
        for item in tasks:
            self._trials |= {spec.fingerprint: spec for spec in item.members if self._is_searched(spec)}

    def _is_searched(self, spec: TrainingSpec) -> bool:
        return spec.source is not None or spec.direction.target == REAL

    def task_stopped(self, task: Task, epoch: int) -> None:
        """Closes the runs of trials that a search stopped."""
        for spec in task.members:
            if spec.fingerprint in self._trials:
                self._later(self._close_stopped, spec, epoch)

    def task_started(self, task: Task) -> None:
        """Opens a run for each trial of the task."""
        for spec in task.members:
            if spec.fingerprint in self._trials:
                self._later(self._changes, spec)

    def task_progressed(self, task: Task, progress: Any) -> None:
        """Logs an epoch's metrics, step = epoch."""
        if isinstance(progress, EpochReport):
            timings = {"timings": timings} if (timings := getattr(progress, "timings", None)) else {}
            for fingerprint, row in progress.trials.items():
                if fingerprint in self._trials:
                    self._later(self._log_epochs, self._trials[fingerprint], [{**timings, **row}])
            for fingerprint, reason in progress.failures.items():
                if fingerprint in self._trials and fingerprint not in self._noted:
                    self._noted.add(fingerprint)
                    self._later(self._tag, self._trials[fingerprint], "failure", reason)

    def task_retried(self, task: Task, reason: str, pause: float) -> None:
        """Notes on each trial's run why it started again."""
        for spec in task.members:
            if spec.fingerprint in self._trials:
                self._later(self._tag, spec, "retried", reason)

    def task_split(self, task: Task, pieces: Sequence[Task], reason: str) -> None:
        """Notes on each trial's run that its cohort was divided."""
        for piece in pieces:
            for spec in piece.members:
                if spec.fingerprint in self._trials:
                    self._later(self._tag, spec, "split", f"{task.title} went on as {piece.title}: {reason}")

    def task_ended(self, task: Task, failure: str | None) -> None:
        """Closes the runs of trials that failed with their work; the others are closed from the store's record."""
        for spec in task.members:
            if spec.fingerprint in self._trials:
                if failure is None:
                    self._later(self._close_from_store, spec)
                else:
                    self._later(self._close, spec, failure)

    def record_results(
        self, models: Mapping[str, StoredModel], files: Sequence[Path], note: str, complete: bool
    ) -> None:
        """Brings every finished trial's run up to date with the store, and attaches the report to the study's run."""
        for fingerprint in models:
            if fingerprint in self._trials:
                self._later(self._close_from_store, self._trials[fingerprint])
        self._later(self._finish_study, files, note, complete)

    def _later(self, write: Callable[..., Any], *arguments: Any) -> None:
        self._queue.put(functools.partial(write, *arguments))

    def _write(self) -> None:
        """What the thread does: takes what has come, writes it together, and lets some more come."""
        while self._take():
            self._try(self._flush)  # What cannot be written now stays for the next time.
            self._closing.wait(WRITE_SECONDS)
        if self._opened and (reason := self._try(self._flush)):
            self._lost.append(reason)

    def _take(self) -> bool:
        """Waits for something to do and does all that has come; whether there may be more."""
        task = self._queue.get()
        while task is not None:
            if reason := self._try(task):
                self._lost.append(reason)
                if not self._opened:
                    return False  # Nothing further can be written.
            try:
                task = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _try(self, task: Callable[[], Any]) -> str:
        """Does a task, repeatedly for `RETRY_SECONDS` where it fails, and returns the last reason; "" if it is done.

        Once a task was given up, those that come after it are tried once each, until one goes through.
        """
        attempts = tenacity.Retrying(
            stop=tenacity.stop_after_delay(0 if self._down else RETRY_SECONDS),
            wait=tenacity.wait_exponential(max=10),
            reraise=True,
        )
        try:
            attempts(task)
        except Exception as error:
            self._down = True
            return reason_of(error)
        self._down = False
        return ""

    def _flush(self) -> None:
        """Writes what has changed."""
        changes = [item for item in self._changed.values() if item]
        self._lost += [redacted(reason).splitlines()[0] for reason in self._writer.write(changes)]
        self._changed.clear()

    def _open_study(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # MLflow's own retries would try an absent server for minutes before saying so; ours are `RETRY_SECONDS`.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a line and a request for each run
        from mlflow import MlflowClient
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        # It logs a traceback for each write that a database does not take; such writes are repeated.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        uri = tracking_uri(self._store)
        self._client = MlflowClient(uri)
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        local = uri.startswith("sqlite:")
        artifacts = (self._store.root / "mlflow").as_uri() if local else None
        self._experiment = (
            experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT, artifacts)
        )
        tags = {
            "study": self._plan.study.name,
            "scale": self._plan.scale.name,
            "settings": _settings_digest(self._plan),
            "role": "study",
        }
        self._parent = (
            find_run(self._client, self._experiment, tags)
            or self._client.create_run(
                self._experiment, tags={**tags, MLFLOW_RUN_NAME: f"{self._plan.study.name} ({self._plan.scale.name})"}
            ).info.run_id
        )
        self._find_earlier()
        self._client.update_run(self._parent, status="RUNNING")
        self._writer = writer_for(self._client, self._experiment)
        self._opened = True

    def _run_of(self, spec: TrainingSpec) -> _TrialRun:
        """The trial's run: the one of an earlier, interrupted sweep if there is one."""
        if spec.fingerprint in self._runs:
            return self._runs[spec.fingerprint]
        run_id, status = self._earlier.get(spec.fingerprint, ("", ""))
        run = _TrialRun(self._new_run(spec) if not run_id else Changes(run_id, self._found_by(spec)))
        if status == "FINISHED":
            run.ended = True
        elif run_id:
            history = self._client.get_metric_history(run_id, "top1")
            run.logged = max((metric.step for metric in history), default=0)
        self._earlier.pop(spec.fingerprint, None)
        self._runs[spec.fingerprint] = run
        return run

    def _new_run(self, spec: TrainingSpec) -> Changes:
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

        about = {
            "study": self._plan.study.name,
            "scale": self._plan.scale.name,
            "role": "trial",
            "direction": str(spec.direction),
            "seed": str(spec.seed),
        }
        found_by = self._found_by(spec)
        return Changes(
            run_id="",
            found_by=found_by,
            started=_now(),
            tags={**found_by, MLFLOW_RUN_NAME: spec.title, **about},
            params={key: str(value)[:LONGEST_VALUE] for key, value in _params(spec, self._plan).items()},
            inputs=self._inputs(spec),
        )

    def _inputs(self, spec: TrainingSpec) -> list[Any]:
        """The data sets of a training; those of thousands of trainings are few."""
        found = []
        for part, context in (*((part, "training") for part in _stored(spec.train)), (spec.validation, "evaluation")):
            key = part.fingerprint, context
            if key not in self._datasets:
                self._datasets[key] = _input(part, self._store, context)
            found.append(self._datasets[key])
        return found

    def _changes(self, spec: TrainingSpec) -> Changes:
        """The changes of the trial's run, to be added to."""
        run = self._run_of(spec)
        self._changed[spec.fingerprint] = run.changes
        return run.changes

    def _find_earlier(self) -> None:
        """The runs of this study's trials that are there, in few questions: one for each trial would cost thousands."""
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        condition, page = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self._parent}'", None
        while True:
            found = self._client.search_runs([self._experiment], condition, max_results=1000, page_token=page)
            for run in found:
                self._earlier[run.data.tags.get("fingerprint", "")] = (run.info.run_id, run.info.status)
            if not (page := found.token):
                return

    def _supersede(self, spec: TrainingSpec) -> None:
        """Moves the run of a trial that is forced to MLflow's bin: the new one is another run."""
        if run_id := find_run(self._client, self._experiment, self._found_by(spec)):
            self._client.delete_run(run_id)
        self._earlier.pop(spec.fingerprint, None)

    def _found_by(self, spec: TrainingSpec) -> dict[str, str]:
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        return {"fingerprint": spec.fingerprint, MLFLOW_PARENT_RUN_ID: self._parent}

    def _tag(self, spec: TrainingSpec, key: str, text: str) -> None:
        self._changes(spec).tags[key] = text[:LONGEST_TAG]

    def _log_epochs(self, spec: TrainingSpec, rows: Sequence[Mapping[str, float]]) -> None:
        from mlflow.entities import Metric

        run = self._run_of(spec)
        new = [row for row in rows if row["epoch"] > run.logged]
        if new and not run.ended:
            now = _now()
            self._changes(spec).metrics += [
                Metric(key, value, now, int(row["epoch"])) for row in new for key, value in _numbers(row).items()
            ]
            run.logged = int(new[-1]["epoch"])

    def _close_from_store(self, spec: TrainingSpec) -> None:
        if not self._run_of(spec).ended:
            model = self._store.read_model(spec)
            self._log_epochs(spec, model.history)
            self._close(spec, model.failure)

    def _close(self, spec: TrainingSpec, failure: str | None) -> None:
        if not self._run_of(spec).ended:
            if failure is not None:
                self._tag(spec, "failure", failure)
            self._end(spec, "FAILED" if failure else "FINISHED")

    def _close_stopped(self, spec: TrainingSpec, epoch: int) -> None:
        self._tag(spec, "stopped", f"after epoch {epoch}: others with as many images did better")
        self._end(spec, "KILLED")

    def _end(self, spec: TrainingSpec, status: str) -> None:
        changes = self._changes(spec)
        changes.status, changes.ended = status, _now()
        self._runs[spec.fingerprint].ended = status != "KILLED"

    def _finish_study(self, files: Sequence[Path], note: str, complete: bool) -> None:
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

        self._flush()
        for path in files:
            self._client.log_artifact(self._parent, str(path))
        self._show_datasets()
        self._client.set_tag(self._parent, MLFLOW_RUN_NOTE, note[:8000])
        self._client.set_terminated(self._parent, "FINISHED" if complete else "KILLED")

    def _show_datasets(self) -> None:
        """Logs a contact sheet and a summary of each data set that the trials use, unless they are there."""
        logged = {item.path for item in self._client.list_artifacts(self._parent, "datasets")}
        for spec in _datasets(self._trials.values()):
            name = f"datasets/{spec.title}"
            if f"{name}.png" not in logged and self._store.has_by_now(spec):
                folder = self._store.dataset_folder(spec)
                self._store.bring_samples(spec)
                self._client.log_image(self._parent, contact_sheet(folder), artifact_file=f"{name}.png")
                self._client.log_dict(self._parent, _summary(folder), f"{name}.json")


def _datasets(trials: Iterable[TrainingSpec]) -> list[DatasetSpec]:
    """The stored data sets that trainings use, each once; of a mixture its parts."""
    used = [part for spec in trials for dataset in (spec.train, spec.validation) for part in _stored(dataset)]
    return list({spec.fingerprint: spec for spec in used}.values())


def _stored(spec: DatasetSpec) -> tuple[DatasetSpec, ...]:
    return spec.made_from if isinstance(spec, MixedDataset) else (spec,)


@functools.lru_cache(maxsize=64)
def _summary(folder: Path) -> dict[str, Any]:
    return stored_summary(folder)


def _now() -> int:
    return int(time.time() * 1000)


def _numbers(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every finite number of an epoch's row but its step, those of an inner table as "table/key"."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and math.isfinite(value) and key != "epoch":
            found[prefix + key] = float(value)
    return found


def check_tracking(store: Store) -> None:
    """Refuses a tracking address that MLflow does not know.

    Raises:
        InputError: MLFLOW_TRACKING_URI is neither a database nor a server.
    """
    uri = tracking_uri(store)
    if not uri.startswith(("sqlite:", "postgresql", "mysql", "mssql", "http://", "https://", "databricks")):
        raise InputError(
            f"MLFLOW_TRACKING_URI is {redacted(uri)!r}: give a server (http://...) or a database (sqlite:///...), "
            "or unset it."
        )


def _settings_digest(plan: Plan) -> str:
    """The same for sweeps whose grids differ but whose scale is set alike, so that a grid can grow within one run."""
    values = {**plan.scale.generation, **plan.scale.recipe}
    return fingerprint_of({key: str(value) for key, value in values.items()})[:16]


def _params(spec: TrainingSpec, plan: Plan) -> dict[str, Any]:
    """A choice of settings, and every axis of the study: MLflow's parallel coordinates show them."""
    fields = (
        *("frozen_layers", "fraction", "model", "augmentation", "frozen_batchnorm", "image_size"),
        *("epochs", "batch_size", "learning_rate", "seed"),
    )
    values = {name: getattr(spec, name) for name in fields}
    known = trial_values(spec)
    names = getattr(plan.study, "axis_names", None) or tuple(plan.study.axes)
    return {
        "pretrained_on": spec.source.train.name if spec.source else "nothing",
        "trained_on": spec.train.name,
        **values,
        **{name: known[name] for name in names if name in known},
    }


def _input(spec: DatasetSpec, store: Store, context: str) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = {"uri": store.dataset_folder(spec).as_uri()}
    if isinstance(spec, DiffusionDataset):
        source["pipeline"] = spec.pipeline
    about = {"images": spec.images, "classes": len(spec.class_names)}
    if store.has_by_now(spec):
        about |= _summary(store.dataset_folder(spec))
    dataset = Dataset(
        name=spec.title,
        digest=spec.fingerprint[:36],  # MLflow takes no more.
        source_type="local",
        source=json.dumps(source),
        profile=json.dumps(about),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
