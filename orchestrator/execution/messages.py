"""What workers tell the sweep process, besides a training's `EpochReport`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImagesDrawn:
    """Progress of a generation: `done` of `total` images exist."""

    done: int
    total: int


@dataclass(frozen=True)
class WorkFailed:
    """The work has failed: for one of the causes of `orchestrator.execution.failures`, with a sentence for the user.

    `trial` is the fingerprint of the one training at fault where it is known; its cohort goes on without it.
    `pieces` is in how many a cohort that is too large for the memory is to go on.
    """

    cause: str
    reason: str
    trial: str = ""
    pieces: int = 2
