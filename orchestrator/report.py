"""The report of a study, from what is stored: python -m orchestrator.report STUDY [key=value ...].

Exit codes: 0 written; 2 wrong usage or input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from datagen.core.command import command_line, errors_in_a_sentence
from datagen.core.errors import InputError
from datagen.core.terminal import console_for_output
from orchestrator.cli.overrides import apply_overrides, varied
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import make_plan, seeds_at_hand
from orchestrator.planning.search import with_searched
from orchestrator.reporting.report import FORMATS, show_report, write_report
from orchestrator.reporting.tables import finished_models
from orchestrator.storage.store import Store
from orchestrator.study import VARIED

if TYPE_CHECKING:
    from orchestrator.tracking.reader import Recorded


def _formats(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    formats = tuple(value.split(","))
    if unknown := set(formats) - set(FORMATS):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}. Give some of {','.join(FORMATS)}.")
    return formats


@click.command(context_settings={"max_content_width": 110})
@click.argument("study")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--scale", help="As in the sweep.")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Replicates of each trial; by default all that there are.")
@click.option("--vary", type=click.Choice(VARIED), help="As in the sweep.")
@click.option("--store", default="store", show_default=True, help="Folder of results, or s3://bucket/folder.")
@click.option("--format", "formats", default=",".join(FORMATS), show_default=True, callback=_formats)
@click.option(
    "--from-mlflow", "uri", is_flag=False, flag_value="default",
    help="Take the results from MLflow (at this address, or the usual one) instead of the store.",
)  # fmt: skip
@errors_in_a_sentence
def main(
    study: str,
    settings: tuple[str, ...],
    scale: str | None,
    seeds: int | None,
    vary: str | None,
    store: str,
    formats: tuple[str, ...],
    uri: str | None,
) -> None:
    r"""Writes the report of a STUDY from what is stored; runs nothing.

    \b
    python -m orchestrator.report layer_importance --seeds 3
    python -m orchestrator.report data_reduction --scale imagenet100 --from-mlflow http://127.0.0.1:5000
    """
    if uri is not None and "=" in uri and ":" not in uri:
        settings, uri = (uri, *settings), "default"
    chosen, world = apply_overrides(*load(study, scale), settings)
    chosen = varied(chosen, world, vary)
    opened = Store(store).look()
    if uri is None and not opened.exists():
        raise InputError(f"There is no store in {store}. Give its folder with --store, or --from-mlflow.")
    opened.create()
    recorded = None if uri is None else _recorded(opened, uri)
    if seeds is None:
        seeds = seeds_at_hand(chosen, world, opened.has if recorded is None else recorded.__contains__)
    plan = with_searched(make_plan(chosen, world, seeds, opened, check=False, overridden=settings), opened)
    models = finished_models(plan, opened) if recorded is None else recorded.models(plan.trials)
    command = command_line("orchestrator.report")
    report = write_report(plan, opened, models, command, formats, samples=recorded is None)
    console = console_for_output()
    show_report(report, console)
    for path in report.files:
        console.print(str(path), soft_wrap=True)


def _recorded(store: Store, uri: str) -> Recorded:
    from orchestrator.tracking.address import tracking_uri
    from orchestrator.tracking.reader import Recorded

    return Recorded(tracking_uri(store) if uri == "default" else uri)


if __name__ == "__main__":
    main()
