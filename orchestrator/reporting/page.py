"""The report as one HTML page that holds everything in itself: it can be mailed, and read without a network."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import jinja2
import pandas as pd

from orchestrator.claims.checks import RULE
from orchestrator.reporting.evaluations import BY_CLASS, CALIBRATION, TOP1_BY_SET
from orchestrator.reporting.formatting import claims_table, display_table
from orchestrator.reporting.measures import ABOUT as MEASURES_ABOUT
from orchestrator.reporting.report_data import NO_EVIDENCE, ReportData, fingerprints, training_sets, versions
from orchestrator.reporting.samples import Strip, data_uri, sample_strips
from orchestrator.storage.store import Store
from trainables.direction import REAL, SYNTHETIC

ROWS = 300
"""Rows of the table at most; table.csv has all."""

SETS = 4
"""Data sets of which samples are shown, at most."""
LOSING = 3
"""Classes that lose most, of which samples are shown."""
TEMPLATE = "page.html.j2"


def html_page(
    evidence: ReportData, store: Store | None, figure: Path, command: str, measures: Sequence[Path] = ()
) -> str:
    """The page of a report.

    Args:
        evidence: what it says.
        store: where the data sets are, for sample images; None if they are not at hand.
        figure: the figure as SVG.
        command: that made the report.
        measures: the figure of measures, in its formats; none where nothing was measured.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    plan = evidence.plan
    table = display_table(evidence.points)
    rows = table.head(ROWS).astype(str).to_dict("records")
    page: str = environment.get_template(TEMPLATE).render(
        title=evidence.title,
        name=plan.study.name,
        scale=plan.scale.name,
        question=plan.study.question,
        verdict=evidence.verdict,
        sentences=evidence.sentences,
        about_scale=evidence.about_scale,
        open=evidence.open,
        figure=data_uri(figure.read_bytes(), "image/svg+xml"),
        whiskers=evidence.whiskers,
        claims=claims_table(evidence.outcomes).to_dict("records"),
        rule=RULE,
        no_evidence="" if plan.scale.published else NO_EVIDENCE,
        columns=list(table.columns),
        rows=[[(_kind(column, value), value) for column, value in row.items()] for row in rows],
        left_out=max(0, len(table) - ROWS),
        by_set=_plain(evidence.evaluations.table),
        by_set_note=f"{TOP1_BY_SET} {CALIBRATION}",
        by_class=_plain(evidence.evaluations.classes),
        by_class_note=BY_CLASS,
        compared=evidence.evaluations.sentences,
        class_samples=_class_samples(evidence, store) if store is not None else [],
        measures=_plain(evidence.measured.table),
        measures_note=MEASURES_ABOUT,
        measures_told=evidence.measured.sentences,
        measures_figure=next(
            (data_uri(path.read_bytes(), "image/svg+xml") for path in measures if path.suffix == ".svg"), ""
        ),
        notes=[note for note in evidence.notes if note != RULE],
        samples=_samples(evidence, store) if store is not None else [],
        command=command,
        cost=evidence.cost.sentence(),
        versions=versions(),
        fingerprints=fingerprints(plan),
    )
    return page


def _plain(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The columns of a table and its first rows, as texts."""
    return [str(name) for name in table.columns], table.head(ROWS).astype(str).values.tolist()


def _kind(column: Hashable, value: str) -> str:
    """The class of a table's cell: what is written in words may wrap, and what matters stands out."""
    if column == "against baseline":
        return "words significant" if "significant (" in value else "words"
    return "deviates" if column == "difference" and value.endswith("deviates") else ""


def _class_samples(evidence: ReportData, store: Store) -> list[tuple[str, list[Strip]]]:
    """Strips of the classes that lose most, of real and of synthetic training images, where both are there."""
    table = evidence.evaluations.classes
    if table.empty:
        return []
    names = [str(name) for name in table["class"].head(LOSING)]
    known = list(evidence.plan.trials[0].train.class_names)
    found = []
    for kind in (REAL, SYNTHETIC):
        spec = next((spec for spec in training_sets(evidence.plan) if spec.name == kind), None)
        folder = None if spec is None else store.open_samples(spec)
        if folder and (strips := sample_strips(folder, kind, [known.index(name) for name in names])):
            found.append((f"{kind}: the classes that lose most", strips))
    return found


def _samples(evidence: ReportData, store: Store) -> list[tuple[str, list[Strip]]]:
    """Strips of sample images by data set, of those that are there."""
    found = []
    for spec in training_sets(evidence.plan)[:SETS]:
        folder = store.open_samples(spec)
        if folder and (strips := sample_strips(folder, spec.title)):
            found.append((f"{spec.title}, {spec.images:,} images", strips))
    return found
