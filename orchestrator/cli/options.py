"""The command's options about where and how to run, and what they do before a plan runs or instead of running it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click
from rich.console import Console

from datagen.core.device import AUTO, parsed
from datagen.core.errors import InputError
from orchestrator.cli.plan_view import plan_document, show_plan
from orchestrator.cli.status import show_status
from orchestrator.execution.logs import logs_of
from orchestrator.planning.downloads import fetch_missing
from orchestrator.planning.plan import Plan, repair
from orchestrator.planning.selection import find_trial
from orchestrator.storage.store import Store

_OPTIONS = (
    click.option("--plan", is_flag=False, flag_value="table", help="Show what would run, as a table or json."),
    click.option("--status", is_flag=True, help="Show the state of every trial, also while another process runs them."),
    click.option("--logs", metavar="TRIAL", help="Print what a failed trial's processes said; title or fingerprint."),
    click.option("--only", metavar="EXPR", help="Run these trials only, for example 'N >= 14 and seed == 0'."),
    click.option("--force", metavar="TRIAL", multiple=True, help="Run a trial again that is done or has failed."),
    click.option("--fail-fast", is_flag=True, help="Stop at the first failure."),
    click.option(
        *("--stall-limit", "stall_minutes"),
        default=30.0,
        show_default=True,
        type=click.FloatRange(0),
        help="Minutes without progress (and ten times what is usual) until a task is started anew; 0: never.",
    ),
    click.option("--address", help="Join a running Ray cluster, for example auto or ray://host:10001."),
    click.option("--dashboard/--no-dashboard", default=True, show_default=True, help="Of a cluster that starts here."),
    click.option("--device", default="auto", show_default=True, help="Of this machine: cpu, cuda, cuda:1 or mps."),
    click.option("--gpus-per-worker", default=1.0, show_default=True, type=click.FloatRange(0, 64, min_open=True)),
    click.option("--cpus-per-worker", type=click.FloatRange(0, 1024, min_open=True), help="By default a fair share."),
    click.option(
        *("--store", "store_location"),
        default="store",
        show_default=True,
        help="Folder of results, or s3://bucket/folder.",
    ),
    click.option("--yes", is_flag=True, help="Fetch from the hub what is not here without a question."),
    click.option("--repair", is_flag=True, help="Check every byte in the store, and make damaged parts again."),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run: see `python -m orchestrator.sweep --help`."""

    store_location: str
    plan: str | None = None
    status: bool = False
    logs: str | None = None
    only: str | None = None
    force: tuple[str, ...] = ()
    fail_fast: bool = False
    stall_minutes: float = 30.0
    address: str | None = None
    dashboard: bool = True
    device: str = "auto"
    gpus_per_worker: float = 1.0
    cpus_per_worker: float | None = None
    repair: bool = False
    yes: bool = False

    def __post_init__(self) -> None:
        if self.plan not in (None, "table", "json"):
            raise InputError(f"--plan shows a table or json, not {self.plan!r}.")
        if parsed(self.device) != AUTO and self.address:
            raise InputError("--device is of this machine: leave it out where --address names a cluster.")

    @property
    def looks_only(self) -> bool:
        """Whether nothing is to run or to be written."""
        return self.plan is not None or self.status or self.logs is not None


def execution_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a click command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def look(plan: Plan, store: Store, options: Options, console: Console) -> None:
    """Shows a plan, a study's state or a trial's logs."""
    chosen = plan.part
    if options.logs is not None:
        _show_logs(plan, store, options.logs, console)
    elif options.status:
        show_status(chosen, store, console)
    elif options.plan == "json":
        print(json.dumps(plan_document(chosen), indent=2))
    else:
        show_plan(chosen, os.cpu_count() or 1, console)


def _show_logs(plan: Plan, store: Store, trial: str, console: Console) -> None:
    spec = find_trial(plan, trial)
    found = list(logs_of(store, spec.fingerprint))
    for title, text in found:
        console.rule(title)
        console.print(text, soft_wrap=True)
    if not found:
        console.print(f"No logs of {spec.title}: they are kept while it runs and when it fails.")


def make_ready(make: Callable[[bool], Plan], store: Store, options: Options, console: Console) -> Plan:
    """The plan to run, which knows what was forced.

    Before, --repair and --force remove what is to be made again, and what the hub has is fetched, if the user agrees.

    Args:
        make: makes the plan; its argument says whether to check that the store's files are whole.
        store: the open store.
        options: what was asked for.
        console: where removed parts are named.
    """
    if options.repair:
        console.print("Checking every byte that the study has in the store")
        for complaint in repair(make(False), store):
            console.print(f"{complaint}; it will be made again.")
    # All are found before one is removed: a mistyped name must not cost what the others have.
    for spec in [find_trial(make(False), name) for name in options.force]:
        store.remove(spec)
        store.forget_epochs(spec)
        console.print(f"{spec.title} will run again.")
    looked_at = make(True)
    plan = make(True) if fetch_missing(looked_at, options.yes, options.address, console) else looked_at
    return replace(plan, forced=tuple(find_trial(plan, name) for name in options.force))
