"""The report of a study, from what is stored: python -m orchestrator.report STUDY [key=value ...].

Exit codes: 0 written; 2 wrong usage or input.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pandas as pd
from rich.console import Console
from rich.table import Table

from datagen.core.errors import InputError
from datagen.core.files import write_text, written_whole
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.search import with_searched
from orchestrator.reporting.figures import Caption, draw
from orchestrator.reporting.formatting import claims_table, display_table
from orchestrator.reporting.page import ROWS, html_page
from orchestrator.reporting.report_data import ReportData, gather, versions
from orchestrator.reporting.tables import finished_models
from orchestrator.scale import Scale
from orchestrator.storage.store import Store, StoredModel
from orchestrator.study import Study
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    from orchestrator.tracking.reader import Recorded

FORMATS = ("md", "html", "csv")
WIDE = 120
"""Columns of a terminal that shows the whole table; a narrower one leaves out top-5 and the loss."""


@dataclass(frozen=True)
class Report:
    """A study's report: its tables, the verdict in words, and the files written (`report.md` first, if written)."""

    trials: pd.DataFrame
    points: pd.DataFrame
    verdict: str
    spread: str
    files: tuple[Path, ...]


def write_report(
    plan: Plan,
    store: Store,
    models: Mapping[str, StoredModel],
    command: str,
    formats: Sequence[str] = FORMATS,
    *,
    samples: bool = True,
) -> Report:
    """Writes figure.png and figure.svg, and by format report.md, report.html, and the tables as CSV and Parquet.

    Args:
        plan: the study's plan.
        store: its store; the files go to `studies/<study>/<scale>/`.
        models: the finished trainings.
        command: the command to repeat the study with.
        formats: of `FORMATS`.
        samples: whether the store has the study's data sets and bases, for sample images and cost.
    """
    with store.report(plan.study.name, plan.scale.name) as folder:
        evidence = gather(plan, store if samples else None, models)
        caption = Caption(evidence.title, evidence.whiskers)
        figures = draw(evidence.points, plan.study.figure, plan.study.axis_names, caption, folder)
        pages = []
        if "md" in formats:
            pages.append(folder / "report.md")
            write_text(pages[-1], _markdown(evidence, command))
        if "html" in formats:
            page = html_page(evidence, store if samples else None, folder / "figure.svg", command)
            pages.append(folder / "report.html")
            write_text(pages[-1], page)
        tables = _write_tables(evidence, folder) if "csv" in formats else []
        return Report(evidence.trials, evidence.points, evidence.verdict, evidence.spread, (*pages, *figures, *tables))


