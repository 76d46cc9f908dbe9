"""Runs a planned study from start to end: cluster, work, records, report."""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from datagen.core.errors import InputError
from datagen.core.files import write_json
from datagen.core.identity import fingerprint_of
from datagen.core.ray_session import cluster_address, prepare
from orchestrator.cli.options import Options
from orchestrator.cli.progress import Progress
from orchestrator.cli.status import StatusFile
from orchestrator.planning.calibration import note_speed
from orchestrator.planning.plan import Plan
from orchestrator.planning.search import SearchRun, with_searched
from orchestrator.planning.selection import find_trial, only
from orchestrator.reporting.tables import LAST_EPOCHS, finished_models
from orchestrator.storage.store import Store, StoredModel
from orchestrator.tracking.address import check_tracking, tracking_uri, ui_command
from orchestrator.tracking.checks import check_records
from orchestrator.tracking.recorder import Tracker
from orchestrator.tracking.secrets import redacted
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    from orchestrator.execution.scheduler import Outcome, Watcher

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130


def run_study(plan: Plan, store: Store, options: Options, command: str, console: Console) -> int:
    """Runs what is missing, writes the report and the MLflow records, prints them, and returns the exit code.

    With `options.only` a part of the plan is run; the report is always that of the whole.

    Raises:
        InputError: real images or a generator are missing; the sentence says how to get them.
    """
    part = only(plan, options.only)
    if part.missing_inputs:
        raise InputError(part.missing_inputs[0])
    check_tracking(store)
    _check_networks(part)
    console.print(
        f"[bold]{plan.study.name}[/bold] on scale {plan.scale.name}: {len(part.trials)} trials, "
        f"{sum(spec.fingerprint not in plan.existing for spec in part.trials)} to run.",
        highlight=False,
    )
    console.print(f"MLflow: {ui_command(tracking_uri(store))}", highlight=False, soft_wrap=True)
    if not part.missing() and not part.to_search and _is_recorded(plan, store):
        return _finish(plan, part, store, options, command, console, tracker=None, outcome=None)
    if absence := check_records(tracking_uri(store)):
        console.print(f"[yellow]{absence}[/yellow]", highlight=False, soft_wrap=True)
    with Tracker(plan, store, forced=[find_trial(plan, name) for name in options.force]) as tracker:
        runs = part.missing() or part.to_search
        outcome = _run_missing(part, store, options, console, tracker) if runs else None
        store.refresh()
        plan, part = with_searched(plan, store), with_searched(part, store)
        code = _finish(plan, part, store, options, command, console, tracker, outcome)
        if tracker.pending:
            console.print("Writing the last records to MLflow (for a minute at most if it does not answer)")
    if tracker.lost:
        reasons = ", ".join(dict.fromkeys(tracker.lost))
        console.print(f"[yellow]Not all is in MLflow:[/yellow] {reasons}. The same command tries again.")
    elif code != INTERRUPTED:
        write_json(_record_note(plan, store), _record(plan, store))
    return code


def _check_networks(plan: Plan) -> None:
    """Checks the layers that a user has listed, before anything is drawn or trained."""
    listed = {(spec.model, spec.network, spec.image_size) for spec in plan.trials if spec.layers}
    if listed and plan.missing():
        from trainables.models.networks import check_network

        for model, network, image_size in listed:
            check_network(model, network, image_size)


def _is_recorded(plan: Plan, store: Store) -> bool:
    """Whether an earlier run brought this very plan into the tracking store, so that opening it can be spared."""
    try:
        return bool(json.loads(_record_note(plan, store).read_text()) == _record(plan, store))
    except (OSError, ValueError):
        return False


def _record(plan: Plan, store: Store) -> dict[str, str]:
    return {"uri": redacted(tracking_uri(store)), "trials": fingerprint_of([spec.fingerprint for spec in plan.trials])}


def _record_note(plan: Plan, store: Store) -> Path:
    return store.study_folder(plan.study.name, plan.scale.name) / "recorded.json"


