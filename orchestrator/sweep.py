"""The command: python -m orchestrator.sweep STUDY [key=value ...]. Plans, runs what is missing, and reports.

Exit codes: 0 all done; 1 some trials failed, the others finished; 2 wrong usage or input; 130 interrupted, resumable.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click
from rich.console import Console

from datagen.core.errors import InputError
from orchestrator.cli.options import Options, execution_options, look, make_ready
from orchestrator.cli.overrides import apply_overrides
from orchestrator.cli.plan_view import show_studies
from orchestrator.planning.calibration import calibrated
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.search import with_searched
from orchestrator.run_study import run_study
from orchestrator.storage.store import Store

LINE = 140
"""Columns of tables where there is no terminal."""


@click.command(context_settings={"max_content_width": 110})
@click.argument("study", required=False)
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--scale", help="Data, generator, network and recipe, by name or file; pocket by default.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 1000), help="Replicates of each trial.")
@execution_options
def main(
    study: str | None, settings: tuple[str, ...], scale: str | None, seeds: int, plan: str | None, **rest: Any
) -> None:
    r"""Runs a STUDY, or lists the studies if none is named.

    \b
    python -m orchestrator.sweep layer_importance
    python -m orchestrator.sweep layer_importance frozen_layers=14..17 epochs=20 --seeds 3 --plan
    """
    console = Console() if sys.stdout.isatty() else Console(soft_wrap=True, width=LINE)
    if plan is not None and "=" in plan:
        settings, plan = (plan, *settings), "table"
    try:
        if study is None:
            show_studies(console)
            return
        options = Options(plan=plan, **rest)
        chosen, world = apply_overrides(*load(study, scale), settings)
        store = Store(options.store_location)

        def make(check: bool) -> Plan:
            return with_searched(make_plan(chosen, calibrated(world, store), seeds, store, check=check), store)

        if options.looks_only:
            store.look()
            look(make(options.plan is not None), store, options, console)
            return
        command = shlex.join(["python", "-m", "orchestrator.sweep", *sys.argv[1:]])
        with store.create().owned(command):
            sys.exit(run_study(make_ready(make, store, options, console), store, options, command, console))
    except InputError as error:
        _complain(str(error))
        sys.exit(2)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _complain(f"{error.strerror or error}{where}. Fix it, then give the same command again.")
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted. The same command goes on where this one stopped.")
        sys.exit(130)


def _complain(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"Error: {sentence}", style="red", highlight=False, markup=False)


if __name__ == "__main__":
    main()
