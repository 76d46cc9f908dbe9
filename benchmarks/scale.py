"""Thousands of trials that do nothing, through plan, Ray, MLflow and report: what a trial costs beside its training.

    python -m benchmarks.scale [--trials 5000] [--artifacts 10000] [--out benchmarks/scale.json]

A trial reports one epoch and publishes a model without weights. Ray Tune's own cost is measured in the same run, on
the same cluster: trials that report once, with processes reused, first `--warmup` of them uncounted. The overhead is
what a trial of mindgap's takes longer than one of those.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psutil

from orchestrator.catalog import load
from orchestrator.messages import WorkFailed
from orchestrator.plan import Plan, Work, make_plan
from orchestrator.ray_environment import prepare
from orchestrator.remote_store import store_at
from orchestrator.store import Store
from orchestrator.tracking import Tracker
from trainables.report import EpochReport
from trainables.spec import TrainingSpec

ROW = {"epoch": 1, "top1": 50.0, "top5": 90.0, "train_loss": 1.0, "learning_rate": 0.1, "seconds": 0.01}


def no_op(config: dict[str, Any]) -> None:
    """Publishes a work's trainings without training them; runs in a process of Ray's."""
    from ray import tune

    work: Work = config["work"]
    store = store_at(config["resources"].store)
    try:
        for spec in work.members:
            store.publish_model(spec, [ROW], None, lambda path: path.write_bytes(b""))
        report = EpochReport(1, 1, {spec.fingerprint: ROW for spec in work.members})
        tune.report({"report": report})
    except OSError as error:
        tune.report({"report": WorkFailed("lost", str(error))})


def tunes_own(config: dict[str, Any]) -> None:
    """The least that a trial of Ray Tune's can do."""
    from ray import tune

    tune.report({"top1": 50.0})


class Memory:
    """A watcher that notes the driver's memory and the time as trials end."""

    def __init__(self, every: int) -> None:
        self._every, self._ended = every, 0
        self.megabytes: list[float] = []
        self.seconds: list[float] = []

    def work_started(self, work: Work) -> None:
        """Nothing."""

    def work_progressed(self, work: Work, progress: Any) -> None:
        """Nothing."""

    def work_retried(self, work: Work, reason: str, pause: float) -> None:
        """Nothing."""

    def work_split(self, work: Work, pieces: Any, reason: str) -> None:
        """Nothing."""

    def works_added(self, works: Any) -> None:
        """Nothing."""

    def work_stopped(self, work: Work, epoch: int) -> None:
        """Nothing."""

    def work_ended(self, work: Work, failure: str | None) -> None:
        """Takes a sample after every so many trials."""
        self._ended += 1
        if self._ended % self._every == 0:
            self.megabytes.append(psutil.Process().memory_info().rss / 1e6)
            self.seconds.append(time.perf_counter())


def plan_of(trials: int, store: Store) -> Plan:
    """So many trainings from scratch, each of a seed of its own, so that none share a cohort."""
    study, scale = load("layer_importance", "pocket")
    study = replace(study, axes={}, baselines=("real",))
    return make_plan(study, replace(scale, recipe={**scale.recipe, "epochs": 1, "warmup_epochs": 0}), trials, store)


def seconds_of_tunes_own(trials: int, warmup: int, folder: Path) -> float:
    """Seconds of one trial of Ray Tune's own, once its processes are up."""
    from ray import tune

    ended: list[float] = []

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ended.append(time.perf_counter())

        def __reduce__(self) -> Any:
            return object, ()

    tune.Tuner(
        tune.with_resources(tunes_own, {"CPU": 1}),
        param_space={"number": tune.grid_search(list(range(trials + warmup)))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[Ends()]),
    ).fit()
    return (ended[-1] - ended[warmup - 1]) / (len(ended) - warmup)


def open_with(artifacts: int, store: Store, spec: TrainingSpec) -> float:
    """Seconds to open a store of so many artifacts (copies of one published training under other names)."""
    folder = store.model_folder(spec)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for number in range(artifacts - sum(1 for _ in folder.parent.iterdir())):
        copy = folder.parent / f"{number:064x}"
        copy.mkdir()
        for name, content in files.items():
            (copy / name).write_bytes(content)
    started = time.perf_counter()
    opened = Store(store.root).open()
    with opened.owned("benchmark"):
        pass
    return time.perf_counter() - started


@click.command()
@click.option("--trials", default=5000, show_default=True)
@click.option("--own", default=500, show_default=True, help="Trials of Ray Tune's own to compare with.")
@click.option("--warmup", default=20, show_default=True, help="Trials that are not counted: processes start.")
@click.option("--artifacts", default=10000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/scale.json"), show_default=True)
def main(trials: int, own: int, warmup: int, artifacts: int, out: Path) -> None:
    """Measures, prints and writes what many trials cost."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory(prefix="mindgap-scale-") as folder:
        found = _measure(trials, own, warmup, artifacts, Path(folder))
    out.write_text(json.dumps(found, indent=2) + "\n")
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' ')}: {value}")


def _measure(trials: int, own: int, warmup: int, artifacts: int, folder: Path) -> dict[str, Any]:
    from orchestrator.results import finished_models

    prepare(None)
    from orchestrator.execute import join_cluster, run_plan

    store = Store(folder / "store").open()
    started = time.perf_counter()
    plan = plan_of(trials, store)
    work = plan.work(os.cpu_count() or 1)
    planned = time.perf_counter() - started
    cluster = join_cluster(None)
    of_tune = seconds_of_tunes_own(own, warmup, folder / "own")
    memory = Memory(every=max(1, trials // 50))
    started = time.perf_counter()
    with Tracker(plan, store) as tracker:
        outcome = run_plan(work, store, cluster, [memory, tracker], run=no_op)
        ran = time.perf_counter() - started
        tracker.record_results(finished_models(plan, store), [], "no-op trials", complete=True)
    recorded = time.perf_counter() - started
    steady = (memory.seconds[-1] - memory.seconds[0]) / max(1, len(memory.seconds) - 1) / max(1, trials // 50)
    early, late = memory.megabytes[len(memory.megabytes) // 5], memory.megabytes[-1]
    return {
        "trials": trials,
        "done": len(outcome.done),
        "failed": len(outcome.failed),
        "cpus": os.cpu_count(),
        "plan_seconds": round(planned, 2),
        "run_seconds": round(ran, 1),
        "until_all_is_in_mlflow_seconds": round(recorded, 1),
        "milliseconds_a_trial": round(1000 * steady, 1),
        "milliseconds_a_trial_of_ray_tune": round(1000 * of_tune, 1),
        "overhead_milliseconds_a_trial": round(1000 * (steady - of_tune), 1),
        "overhead_with_mlflow_milliseconds_a_trial": round(1000 * (recorded / trials - of_tune), 1),
        "lost_writes_to_mlflow": len(tracker.lost),
        "driver_megabytes_after_a_fifth": round(early),
        "driver_megabytes_at_the_end": round(late),
        "driver_megabytes_median": round(statistics.median(memory.megabytes)),
        "report_seconds": round(_report_seconds(plan, store), 1),
        "artifacts": artifacts,
        "open_seconds": round(open_with(artifacts, store, plan.trials[0]), 3),
    }


def _report_seconds(plan: Plan, store: Store) -> float:
    from orchestrator.report import write_report
    from orchestrator.results import finished_models

    started = time.perf_counter()
    write_report(plan, store, finished_models(plan, store), "benchmarks.scale")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
