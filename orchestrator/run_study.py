"""Runs a planned study from start to end: cluster, work, records, report."""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from datagen.core.command import in_this_shell
from datagen.core.device import choose
from datagen.core.errors import InputError
from datagen.core.files import write_json
from datagen.core.identity import fingerprint_of
from datagen.core.ray_session import cluster_address, prepare
from orchestrator.claims.statistics import LAST_EPOCHS
from orchestrator.cli.options import Options
from orchestrator.cli.progress import Progress, duration
from orchestrator.cli.status import StatusFile
from orchestrator.planning.calibration import note_speed
from orchestrator.planning.plan import Plan
from orchestrator.planning.search import SearchRun, with_searched
from orchestrator.reporting.report import Report, show_report, write_report
from orchestrator.reporting.tables import finished_models
from orchestrator.storage.store import Store, StoredModel
from orchestrator.tracking.address import check_tracking, tracking_uri, ui_command
from orchestrator.tracking.checks import check_records
from orchestrator.tracking.recorder import Tracker
from orchestrator.tracking.secrets import redacted
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    from orchestrator.execution.scheduler import Outcome, Watcher

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130


@dataclass
class StudyRun:
    """One run of a plan: what is run and where, and what has become of it.

    Attributes:
        plan: what is asked for; after the work with what a search has found.
        store: where the results go.
        options: how to run.
        command: the command to repeat it with; None if it was started from Python.
        console: where the user is told.
        outcome: of the work, once there was any.
        began: when, by the monotonic clock.
    """

    plan: Plan
    store: Store
    options: Options
    command: str | None
    console: Console
    outcome: Outcome | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def has_work(self) -> bool:
        """Whether a selected trial, or what it needs, is missing."""
        return bool(self.plan.part.missing() or self.plan.part.to_search)

    @property
    def models(self) -> dict[str, StoredModel]:
        """The plan's trials that are published, and those that failed in this run for reasons of its own."""
        reasons = self.outcome.reasons if self.outcome else {}
        failed = {
            spec.fingerprint: StoredModel(spec.fingerprint, [], reasons[spec.fingerprint], Path())
            for spec in self.plan.trials
            if spec.fingerprint in reasons
        }
        return finished_models(self.plan, self.store) | failed


def run_study(plan: Plan, store: Store, options: Options, command: str | None, console: Console) -> int:
    """Runs what is missing, writes the report and the MLflow records, prints them, and returns the exit code.

    Only what the plan selects is run; the report is always that of the whole.

    Raises:
        InputError: real images or a generator are missing; the sentence says how to get them.
    """
    run = StudyRun(plan, store, options, command, console)
    _check(run)
    _announce(run)
    if not run.has_work and _is_recorded(run):
        _report(run, tracker=None)
        return _conclude(run)
    if absence := check_records(tracking_uri(store)):
        console.print(absence, style="yellow", soft_wrap=True)
    with Tracker(plan, store, forced=plan.forced) as tracker:
        if run.has_work:
            run.outcome = _run_missing(run, tracker)
        store.refresh()
        run.plan = with_searched(run.plan, store)
        _report(run, tracker)
        code = _conclude(run)
        if tracker.pending:
            console.print("Writing the last records to MLflow (for a minute at most if it does not answer)")
    if tracker.lost:
        reasons = ", ".join(dict.fromkeys(tracker.lost))
        console.print(Text.assemble(("Not all is in MLflow: ", "yellow"), reasons, ". The same command tries again."))
    elif code != INTERRUPTED:
        write_json(_record_note(run), _record(run))
    return code


def _check(run: StudyRun) -> None:
    """Refuses what cannot run, before anything is drawn or trained."""
    part = run.plan.part
    if part.missing_inputs:
        raise InputError(part.missing_inputs[0])
    check_tracking(run.store)
    listed = {(spec.model, spec.network, spec.image_size, spec.own_sources) for spec in part.trials if spec.layers}
    if listed and part.missing():
        from trainables.models.checks import check_network

        for model, network, image_size, sources in listed:
            check_network(model, network, image_size, sources)


def _announce(run: StudyRun) -> None:
    part = run.plan.part
    missing = sum(spec.fingerprint not in part.existing for spec in part.trials)
    counts = f" on scale {part.scale.name}: {len(part.trials)} trials, {missing} to run."
    run.console.print(Text.assemble((part.study.name, "bold"), counts))
    for sentence in part.repetitions:
        run.console.print(sentence, style="yellow")
    run.console.print(f"MLflow: {in_this_shell(ui_command(tracking_uri(run.store)))}", soft_wrap=True)


def _is_recorded(run: StudyRun) -> bool:
    """Whether an earlier run brought this very plan into the tracking store, so that opening it can be spared."""
    try:
        return bool(json.loads(_record_note(run).read_text(encoding="utf-8")) == _record(run))
    except (OSError, ValueError):
        return False


def _record(run: StudyRun) -> dict[str, str]:
    trials = fingerprint_of([spec.fingerprint for spec in run.plan.trials])
    return {"uri": redacted(tracking_uri(run.store)), "trials": trials}


def _record_note(run: StudyRun) -> Path:
    return run.store.study_folder(run.plan.study.name, run.plan.scale.name) / "recorded.json"


