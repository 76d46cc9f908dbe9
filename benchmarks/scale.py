"""Thousands of trials that do nothing, through plan, Ray, MLflow and report: what a trial costs beside its training.

    python -m benchmarks.scale [--trials 5000] [--artifacts 10000] [--out benchmarks/results/scale.json]

A trial reports one epoch and publishes a model without weights; progress, status and MLflow are told as in a sweep.
Ray Tune's own cost is measured in the same run, on the same cluster: trials that report once, with processes reused. Of
both the first `--warmup` trials are not counted, for processes start. The overhead is what a trial of mindgap's takes
longer than one of those, until the last is in MLflow. `python -m benchmarks.tables scale` puts it into the README.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import psutil

from datagen.core.ray_session import prepare
from datagen.core.terminal import plain_console
from orchestrator.cli.progress import Progress
from orchestrator.cli.status import StatusFile
from orchestrator.execution.messages import FailureKind, TaskFailed
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, Task, make_plan
from orchestrator.storage.store import Store
from orchestrator.tracking.recorder import Tracker
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

ROW = {"epoch": 1, "top1": 50.0, "top5": 90.0, "train_loss": 1.0, "learning_rate": 0.1, "seconds": 0.01}


def no_op(config: dict[str, Any]) -> None:
    """Publishes a task's trainings without training them; runs in a process of Ray's."""
    from ray import tune

    task: Task = config["task"]
    store = Store(config["resources"].store)
    try:
        for spec in task.members:
            store.publish_model(spec, [ROW], None, lambda path: path.write_bytes(b""))
        report = EpochReport(1, 1, {spec.fingerprint: ROW for spec in task.members})
        tune.report({"report": report})
    except OSError as error:
        tune.report({"report": TaskFailed(FailureKind.LOST, str(error))})


def tunes_own(config: dict[str, Any]) -> None:
    """The least that a trial of Ray Tune's can do."""
    from ray import tune

    tune.report({"top1": 50.0})


@dataclass
class Ends:
    """What the driver has used when each trial ended: seconds by the clock, of a core, and memory in MB."""

    clock: list[float] = field(default_factory=list)
    core: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def note(self) -> None:
        """A trial has ended."""
        self.clock.append(time.perf_counter())
        self.core.append(time.process_time())
        self.megabytes.append(psutil.Process().memory_info().rss / 1e6)

    def milliseconds(self, times: list[float], warmup: int, end: float | None = None) -> float:
        """Of one trial after the first `warmup`, until the last has ended or until `end`."""
        return 1000 * ((end or times[-1]) - times[warmup - 1]) / (len(times) - warmup)


class EndsOfWorks(Ends):
    """Notes the ends of a plan's works, as a watcher of `run_plan`."""

    def task_started(self, task: Task) -> None:
        """Nothing."""

    def task_progressed(self, task: Task, progress: Any) -> None:
        """Nothing."""

    def task_retried(self, task: Task, reason: str, pause: float) -> None:
        """Nothing."""

    def task_split(self, task: Task, pieces: Any, reason: str) -> None:
        """Nothing."""

    def tasks_added(self, tasks: Any) -> None:
        """Nothing."""

    def task_stopped(self, task: Task, epoch: int) -> None:
        """Nothing."""

    def task_silent(self, task: Task, sentence: str) -> None:
        """Nothing."""

    def task_ended(self, task: Task, failure: str | None) -> None:
        """Notes it."""
        self.note()


@contextmanager
def saying(what: str, ends: Ends | None = None) -> Iterator[None]:
    """Says on stderr, where the table is not, every few seconds what is being done and how far it is."""
    stop, started = threading.Event(), time.perf_counter()

    def say() -> None:
        while True:
            trials = f", {len(ends.clock)} trials" if ends else ""
            print(f"... {what}: {time.perf_counter() - started:.0f} s{trials}", file=sys.stderr, flush=True)
            if stop.wait(4):
                return

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def plan_of(trials: int, store: Store) -> Plan:
    """So many trainings from scratch, each of a seed of its own, so that none share a cohort."""
    study, scale = load("layer_importance", "pocket")
    study = replace(study, axes={}, baselines=("real",))
    return make_plan(study, replace(scale, recipe={**scale.recipe, "epochs": 1, "warmup_epochs": 0}), trials, store)


