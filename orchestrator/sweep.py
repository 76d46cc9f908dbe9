"""The command: python -m orchestrator.sweep STUDY [key=value ...]. Plans, runs what is missing, and reports.

Exit codes: 0 all done; 1 some trials failed, the others finished; 2 wrong usage or input; 130 interrupted, resumable.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console

from datagen.errors import InputError
from orchestrator.catalog import load
from orchestrator.overrides import apply_overrides
from orchestrator.plan import make_plan, repair
from orchestrator.plan_view import plan_document, show_plan, show_studies
from orchestrator.run import run_study
from orchestrator.store import Store


@click.command(context_settings={"max_content_width": 110})
@click.argument("study", required=False)
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--scale", help="Data, generator, network and recipe: a name or a file; pocket unless the study has its own."
)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 1000), help="Replicates of each trial.")
@click.option("--plan", is_flag=False, flag_value="table", help="Show what would run, as a table or json; run nothing.")
@click.option("--address", help="Join a running Ray cluster, for example auto or ray://host:10001.")
@click.option("--store", default="store", show_default=True, type=click.Path(path_type=Path), help="Folder of results.")
@click.option(
    "--repair", "repairing", is_flag=True, help="Check every byte in the store, and make damaged parts again."
)
def main(
    study: str | None,
    settings: tuple[str, ...],
    scale: str | None,
    seeds: int,
    plan: str | None,
    address: str | None,
    store: Path,
    repairing: bool,
) -> None:
    r"""Runs a STUDY, or lists the studies if none is named.

    \b
    python -m orchestrator.sweep layer_importance
    python -m orchestrator.sweep layer_importance frozen_layers=14..17 epochs=20 --seeds 3 --plan
    """
    console = Console(soft_wrap=not sys.stdout.isatty())
    if plan is not None and "=" in plan:
        settings, plan = (plan, *settings), "table"
    try:
        if study is None:
            show_studies(console)
            return
        if plan not in (None, "table", "json"):
            raise InputError(f"--plan shows a table or json, not {plan!r}.")
        chosen, world = apply_overrides(*load(study, scale), settings)
        opened = Store(store)
        if plan is not None:
            opened.check_format()
            made = make_plan(chosen, world, seeds, opened)
            if plan == "json":
                print(json.dumps(plan_document(made), indent=2))
            else:
                show_plan(made, os.cpu_count() or 1, console)
            return
        command = shlex.join(["python", "-m", "orchestrator.sweep", *sys.argv[1:]])
        with opened.open().owned(command):
            if repairing:
                for complaint in repair(make_plan(chosen, world, seeds, opened, check=False), opened):
                    console.print(f"{complaint}; it will be made again.", highlight=False)
            made = make_plan(chosen, world, seeds, opened)
            sys.exit(run_study(made, opened, address, command, console))
    except InputError as error:
        _complain(str(error))
        sys.exit(2)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _complain(f"{error.strerror or error}{where}. Mend it, then give the same command again.")
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted. The same command goes on where this one stopped.")
        sys.exit(130)


def _complain(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"Error: {sentence}", style="red", highlight=False, markup=False)


if __name__ == "__main__":
    main()
