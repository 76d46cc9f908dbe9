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
    """The work cannot be done and trying again would not help; `reason` is a sentence for the user."""

    reason: str