def run_tunes_own(trials: int, folder: Path, ends: Ends) -> None:
    """Runs trials of Ray Tune's own."""
    from ray import tune

    class Notes(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ends.note()

        def __reduce__(self) -> Any:
            return object, ()

    tune.Tuner(
        tune.with_resources(tunes_own, {"CPU": 1}),
        param_space={"number": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[Notes()]),
    ).fit()


def open_with(artifacts: int, store: Store, spec: TrainingSpec) -> float:
    """Seconds to open a store of so many artifacts (copies of one published training under other names)."""
    folder = store.folder(spec)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for number in range(artifacts - sum(1 for _ in folder.parent.iterdir())):
        copy = folder.parent / f"{number:064x}"
        copy.mkdir()
        for name, content in files.items():
            (copy / name).write_bytes(content)
    started = time.perf_counter()
    opened = Store(store.root).create()
    with opened.owned("benchmark"):
        pass
    return time.perf_counter() - started


@click.command()
@click.option("--trials", default=5000, show_default=True, type=click.IntRange(100))
@click.option("--own", default=500, show_default=True, help="Trials of Ray Tune's own to compare with.")
@click.option("--warmup", default=20, show_default=True, help="Trials that are not counted: processes start.")
@click.option("--artifacts", default=10000, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/scale.json"), show_default=True
)
def main(trials: int, own: int, warmup: int, artifacts: int, out: Path) -> None:
    """Measures what many trials cost, writes the figures to a file and prints them as a table."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory(prefix="mindgap-scale-") as folder:
        found = _measure(trials, own, warmup, artifacts, Path(folder))
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    click.echo(table(found))


def table(found: Mapping[str, Any]) -> str:
    """The figures as Markdown, beside the goals."""
    lines = [f"{found['trials']:,} trials, {found['cpus']} cores.", "", "| | measured | goal |", "|---|---|---|"]
    rows = [
        ("ms a trial, until all is in MLflow", f"{found['milliseconds']:.1f}", ""),
        ("ms a trial of Ray Tune's own", f"{found['milliseconds_of_ray_tune']:.1f}", ""),
        ("overhead, ms a trial", f"{found['overhead_milliseconds']:.1f}", "under 20"),
        ("ms of a core a trial, the driver's", f"{found['core_milliseconds']:.1f}", ""),
        ("the same of Ray Tune's own", f"{found['core_milliseconds_of_ray_tune']:.1f}", ""),
        ("writes to MLflow that failed", str(found["failed_writes_to_mlflow"]), "0"),
        ("runs finished in MLflow", f"{found['runs_finished_in_mlflow']:,}", f"{found['trials']:,}"),
        ("driver's memory after a fifth of the trials, MB", str(found["driver_megabytes_after_a_fifth"]), ""),
        ("driver's memory after all, MB", str(found["driver_megabytes_at_the_end"]), "flat"),
        ("seconds to plan", f"{found['plan_seconds']:.2f}", ""),
        ("seconds to plan again, when all is there", f"{found['plan_again_seconds']:.2f}", ""),
        ("seconds to write the report", f"{found['report_seconds']:.1f}", "under 10"),
        (f"seconds to open a store of {found['artifacts']:,} artifacts", f"{found['open_seconds']:.3f}", "under 1"),
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _measure(trials: int, own: int, warmup: int, artifacts: int, folder: Path) -> dict[str, Any]:
    from orchestrator.reporting.tables import finished_models

    store = Store(folder / "store").create()
    with saying("planning"):
        started = time.perf_counter()
        plan = plan_of(trials, store)
        task = plan.tasks(os.cpu_count() or 1)
        planned = time.perf_counter() - started
    with saying("starting Ray"):
        prepare(None)
        from orchestrator.execution.tune import join_cluster, run_plan

        cluster = join_cluster(None)
    of_tune, ends = Ends(), EndsOfWorks()
    with saying("Ray Tune's own trials", of_tune):
        run_tunes_own(own + warmup, folder / "own", of_tune)
    with saying("trials", ends), open(os.devnull, "w", encoding="utf-8") as nowhere:
        progress, status = Progress(task, plain_console(file=nowhere)), StatusFile(plan, store)
        with Tracker(plan, store) as tracker:
            with progress, status:
                outcome = run_plan(task, store, cluster, [progress, tracker, status, ends], run=no_op)
            tracker.record_results(finished_models(plan, store), [], "no-op trials", complete=True)
        recorded = time.perf_counter()
        recorded_core = time.process_time()
    with saying("planning and reporting"):
        started = time.perf_counter()
        plan = plan_of(trials, store)
        planned_again = time.perf_counter() - started
        reported = _report_seconds(plan, store)
    with saying(f"making {artifacts} artifacts"):
        opened = open_with(artifacts, store, plan.trials[0])
    milliseconds = ends.milliseconds(ends.clock, warmup, recorded)
    milliseconds_of_tune = of_tune.milliseconds(of_tune.clock, warmup)
    return {
        "trials": trials,
        "done": len(outcome.done),
        "failed": len(outcome.failed),
        "cpus": os.cpu_count(),
        "milliseconds": round(milliseconds, 1),
        "milliseconds_of_ray_tune": round(milliseconds_of_tune, 1),
        "overhead_milliseconds": round(milliseconds - milliseconds_of_tune, 1),
        "core_milliseconds": round(ends.milliseconds(ends.core, warmup, recorded_core), 1),
        "core_milliseconds_of_ray_tune": round(of_tune.milliseconds(of_tune.core, warmup), 1),
        "seconds_from_the_last_trial_until_all_is_in_mlflow": round(recorded - ends.clock[-1], 1),
        "failed_writes_to_mlflow": len(tracker.lost),
        "runs_finished_in_mlflow": _finished_runs(store),
        "driver_megabytes_after_a_fifth": round(ends.megabytes[trials // 5]),
        "driver_megabytes_at_the_end": round(ends.megabytes[-1]),
        "plan_seconds": round(planned, 2),
        "plan_again_seconds": round(planned_again, 2),
        "report_seconds": round(reported, 1),
        "artifacts": artifacts,
        "open_seconds": round(opened, 3),
    }


def _finished_runs(store: Store) -> int:
    """How many trials' runs MLflow knows as finished."""
    with closing(sqlite3.connect(store.root / "mlflow.db")) as database:
        query = "select count(*) from runs join tags using (run_uuid) where status = 'FINISHED' and key = 'fingerprint'"
        return int(database.execute(query).fetchone()[0])


def _report_seconds(plan: Plan, store: Store) -> float:
    from orchestrator.reporting.report import write_report
    from orchestrator.reporting.tables import finished_models

    started = time.perf_counter()
    write_report(plan, store, finished_models(plan, store), "benchmarks.scale")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