def _run_missing(plan: Plan, store: Store, options: Options, console: Console, tracker: Tracker) -> Outcome:
    """Runs the plan's work on Ray."""
    began = time.monotonic()
    address = cluster_address(options.address)
    with console.status("Starting Ray") if console.is_terminal else _Line(console, "Starting Ray"):
        prepare(address)
        from orchestrator.execution.tune import join_cluster, run_plan

        cluster = join_cluster(
            address, options.gpus_per_worker, options.cpus_per_worker or 0.0, dashboard=options.dashboard
        )
    if cluster.dashboard:
        console.print(f"Ray dashboard: {cluster.dashboard}", highlight=False)
    task = plan.tasks(cluster.slots)

    def say_stopping() -> None:
        console.print("Stopping when the running epochs and shards are done. Again: stop now, and repeat them later.")

    search = SearchRun(plan, store, functools.partial(_top1, store)) if plan.study.search else None
    with Progress(task, console) as progress, StatusFile(plan, store) as status:
        watchers: list[Watcher] = [progress, tracker, status]
        fast, started = options.fail_fast, time.monotonic()
        outcome = run_plan(task, store, cluster, watchers, fail_fast=fast, on_stop=say_stopping, search=search)
    if not (outcome.failed or outcome.retries or outcome.splits or outcome.interrupted or search):
        note_speed(plan.scale, store, outcome.done, cluster.slots, started - began, time.monotonic() - started)
    return outcome


def _top1(store: Store, spec: TrainingSpec) -> float | None:
    """The mean over the last epochs; None if the training has failed or is not there."""
    model = store.read_model(spec) if store.find(spec) else None
    if model is None or model.failure or not model.history:
        return None
    return statistics.fmean(row["top1"] for row in model.history[-LAST_EPOCHS:])


def _finish(
    plan: Plan,
    part: Plan,
    store: Store,
    options: Options,
    command: str,
    console: Console,
    tracker: Tracker | None,
    outcome: Outcome | None,
) -> int:
    from orchestrator.report import show_report, write_report

    models = finished_models(plan, store)
    complete = len(models) == len(plan.trials) and not any(model.failure for model in models.values())
    models |= _not_published(plan, outcome)
    report = write_report(plan, store, models, command)
    if tracker is not None:
        tracker.record_results(finished_models(plan, store), report.files, report.verdict, complete)
    show_report(report, console)
    failed = [spec for spec in part.trials if spec.fingerprint in models and models[spec.fingerprint].failure]
    for spec in failed:
        console.print(f"[red]{spec.title} failed:[/red] {models[spec.fingerprint].failure}", highlight=False)
    if failed:
        console.print("Look: --logs TRIAL. Try again on purpose: --force TRIAL.", highlight=False)
    for split in outcome.splits if outcome else ():
        console.print(f"{split.title} went on as {' and '.join(split.pieces)}: {split.reason}.", highlight=False)
    folder = report.files[0].parent
    console.print(f"\nReport: {report.files[0]}\nFigure: {folder / 'figure.png'}", highlight=False, soft_wrap=True)
    if store.location != str(store.root):
        console.print(f"Both are kept in {store.location} too.", highlight=False, soft_wrap=True)
    if outcome and outcome.interrupted and not (options.fail_fast and outcome.failed):
        console.print("Interrupted. The same command goes on where this one stopped.")
        return INTERRUPTED
    with contextlib.suppress(OSError):  # It costs room only, until the next study's end.
        store.clear_partial()
    if failed or (outcome and outcome.failed):
        return SOME_FAILED
    absent = sum(spec.fingerprint not in models for spec in part.trials)
    if absent and not plan.study.search:
        console.print(f"[red]{absent} trials are not in the store,[/red] which was away. The same command makes them.")
        return SOME_FAILED
    if not complete:
        return DONE  # All that --only asked for.
    if not any(spec.seed for spec in plan.trials):
        console.print(f"Next: {command} --seeds 3    for the spread over seeds", highlight=False, soft_wrap=True)
    return DONE


def _not_published(plan: Plan, outcome: Outcome | None) -> dict[str, StoredModel]:
    """The trials that failed in this run for reasons that the next run may not meet, for the report."""
    reasons = outcome.reasons if outcome else {}
    return {
        spec.fingerprint: StoredModel(spec.fingerprint, [], reasons[spec.fingerprint], Path())
        for spec in plan.trials
        if spec.fingerprint in reasons
    }


class _Line:
    """Says a line once, where a terminal would show a spinner."""

    def __init__(self, console: Console, text: str) -> None:
        self._console, self._text = console, text

    def __enter__(self) -> None:
        self._console.print(self._text)

    def __exit__(self, *exception: object) -> None:
        pass
