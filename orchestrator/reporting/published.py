"""The papers' tables as they are published."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from trainables.direction import Direction

PUBLISHED = Path(__file__).parents[2] / "experiments" / "published_results.csv"


def published_rows(table: str, data_set: str) -> pd.DataFrame:
    """The rows of one of the papers' tables for a data set, each once, with `fraction` and `variant` ("" for none)."""
    published = pd.read_csv(PUBLISHED, dtype={"variant": str, "pretrained_on": str})
    published = published[(published["table"] == table) & (published["dataset"] == data_set)]
    published = published.fillna({"pretrained_on": "", "variant": ""}).rename(columns={"train_fraction": "fraction"})
    return published.drop_duplicates(["pretrained_on", "trained_on", "frozen_layers", "fraction", "variant"])


def published_accuracies(table: str, data_set: str) -> pd.DataFrame:
    """A paper's table as `claims.checks.evaluate` takes it: one "seed"; both kinds' plain bases are always there."""
    bases = published_rows("layer_importance", data_set).query("frozen_layers == 0 and variant == ''")
    rows = pd.concat([published_rows(table, data_set), bases], ignore_index=True)
    kinds = zip(rows["pretrained_on"], rows["trained_on"], strict=True)
    directions = [str(Direction(source or None, target)) for source, target in kinds]
    return rows.assign(direction=directions, seed=0, status="done")
