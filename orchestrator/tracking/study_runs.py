"""A study in MLflow: one run for the study, below it one for each trial."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.core.wording import file_safe
from datagen.datasets.contact_sheet import contact_sheet
from datagen.datasets.virtual import stored_parts
from orchestrator.planning.plan import Plan
from orchestrator.storage.store import Store
from orchestrator.tracking.address import tracking_uri
from orchestrator.tracking.client import find_run, open_client, runs_with
from orchestrator.tracking.contents import (
    dataset_input,
    final_numbers,
    numbers,
    params,
    run_name,
    settings_digest,
    stored_datasets,
    study_curves,
    summary,
)
from orchestrator.tracking.experiment import open_experiment
from orchestrator.tracking.secrets import redacted
from orchestrator.tracking.writer import Changes, Writer
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

LONGEST_TAG, LONGEST_NOTE = 5000, 8000
"""Characters that MLflow takes of a tag, and of the study's description."""


@dataclass(slots=True)
class _TrialRun:
    """A trial's run: what is still to be written to it, the last epoch logged, and whether it has ended."""

    changes: Changes
    logged: int = 0
    ended: bool = False


NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
"""What a metric of MLflow's may not be called."""


class StudyRuns:
    """The runs of a study; used by one thread, and by `recorder.Tracker` only.

    Args:
        plan: of the study.
        store: whose tracking store is written to, and where results and images are.
        trials: the trainings that have runs, by fingerprint; more may come.
    """

    def __init__(self, plan: Plan, store: Store, trials: Mapping[str, TrainingSpec]) -> None:
        self._plan, self._store, self._trials = plan, store, trials
        self._runs: dict[str, _TrialRun] = {}
        self._changed: dict[str, Changes] = {}
        self._datasets: dict[tuple[str, str], DatasetInput] = {}
        self._earlier: dict[str, tuple[str, str]] = {}
        self._refused: list[str] = []
        self._names: dict[str, str] = {}
        self._parent = self._experiment = ""
        self._client: MlflowClient
        self._writer: Writer

    def open(self) -> None:
        """Finds or makes the experiment and the study's run, and finds the runs of its trials."""
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

        uri = tracking_uri(self._store)
        self._client = open_client(uri)
        self._experiment = open_experiment(self._client, uri)
        tags = {
            "study": self._plan.study.name,
            "scale": self._plan.scale.name,
            "settings": settings_digest(self._plan),
            "role": "study",
        }
        name = f"{self._plan.study.name} ({self._plan.scale.name})"
        self._parent = find_run(self._client, self._experiment, tags) or (
            self._client.create_run(self._experiment, tags={**tags, MLFLOW_RUN_NAME: name}).info.run_id
        )
        self._find_earlier()
        self._client.update_run(self._parent, status="RUNNING")
        self._writer = Writer(self._client, self._experiment)

    def flush(self) -> list[str]:
        """Writes what has changed; returns what MLflow has refused, a sentence each."""
        self._write()
        refused, self._refused = self._refused, []
        return refused

    def _write(self) -> None:
        changes = [item for item in self._changed.values() if item]
        self._refused += [redacted(reason).splitlines()[0] for reason in self._writer.write(changes)]
        self._changed.clear()

    def _find_earlier(self) -> None:
        """The runs of this study's trials that are there, in few questions: one for each trial would cost thousands."""
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        for run in runs_with(self._client, self._experiment, {MLFLOW_PARENT_RUN_ID: self._parent}):
            self._earlier[run.data.tags.get("fingerprint", "")] = (run.info.run_id, run.info.status)

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
            tags={**found_by, MLFLOW_RUN_NAME: self._name_of(spec), **about},
            params=params(spec, self._plan),
            inputs=self._inputs(spec),
        )

    def _name_of(self, spec: TrainingSpec) -> str:
        """The trial's name, with its fingerprint's first digits if another trial of the study is called so."""
        name = run_name(spec)
        other = self._names.setdefault(name, spec.fingerprint) != spec.fingerprint
        return f"{name} {spec.fingerprint[:8]}" if other else name

    def _found_by(self, spec: TrainingSpec) -> dict[str, str]:
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        return {"fingerprint": spec.fingerprint, MLFLOW_PARENT_RUN_ID: self._parent}

    def _inputs(self, spec: TrainingSpec) -> list[DatasetInput]:
        """The data sets of a training; those of thousands of trainings are few."""
        found = []
        used = [(part, "training") for part in stored_parts(spec.train)] + [(spec.validation, "evaluation")]
        for part, context in used:
            key = part.fingerprint, context
            if key not in self._datasets:
                self._datasets[key] = dataset_input(part, self._store, context)
            found.append(self._datasets[key])
        return found

    def supersede(self, spec: TrainingSpec) -> None:
        """Moves the run of a trial that is forced to MLflow's bin: the new one is another run."""
        if run_id := find_run(self._client, self._experiment, self._found_by(spec)):
            self._client.delete_run(run_id)
        self._earlier.pop(spec.fingerprint, None)

    def start(self, spec: TrainingSpec) -> Changes:
        """Opens the trial's run if it is not; returns its changes, to be added to."""
        run = self._run_of(spec)
        self._changed[spec.fingerprint] = run.changes
        return run.changes

    def tag(self, spec: TrainingSpec, key: str, text: str) -> None:
        """Sets a tag of the trial's run."""
        self.start(spec).tags[key] = text[:LONGEST_TAG]

    def log_epochs(self, spec: TrainingSpec, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds the metrics of those epochs that are not there, step = epoch."""
        from mlflow.entities import Metric

        run = self._run_of(spec)
        new = [row for row in rows if row["epoch"] > run.logged]
        if new and not run.ended:
            now = _now()
            self.start(spec).metrics += [
                Metric(key, value, now, int(row["epoch"])) for row in new for key, value in numbers(row).items()
            ]
            run.logged = int(new[-1]["epoch"])

    def close_from_store(self, spec: TrainingSpec) -> None:
        """Ends a trial's run with what the store has of it."""
        if not self._run_of(spec).ended:
            model = self._store.read_model(spec)
            self.log_epochs(spec, model.history)
            if model.failure is None and model.history:
                self._log_final(spec, model.history)
            self.close(spec, model.failure)

    def _log_final(self, spec: TrainingSpec, history: Sequence[Mapping[str, float]]) -> None:
        """The numbers that the report shows, beside the curves by epoch."""
        from mlflow.entities import Metric

        now, step = _now(), int(history[-1]["epoch"])
        self.start(spec).metrics += [Metric(key, value, now, step) for key, value in final_numbers(history).items()]

    def log_evaluations(self, spec: TrainingSpec, top1: Mapping[str, float]) -> None:
        """Adds the top-1 on further sets, percent, by their names, at the last epoch: also to a run that has ended."""
        from mlflow.entities import Metric

        now = _now()
        self.start(spec).metrics += [
            Metric(f"top1/{NOT_IN_NAMES.sub('_', name)}", value, now, spec.epochs) for name, value in top1.items()
        ]

    def close(self, spec: TrainingSpec, failure: str | None) -> None:
        """Ends a trial's run; `failure` says why it failed, None that it did not."""
        if not self._run_of(spec).ended:
            if failure is not None:
                self.tag(spec, "failure", failure)
            self._end(spec, "FAILED" if failure else "FINISHED")

    def close_stopped(self, spec: TrainingSpec, epoch: int) -> None:
        """Ends the run of a trial that a search stopped."""
        self.tag(spec, "stopped", f"after epoch {epoch}: others with as many images did better")
        self._end(spec, "KILLED")

    def _end(self, spec: TrainingSpec, status: str) -> None:
        changes = self.start(spec)
        changes.status, changes.ended = status, _now()
        self._runs[spec.fingerprint].ended = status != "KILLED"

    def finish(self, files: Sequence[Path], note: str, complete: bool, points: pd.DataFrame | None) -> None:
        """Gives the study's run its results, the report and the data sets' pictures, and ends it."""
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

        self._write()
        for path in files:
            self._client.log_artifact(self._parent, str(path))
        if points is not None:
            self._log_curves(points)
        self._show_datasets()
        self._client.set_tag(self._parent, MLFLOW_RUN_NOTE, _description(files, note))
        self._client.set_terminated(self._parent, "FINISHED" if complete else "KILLED")

    def _log_curves(self, points: pd.DataFrame) -> None:
        """Adds those points of the study's curves that are not there yet."""
        from mlflow.entities import Metric

        curves, now = study_curves(points, self._plan.study.figure), _now()
        names = dict.fromkeys(name for name, _, _ in curves)
        there = {
            (name, metric.step, metric.value)
            for name in names
            for metric in self._client.get_metric_history(self._parent, name)
        }
        new = [Metric(name, value, now, step) for name, step, value in curves if (name, step, value) not in there]
        self._client.log_batch(self._parent, metrics=new)

    def _show_datasets(self) -> None:
        """Logs a contact sheet and a summary of each data set that the trials use, unless they are there."""
        logged = {item.path for item in self._client.list_artifacts(self._parent, "datasets")}
        for spec in stored_datasets(self._trials.values()):
            # Two data sets may have one title, in which letters may stand that no path takes.
            name = f"datasets/{file_safe(spec.title)} {spec.fingerprint[:8]}"
            if f"{name}.png" not in logged and (folder := self._store.open_samples(spec)):
                self._client.log_image(self._parent, contact_sheet(folder), artifact_file=f"{name}.png")
                self._client.log_dict(self._parent, summary(folder), f"{name}.json")


def _description(files: Sequence[Path], note: str) -> str:
    """The report in Markdown if there is one, without the figure, which is an artifact; as much as MLflow takes."""
    report = next((path for path in files if path.suffix == ".md"), None)
    lines = [note] if report is None else report.read_text(encoding="utf-8").splitlines()
    kept, room = [], LONGEST_NOTE
    for line in lines:
        room -= len(line) + 1
        if room > 0 and not line.startswith("!["):
            kept.append(line)
    return "\n".join(kept)


def _now() -> int:
    return int(time.time() * 1000)
