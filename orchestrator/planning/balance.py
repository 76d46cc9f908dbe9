"""How a plan's cohorts are cut so that no slot idles for long at the end."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from orchestrator.planning.cost import cohort_seconds
from orchestrator.provisions import Rates
from trainables.partition import Cost, partition
from trainables.spec import TrainingSpec


def balanced(cohorts: Sequence[list[TrainingSpec]], slots: int, rates: Rates) -> list[list[TrainingSpec]]:
    """Cuts the longest cohorts until that makes the whole end no sooner, so that no slot idles for long at the end.

    A part pays for a trunk of its own, so cohorts are cut only where it pays.
    """

    def seconds(members: Sequence[TrainingSpec]) -> float:
        return cohort_seconds(members, rates)

    parts = list(cohorts)
    if 0 < len(cohorts) < slots:
        parts = [part for members in cohorts for part in partition(members, slots // len(cohorts), seconds)]
    end = _end(parts, slots, seconds)
    while parts:
        longest = max(map(seconds, parts))
        cut = [
            piece
            for part in parts
            for piece in (partition(part, 2, seconds) if seconds(part) > 0.9 * longest else [part])
        ]
        sooner = _end(cut, slots, seconds)
        if len(cut) == len(parts) or sooner > 0.98 * end:
            break
        parts, end = cut, sooner
    return parts


def _end(parts: Sequence[Sequence[TrainingSpec]], slots: int, seconds: Cost) -> float:
    """Seconds until all parts are done, if each slot takes the longest that is left."""
    busy = [0.0] * max(1, slots)
    for taken in sorted(map(seconds, parts), reverse=True):
        heapq.heapreplace(busy, busy[0] + taken)
    return max(busy)
