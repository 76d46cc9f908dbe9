"""What workers tell the sweep process, besides a training's `EpochReport`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class ImagesDrawn:
    """Progress over images: of `total`, `done` are drawn, or predicted."""

    done: int
    total: int


@dataclass(frozen=True)
class WorkerStarted:
    """Where a task runs: the first thing that its process says.

    `node` is Ray's name of the machine (hexadecimal), `log` the name of the task's log in the store.
    """

    host: str
    pid: int
    node: str
    log: str

    def __str__(self) -> str:
        return f"worker on {self.host}, process {self.pid}"


@dataclass(frozen=True)
class WorkersPlaced:
    """The room that the workers of a distributed training take: Ray's placement group."""

    group: Any


class FailureKind(StrEnum):
    """Why a task failed, by what helps."""

    INPUT = "input"
    """The user's mistake or the full disk: tried again only when the user gives the command again."""
    MEMORY = "memory"
    """The accelerator's memory is too small for the cohort: parts of it may fit."""
    LOST = "lost"
    """A process, a node, a connection or a file was lost: tried again."""
    ERROR = "error"
    """Anything else: the same code on the same data would raise it again."""


@dataclass(frozen=True)
class TaskFailed:
    """The task has failed: what kind of failure, and a sentence for the user.

    `trial` is the fingerprint of the one training at fault where it is known; its cohort goes on without it.
    `parts` is in how many a cohort that is too large for the memory is to go on.
    """

    kind: FailureKind
    reason: str
    trial: str = ""
    parts: int = 2
