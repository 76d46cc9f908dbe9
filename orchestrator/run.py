"""Runs a planned study from start to end: cluster, work, records, report."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from datagen.errors import InputError
from datagen.identity import fingerprint_of
from datagen.shards import write_json
from orchestrator.plan import Plan
from orchestrator.progress import Progress
from orchestrator.ray_environment import prepare
from orchestrator.results import finished_models
from orchestrator.store import Store
from orchestrator.tracking import Tracker, check_tracking, tracking_uri, ui_command

DONE, SOME_FAILED, INTERRUPTED = 0, 1, 130


def run_study(plan: Plan, store: Store, address: str | None, command: str, console: Console) -> int:
    """Runs what is missing, writes the report and the MLflow records, prints them, and returns the exit code.

    Raises:
        InputError: real images or a generator are missing; the sentence says how to get them.
    """
    if plan.lacking:
        raise InputError(plan.lacking[0])
    check_tracking(store)
    console.print(
        f"[bold]{plan.study.name}[/bold] on scale {plan.scale.name}: {len(plan.trials)} trials, "
        f"{sum(spec.fingerprint not in plan.existing for spec in plan.trials)} to run.",
        highlight=False,
    )
    console.print(f"MLflow: {ui_command(tracking_uri(store))}", highlight=False, soft_wrap=True)
    if not plan.missing() and _is_recorded(plan, store):
        return _finish(plan, store, command, console, tracker=None, interrupted=False)
    with Tracker(plan, store) as tracker:
        interrupted = bool(plan.missing()) and _run_missing(plan, store, address, console, tracker)
        code = _finish(plan, store, command, console, tracker, interrupted)
        if tracker.pending:
            console.print("Writing the last records to MLflow")
    if tracker.lost:
        reasons = ", ".join(dict.fromkeys(tracker.lost))
        console.print(f"[yellow]Not all is in MLflow:[/yellow] {reasons}. The same command tries again.")
    elif not interrupted:
        write_json(_record_note(plan, store), _record(plan, store))
    return code


def _is_recorded(plan: Plan, store: Store) -> bool:
    """Whether an earlier run brought this very plan into the tracking store, so that opening it can be spared."""
    try:
        return bool(json.loads(_record_note(plan, store).read_text()) == _record(plan, store))
    except (OSError, ValueError):
        return False


def _record(plan: Plan, store: Store) -> dict[str, str]:
    return {"uri": tracking_uri(store), "trials": fingerprint_of([spec.fingerprint for spec in plan.trials])}


def _record_note(plan: Plan, store: Store) -> Path:
    return store.study_folder(plan.study.name, plan.scale.name) / "recorded.json"


def _run_missing(plan: Plan, store: Store, address: str | None, console: Console, tracker: Tracker) -> bool:
    """Runs the plan's work on Ray; whether it was interrupted."""
    with console.status("Starting Ray") if console.is_terminal else _Line(console, "Starting Ray"):
        prepare(address)
        from orchestrator.execute import join_cluster, run_plan

        cluster = join_cluster(address)
    if cluster.dashboard:
        console.print(f"Ray dashboard: {cluster.dashboard}", highlight=False)
    work = plan.work(cluster.slots)
    with Progress(work, console) as progress:
        outcome = run_plan(work, store, cluster, [progress, tracker])
    return outcome.interrupted


def _finish(
    plan: Plan, store: Store, command: str, console: Console, tracker: Tracker | None, interrupted: bool
) -> int:
    from orchestrator.report import show_report, write_report

    models = finished_models(plan, store)
    failed = [spec for spec in plan.trials if spec.fingerprint in models and models[spec.fingerprint].failure]
    complete = len(models) == len(plan.trials) and not failed
    report = write_report(plan, store, models, command)
    if tracker is not None:
        tracker.record_results(models, report.files, report.verdict, complete)
    show_report(report, console)
    for spec in failed:
        console.print(f"[red]{spec.title} failed:[/red] {models[spec.fingerprint].failure}", highlight=False)
    folder = report.files[0].parent
    console.print(f"\nReport: {report.files[0]}\nFigure: {folder / 'figure.png'}", highlight=False, soft_wrap=True)
    if interrupted:
        console.print("Interrupted. The same command goes on where this one stopped.")
        return INTERRUPTED
    if not complete:
        return SOME_FAILED
    store.clear_partial()
    if not any(spec.seed for spec in plan.trials):
        console.print(f"Next: {command} --seeds 3    for the spread over seeds", highlight=False, soft_wrap=True)
    return DONE


class _Line:
    """Says a line once, where a terminal would show a spinner."""

    def __init__(self, console: Console, text: str) -> None:
        self._console, self._text = console, text

    def __enter__(self) -> None:
        self._console.print(self._text)

    def __exit__(self, *exception: object) -> None:
        pass