def _run_missing(run: StudyRun, tracker: Tracker) -> Outcome:
    """Runs the selected part's work on Ray."""
    plan, store, options, console = run.plan.part, run.store, run.options, run.console
    began = time.monotonic()
    address = cluster_address(options.address)
    with console.status("Starting Ray") if console.is_terminal else _line(console, "Starting Ray"):
        choose(options.device)
        prepare(address)
        from orchestrator.execution.cluster import devices_line
        from orchestrator.execution.tune import join_cluster, run_plan
        from orchestrator.execution.watch import PATIENCE

        cluster = join_cluster(
            address, options.gpus_per_worker, options.cpus_per_worker or 0.0, dashboard=options.dashboard
        )
    console.print(devices_line(cluster, address is not None), soft_wrap=True)
    if cluster.dashboard:
        console.print(f"Ray dashboard: {cluster.dashboard}")
    tasks = plan.tasks(cluster.slots)

    def say_stopping() -> None:
        console.print("Stopping when the running epochs and shards are done. Again: stop now, and repeat them later.")

    search = SearchRun(plan, store, functools.partial(_top1, store)) if plan.study.search else None
    with Progress(tasks, console) as progress, StatusFile(plan, store) as status:
        watchers: list[Watcher] = [progress, tracker, status]
        started = time.monotonic()
        outcome = run_plan(
            tasks,
            store,
            cluster,
            watchers,
            fail_fast=options.fail_fast,
            on_stop=say_stopping,
            search=search,
            patience=replace(PATIENCE, limit=60 * options.stall_minutes),
        )
    if not (outcome.failed or outcome.retries or outcome.splits or outcome.interrupted or search):
        note_speed(plan.scale, store, outcome.done, cluster.slots, started - began, time.monotonic() - started)
    return outcome


@contextlib.contextmanager
def _line(console: Console, text: str) -> Iterator[None]:
    """Says a line once, where a terminal would show a spinner."""
    console.print(text)
    yield


def _top1(store: Store, spec: TrainingSpec) -> float | None:
    """The mean over the last epochs; None if the training has failed or is not there."""
    model = store.read_model(spec) if store.find(spec) else None
    if model is None or model.failure or not model.history:
        return None
    return statistics.fmean(row["top1"] for row in model.history[-LAST_EPOCHS:])


def _report(run: StudyRun, tracker: Tracker | None) -> None:
    """Writes the report, into the tracking store too, and prints it and what went wrong."""
    report = write_report(run.plan, run.store, run.models, run.command or "orchestrator.run")
    if tracker is not None:
        published = finished_models(run.plan, run.store)
        tracker.record_results(
            published, report.files, report.verdict, _is_complete(run), report.points, report.evaluated
        )
    show_report(report, run.console)
    _show_failures(run)
    _show_places(run, report)


def _is_complete(run: StudyRun) -> bool:
    """Whether every trial of the whole plan is published and none has failed."""
    found = finished_models(run.plan, run.store)
    return len(found) == len(run.plan.trials) and not any(model.failure for model in found.values())


def _failed(run: StudyRun) -> dict[TrainingSpec, str]:
    """The selected trials that failed, with the reasons."""
    models = run.models
    found = {spec: models[spec.fingerprint].failure for spec in run.plan.part.trials if spec.fingerprint in models}
    return {spec: failure for spec, failure in found.items() if failure}


def _show_failures(run: StudyRun) -> None:
    failed = _failed(run)
    for spec, failure in failed.items():
        run.console.print(Text.assemble((f"{spec.title} failed: ", "red"), failure))
    if failed:
        run.console.print("Look: --logs TRIAL. Try again on purpose: --force TRIAL.")
    for split in run.outcome.splits if run.outcome else ():
        run.console.print(f"{split.title} went on as {' and '.join(split.pieces)}: {split.reason}.")


def _show_places(run: StudyRun, report: Report) -> None:
    page = next((path for path in report.files if path.suffix == ".html"), report.files[0])
    run.console.print(f"\nReport: {page}\nFigure: {page.with_name('figure.png')}", soft_wrap=True)
    if run.outcome is not None:
        run.console.print(f"Time: {duration(time.monotonic() - run.began)}")
    if run.store.location != str(run.store.root):
        run.console.print(f"Both are kept in {run.store.location} too.", soft_wrap=True)


def _conclude(run: StudyRun) -> int:
    """Clears up, says what to do next, and returns the exit code."""
    outcome, console = run.outcome, run.console
    if outcome and outcome.interrupted and not (run.options.fail_fast and outcome.failed):
        console.print("Interrupted. The same command goes on where this one stopped.")
        return INTERRUPTED
    with contextlib.suppress(OSError):  # It costs room only, until the next study's end.
        run.store.clear_partial()
    if _failed(run) or (outcome and outcome.failed):
        return SOME_FAILED
    models = run.models
    absent = sum(spec.fingerprint not in models for spec in run.plan.part.trials)
    if absent and not run.plan.study.search:
        text = Text.assemble((f"{absent} trials are not in the store,", "red"), " which was away.")
        console.print(text.append(" The same command makes them."))
        return SOME_FAILED
    if run.command and _is_complete(run) and not any(spec.seed for spec in run.plan.trials):
        console.print(f"Next: {in_this_shell(run.command)} --seeds 3    for the spread over seeds", soft_wrap=True)
    return DONE
