"""What is in the papers' published tables, by name; without pandas, so that a study's file can be checked at once."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from datagen.core.errors import InputError
from datagen.core.identity import shown
from datagen.core.settings import nearest

PUBLISHED = Path(__file__).parents[2] / "experiments" / "published_results.csv"


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def checked_table(name: str | None) -> None:
    """Refuses the name of a table that there is not; None is none.

    Raises:
        InputError: the sentence names the nearest.
    """
    _check(name, {row["table"] for row in _rows()}, "table")


def checked_data_set(name: str | None) -> None:
    """Refuses the name of a data set of the papers' that there is not; raises like `checked_table`."""
    _check(name, {row["dataset"] for row in _rows()}, "data set")


def checked_variant(name: str, table: str) -> None:
    """Refuses the name of a variant that a table has not; raises like `checked_table`."""
    _check(name, {row["variant"] for row in _rows() if row["table"] == table}, f"variant in the table {table}")


def _check(name: str | None, known: set[str], kind: str) -> None:
    if name is not None and name not in known:
        raise InputError(f"The papers have no {kind} {shown(name)}. {nearest(str(name), sorted(known - {''}))}")