def _write_tables(evidence: ReportData, folder: Path) -> list[Path]:
    tables = {"table": evidence.points, "trials": evidence.trials}
    if evidence.outcomes:
        tables["claims"] = claims_table(evidence.outcomes)
    written = []
    for name, table in tables.items():
        written += [folder / f"{name}.csv", folder / f"{name}.parquet"]
        write_text(written[-2], table.to_csv(index=False))
        with written_whole(written[-1]) as aside:
            _write_parquet(table, aside)
    return written


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Columns whose values are of several types, as settings may be, are written as text."""
    mixed = [
        name for name in table.columns if table[name].dtype == object and table[name].dropna().map(type).nunique() > 1
    ]
    table.astype(dict.fromkeys(mixed, str)).to_parquet(path, index=False)


def show_report(report: Report, console: Console) -> None:
    """Prints the table and the verdict."""
    table = Table(title=f"{report.spread}; accuracies in percent", title_justify="left", box=None, pad_edge=False)
    shown = display_table(report.points.head(ROWS))
    if console.width < WIDE:
        shown = shown.drop(columns=["top-5", "train loss"])
    for column in shown.columns:
        table.add_column(str(column), justify="left" if column in ("trained", "frozen layers") else "right")
    for row in shown.itertuples(index=False):
        table.add_row(*(str(value) for value in row))
    console.print(table)
    if len(report.points) > ROWS:
        console.print(f"... and {len(report.points) - ROWS} more points in table.csv.", highlight=False)
    console.print(f"\n{report.verdict}", highlight=False)


def _markdown(evidence: ReportData, command: str) -> str:
    plan = evidence.plan
    shown = display_table(evidence.points.head(ROWS))
    left_out = len(evidence.points) - len(shown)
    claimed = claims_table(evidence.outcomes)
    lines = [
        f"# {evidence.title}",
        "",
        plan.study.question,
        "",
        f"**{evidence.verdict}**",
        "",
        f"![{plan.study.question}](figure.png)",
        "",
        f"Whiskers: {evidence.whiskers}. {evidence.about_scale}",
        "",
        shown.to_markdown(index=False, disable_numparse=True),
        "",
        *([f"The first {ROWS} points; {left_out} more are in table.csv.", ""] if left_out else []),
        f"{evidence.spread}.",
        *evidence.notes,
        "",
        *(["## What the papers say", "", claimed.to_markdown(index=False), ""] if len(claimed) else []),
        *(f"- {sentence}" for sentence in evidence.open),
        *([""] if evidence.open else []),
        f"Made by `{command}`: {len(evidence.trials)} trials, {evidence.cost.sentence()} {versions()}.",
        "",
    ]
    return "\n".join(lines)


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
@click.option("--store", default="store", show_default=True, help="Folder of results, or s3://bucket/folder.")
@click.option("--format", "formats", default=",".join(FORMATS), show_default=True, callback=_formats)
@click.option(
    "--from-mlflow", "uri", is_flag=False, flag_value="default",
    help="Take the results from MLflow (at this address, or the usual one) instead of the store.",
)  # fmt: skip
def main(
    study: str,
    settings: tuple[str, ...],
    scale: str | None,
    seeds: int | None,
    store: str,
    formats: tuple[str, ...],
    uri: str | None,
) -> None:
    r"""Writes the report of a STUDY from what is stored; runs nothing.

    \b
    python -m orchestrator.report layer_importance --seeds 3
    python -m orchestrator.report data_reduction --scale imagenet100 --from-mlflow http://127.0.0.1:5000
    """
    console = Console(soft_wrap=not sys.stdout.isatty())
    if uri is not None and "=" in uri and ":" not in uri:
        settings, uri = (uri, *settings), "default"
    try:
        chosen, world = apply_overrides(*load(study, scale), settings)
        opened = Store(store).look()
        if uri is None and not opened.exists():
            raise InputError(f"There is no store in {store}. Give its folder with --store, or --from-mlflow.")
        opened.create()
        recorded = None if uri is None else _recorded(opened, uri)
        if seeds is None:
            seeds = _seeds_at_hand(chosen, world, opened.has if recorded is None else recorded.__contains__)
        plan = with_searched(make_plan(chosen, world, seeds, opened, check=False), opened)
        models = finished_models(plan, opened) if recorded is None else recorded.models(plan.trials)
        command = shlex.join(["python", "-m", "orchestrator.report", *sys.argv[1:]])
        report = write_report(plan, opened, models, command, formats, samples=recorded is None)
    except InputError as error:
        Console(stderr=True, soft_wrap=True).print(f"Error: {error}", style="red", highlight=False, markup=False)
        sys.exit(2)
    except OSError as error:
        Console(stderr=True).print(
            f"Error: {error.strerror or error} ({error.filename}).", style="red", highlight=False
        )
        sys.exit(2)
    show_report(report, console)
    for path in report.files:
        console.print(str(path), highlight=False, soft_wrap=True)


def _seeds_at_hand(study: Study, scale: Scale, at_hand: Callable[[TrainingSpec], bool]) -> int:
    """How many seeds have results, from seed 0 on; at least 1."""
    seeds = 1
    while any(at_hand(trial.spec) for trial in study.trials(scale, seeds + 1) if trial.seed == seeds):
        seeds += 1
    return seeds


def _recorded(store: Store, uri: str) -> Recorded:
    from orchestrator.tracking.address import tracking_uri
    from orchestrator.tracking.reader import Recorded

    return Recorded(tracking_uri(store) if uri == "default" else uri)


if __name__ == "__main__":
    main()
