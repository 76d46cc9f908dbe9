"""How a cohort is cut into parts of about equal cost. No torch here: the sweep process cuts too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainables.spec import TrainingSpec

Cost = Callable[[Sequence[TrainingSpec]], float]
"""What a part of a cohort costs: seconds, or anything else of which no part should take too much."""


def branch_layers(members: Sequence[TrainingSpec]) -> float:
    """The layers above the members' cuts, what a branch's memory grows with (weights, momentum, activations)."""
    return sum(1 + member.depth - member.frozen_layers for member in members)


def partition(members: Sequence[TrainingSpec], parts: int, cost: Cost) -> list[list[TrainingSpec]]:
    """Cuts a cohort into `parts` runs of neighbouring depths (or one for each member, if fewer) of about equal cost.

    Neighbours stay together because a part pays for the trunk up to its own deepest cut: shallow parts pay little.
    """
    ordered = sorted(members, key=lambda member: member.frozen_layers)
    parts = min(parts, len(ordered))
    low, high = 0.0, cost(ordered)
    for _ in range(30):
        limit = (low + high) / 2
        if len(_runs_below(limit, ordered, cost)) <= parts:
            high = limit
        else:
            low = limit
    runs = _runs_below(high, ordered, cost)
    while len(runs) < parts:
        longest = max(range(len(runs)), key=lambda position: len(runs[position]))
        run = runs[longest]
        runs[longest : longest + 1] = [run[: len(run) // 2], run[len(run) // 2 :]]
    return runs


def _runs_below(limit: float, ordered: Sequence[TrainingSpec], cost: Cost) -> list[list[TrainingSpec]]:
    """Fills runs one after the other up to a cost of `limit`; a member that costs more stands alone."""
    runs: list[list[TrainingSpec]] = []
    for member in ordered:
        if runs and cost([*runs[-1], member]) <= limit:
            runs[-1].append(member)
        else:
            runs.append([member])
    return runs
