"""The command: python -m orchestrator.sweep STUDY [key=value ...]. Plans, runs what is missing, and reports.

Exit codes: 0 all done; 1 some trials failed, the others finished; 2 wrong usage or input; 3 Ray has died; 130
interrupted. After 3 and 130 the same command goes on.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import click

from datagen.core.command import command_line, errors_in_a_sentence
from datagen.core.terminal import console_for_output
from orchestrator.cli.options import Options, execution_options, look, make_ready
from orchestrator.cli.overrides import apply_overrides, varied
from orchestrator.cli.plan_view import show_studies
from orchestrator.planning.calibration import calibrated
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.search import with_searched
from orchestrator.planning.selection import only
from orchestrator.run_study import run_study
from orchestrator.storage.store import Store
from orchestrator.study import VARIED


@click.command(context_settings={"max_content_width": 110})
@click.argument("study", required=False)
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--scale", help="Data, generator, network and recipe, by name or file; pocket by default.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 1000), help="Replicates of each trial.")
@click.option(
    "--vary", type=click.Choice(VARIED), help="What seeds are of; by default the training, on one set of images."
)
@execution_options
@errors_in_a_sentence
def main(
    study: str | None,
    settings: tuple[str, ...],
    scale: str | None,
    seeds: int,
    vary: str | None,
    plan: str | None,
    **rest: Any,
) -> None:
    r"""Runs a STUDY, or lists the studies if none is named.

    \b
    python -m orchestrator.sweep layer_importance
    python -m orchestrator.sweep layer_importance frozen_layers=14..17 epochs=20 --seeds 3 --plan
    """
    if plan is not None and "=" in plan:
        settings, plan = (plan, *settings), "table"
    console = console_for_output()
    if study is None:
        show_studies(console)
        return
    options = Options(plan=plan, **rest)
    chosen, world = apply_overrides(*load(study, scale), settings)
    chosen = varied(chosen, world, vary)
    store = Store(options.store_location)

    def make(check: bool) -> Plan:
        # Made anew each time: a scale remembers what it has found of its images and weights.
        made = make_plan(chosen, calibrated(replace(world), store), seeds, store, check=check, overridden=settings)
        return only(with_searched(made, store), options.only)

    if options.looks_only:
        store.look()
        look(make(options.plan is not None), store, options, console)
        return
    command = command_line("orchestrator.sweep")
    with store.create().owned(command):
        sys.exit(run_study(make_ready(make, store, options, console), store, options, command, console))


if __name__ == "__main__":
    main()
