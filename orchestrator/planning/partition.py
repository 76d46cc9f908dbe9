"""How a cohort is divided where its members cannot train all at once. No torch here: the sweep process divides too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from trainables.spec import TrainingSpec


def divided(members: Sequence[TrainingSpec], parts: int) -> list[list[TrainingSpec]]:
    """A cohort in `parts` (or one for each member, if fewer): neighbouring depths together, about as many layers each.

    What a branch keeps in memory (weights, momentum, activations) grows with the layers above its cut.
    """
    ordered = sorted(members, key=lambda spec: spec.frozen_layers)
    parts = min(parts, len(ordered))
    sums = list(accumulate((1 + spec.depth - spec.frozen_layers for spec in ordered), initial=0))
    cuts = [0]
    for part in range(1, parts):
        # Every part before and after has at least one member.
        positions = range(cuts[-1] + 1, len(ordered) - (parts - part) + 1)
        cuts.append(min(positions, key=lambda position: abs(parts * sums[position] - part * sums[-1])))
    return [ordered[start:stop] for start, stop in pairwise([*cuts, len(ordered)])]
