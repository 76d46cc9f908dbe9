"""A study's report: its tables and verdict, written as Markdown, HTML, CSV and Parquet, and shown on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from datagen.core.files import write_text, written_whole
from orchestrator.planning.plan import Plan
from orchestrator.reporting.evaluations import BY_CLASS, CALIBRATION, TOP1_BY_SET, Evaluations
from orchestrator.reporting.figures import Caption, draw
from orchestrator.reporting.formatting import claims_table, display_table, table_for_files
from orchestrator.reporting.measures import ABOUT as MEASURES_ABOUT
from orchestrator.reporting.measures import Measured, draw_measures
from orchestrator.reporting.page import ROWS, html_page
from orchestrator.reporting.report_data import ReportData, gather, versions
from orchestrator.storage.store import Store, StoredModel

FORMATS = ("md", "html", "csv")
WIDE = 120
"""Columns of a terminal that shows the whole table; a narrower one leaves out top-5 and the loss."""


@dataclass(frozen=True)
class Report:
    """A study's report: its tables, the verdict in words, and the files written (`report.md` first, if written).

    `evaluated` is the top-1 in percent on further sets, by a training's fingerprint and the set's name.
    """

    trials: pd.DataFrame
    points: pd.DataFrame
    verdict: str
    spread: str
    files: tuple[Path, ...]
    evaluated: Mapping[str, Mapping[str, float]]


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
        drawn = draw_measures(evidence.measured, folder)
        pages = []
        if "md" in formats:
            pages.append(folder / "report.md")
            write_text(pages[-1], _markdown(evidence, command))
        if "html" in formats:
            page = html_page(evidence, store if samples else None, folder / "figure.svg", command, drawn)
            pages.append(folder / "report.html")
            write_text(pages[-1], page)
        tables = _write_tables(evidence, folder) if "csv" in formats else []
        files = (*pages, *figures, *drawn, *tables)
        evaluated = evidence.evaluations.further()
        return Report(evidence.trials, evidence.points, evidence.verdict, evidence.spread, files, evaluated)


def _evaluation_lines(told: Evaluations) -> list[str]:
    lines: list[str] = []
    if len(told.table):
        table = told.table.head(ROWS).to_markdown(index=False, disable_numparse=True)
        lines += ["## By set of images", "", f"{TOP1_BY_SET} {CALIBRATION}", "", table, ""]
    if len(told.classes):
        lines += ["## By class", "", BY_CLASS, "", told.classes.to_markdown(index=False, disable_numparse=True), ""]
    return [*lines, *told.sentences, *([""] if told.sentences else [])]


def _measure_lines(measured: Measured) -> list[str]:
    if measured.rows.empty:
        return []
    table = measured.table.head(ROWS).to_markdown(index=False, disable_numparse=True)
    figure = "![Measures of the sets against top-1](measures.png)"
    return ["## Measures of the sets", "", MEASURES_ABOUT, "", *measured.sentences, "", figure, "", table, ""]


def _write_tables(evidence: ReportData, folder: Path) -> list[Path]:
    tables = {"table": table_for_files(evidence.points), "trials": evidence.trials}
    if evidence.outcomes:
        tables["claims"] = claims_table(evidence.outcomes)
    if len(evidence.evaluations.rows):
        tables["evaluations"] = evidence.evaluations.rows
    if len(evidence.measured.rows):
        tables["measures"] = evidence.measured.rows
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
        console.print(f"... and {len(report.points) - ROWS} more points in table.csv.")
    console.print(f"\n{report.verdict}")


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
        f"Whiskers show the {evidence.whiskers}. {evidence.about_scale}",
        "",
        shown.to_markdown(index=False, disable_numparse=True),
        "",
        *([f"The first {ROWS} points; {left_out} more are in table.csv.", ""] if left_out else []),
        f"{evidence.spread}.",
        *evidence.notes,
        "",
        *(["## What the papers say", "", claimed.to_markdown(index=False), ""] if len(claimed) else []),
        *_evaluation_lines(evidence.evaluations),
        *_measure_lines(evidence.measured),
        *(f"- {sentence}" for sentence in evidence.open),
        *([""] if evidence.open else []),
        f"Made by `{command}`: {len(evidence.trials)} trials, {evidence.cost.sentence()} {versions()}.",
        "",
    ]
    return "\n".join(lines)
