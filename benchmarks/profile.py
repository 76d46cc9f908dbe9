"""Where the time of a study's trainings went, from the finished models in a store.

python -m benchmarks.profile STUDY [key=value ...] [--scale S] [--seeds K] [--store DIR], as the sweep was given them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
from rich.table import Table

from datagen.core.errors import InputError
from datagen.core.terminal import plain_console
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load
from orchestrator.storage.store import Store, StoredModel
from trainables.spec import TrainingSpec
from trainables.timers import PARTS

Seconds = dict[str, float]
"""Seconds of each part, and of "other": what lies between two parts."""


@click.command()
@click.argument("study")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--scale", default="pocket", show_default=True)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--store", default="store", show_default=True, type=click.Path(path_type=Path))
def main(study: str, settings: tuple[str, ...], scale: str, seeds: int, store: Path) -> None:
    """Prints seconds by kind of training and part of the loop for the trainings of STUDY that are in the store."""
    try:
        chosen, context = apply_overrides(*load(study, scale), settings)
        opened = Store(store)
        opened.look()
        specs = [trial.spec for trial in chosen.trials(context, seeds)]
        trials = {spec.fingerprint: spec for spec in with_sources(specs)}
        models = [(trial, opened.read_model(trial)) for trial in trials.values() if opened.has(trial)]
        timed = [(trial, model) for trial, model in models if seconds_by_part(model)]
        if not timed:
            raise InputError(f"The store {store} has no training of {study} with times. Run the study first.")
    except InputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    plain_console().print(profile_table(timed, f"{study} ({scale}): {len(timed)} of {len(trials)} trainings, seconds"))


def with_sources(trials: Iterable[TrainingSpec]) -> list[TrainingSpec]:
    """The trials and the bases they start from."""
    found: list[TrainingSpec] = []
    for trial in trials:
        found += [trial, *with_sources([trial.source])] if trial.source else [trial]
    return found


def seconds_by_part(model: StoredModel) -> Seconds:
    """A training's seconds over all epochs: its share of its cohort's; empty if it was trained without timers."""
    rows = [row for row in model.history if f"seconds_{PARTS[0]}" in row]
    parts = {part: sum(row.get(f"seconds_{part}", 0.0) for row in rows) for part in PARTS}
    other = sum(row["seconds"] + row.get("seconds_checkpoint", 0.0) for row in rows) - sum(parts.values())
    return {**parts, "other": max(0.0, other)} if rows else {}


def profile_table(models: Sequence[tuple[TrainingSpec, StoredModel]], title: str) -> Table:
    """A row for each kind of training (direction), one for all, and the share of each part."""
    by_kind: dict[str, list[Seconds]] = {}
    for trial, model in models:
        by_kind.setdefault(str(trial.direction), []).append(seconds_by_part(model))
    everything = [seconds for kind in by_kind.values() for seconds in kind]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("training", "trials", *PARTS, "other", "total"):
        table.add_column(heading, justify="left" if heading == "training" else "right")
    for kind, trainings in by_kind.items():
        table.add_row(kind, str(len(trainings)), *_cells(_sum(trainings)))
    total = _sum(everything)
    table.add_row("all", str(len(everything)), *_cells(total))
    whole = sum(total.values()) or 1.0
    table.add_row("share", "", *(f"{100 * seconds / whole:.1f} %" for seconds in total.values()), "100 %")
    return table


def _sum(trainings: Sequence[Seconds]) -> Seconds:
    return {part: sum(seconds[part] for seconds in trainings) for part in (*PARTS, "other")}


def _cells(seconds: Mapping[str, float]) -> list[str]:
    return [f"{value:.1f}" for value in (*seconds.values(), sum(seconds.values()))]


if __name__ == "__main__":
    main()
