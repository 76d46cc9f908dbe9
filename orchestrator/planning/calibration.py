"""Makes estimates from what was measured: each run notes how long its works took, against what was estimated.

A scale ships the rates of one machine. After the first run in a store, plans are scaled by what was measured there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.planning.plan import Task
from orchestrator.scale import Scale
from orchestrator.storage.store import Store

SHORTEST = 20.0
"""Seconds: shorter runs say more of starting up than of the rates."""


def note_speed(scale: Scale, store: Store, tasks: Sequence[Task], slots: int, startup: float, seconds: float) -> None:
    """Notes how fast a run was.

    Idle slots count: what is to be foretold is the time until the end, of which a study's last works leave some idle.

    Args:
        scale: whose rates, `calibrated` or not, the tasks were estimated by.
        store: where the note is kept.
        tasks: what was done, and done once.
        slots: how many tasks ran at once.
        startup: seconds before the first task began.
        seconds: from then to the end of the last.
    """
    if seconds < SHORTEST:
        return
    factor = sum(task.seconds for task in tasks) / (slots * seconds)
    known = store.read_speed(scale.name).get("factor", 1.0)
    # The estimate was by rates that an earlier note may have scaled already.
    store.write_speed(scale.name, {"factor": factor * known, "startup": startup})


def calibrated(scale: Scale, store: Store) -> Scale:
    """The scale with its rates scaled by what was measured in this store, if anything was."""
    speed = store.read_speed(scale.name)
    if not speed:
        return scale
    rates, factor = scale.rates, speed["factor"]
    return replace(
        scale,
        rates=replace(
            rates,
            made=rates.made * factor,
            trained=rates.trained * factor,
            prepared=rates.prepared * factor,
            startup=speed["startup"],
            machine="this store's last run",
        ),
    )
