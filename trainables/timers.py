"""Where the time of a training goes: laps of a stopwatch, by the host's clock on a CPU and by events on a GPU.

On a GPU the host runs ahead of the device, so its own clock would show launches. An event is a mark in the device's
queue: between two of them lies what the device did or waited for. They are read when they have passed, so no lap makes
the host wait; one lap costs under a microsecond on a CPU.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Protocol

import torch

PARTS = ("data", "views", "trunk", "forward", "backward", "step", "evaluation", "checkpoint")
"""What an epoch is divided into, in order.

Attributes:
    data: reading and decoding the training images; where a thread gets batches ready, waiting for it and its crops.
    views: augmentation, normalization and copying to the device, unless a thread does it meanwhile.
    trunk: forward pass of the frozen layers that a cohort shares.
    forward: of all branches, loss included.
    backward: of all branches; with several workers also waiting for the others' gradients.
    step: of all branches' optimizers.
    evaluation: of the whole validation set.
    checkpoint: writing it.
"""
UNREAD_MARKS = 512
"""How many marks may wait before those that have passed are read: some 20 steps of a cohort of ten."""


class Mark(Protocol):
    """A moment to measure from and to; `torch.cuda.Event` is one."""

    def record(self) -> None:
        """Makes it now."""

    def query(self) -> bool:
        """Whether it has passed."""

    def synchronize(self) -> None:
        """Waits until it has passed."""

    def elapsed_time(self, later: Mark) -> float:
        """Milliseconds to a later one."""


class HostMark:
    """A moment by the host's clock."""

    def record(self) -> None:
        """Makes it now."""
        self.seconds = time.perf_counter()

    def query(self) -> bool:
        """It has always passed."""
        return True

    def synchronize(self) -> None:
        """There is nothing to wait for."""

    def elapsed_time(self, later: HostMark) -> float:
        """Milliseconds to a later one."""
        return (later.seconds - self.seconds) * 1000


class Timers:
    """Seconds spent in each part: every lap counts from the mark before it, so that no moment counts twice."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._unread: deque[tuple[str | None, Mark]] = deque()
        self._spare: list[Mark] = []
        self._last: Mark | None = None
        self._seconds = dict.fromkeys(PARTS, 0.0)

    def start(self) -> None:
        """Begins to count; what happened since the last lap counts nowhere."""
        self._mark(None)

    def lap(self, part: str) -> None:
        """Counts the time since the start or the last lap to `part`."""
        self._mark(part)

    def take(self) -> dict[str, float]:
        """The seconds of each part since the last call, after waiting for the device; starts anew."""
        if self._unread:
            self._unread[-1][1].synchronize()
            self._read()
        taken, self._seconds = self._seconds, dict.fromkeys(PARTS, 0.0)
        return taken

    def _mark(self, part: str | None) -> None:
        mark = self._spare.pop() if self._spare else self._new_mark()
        mark.record()
        self._unread.append((part, mark))
        if len(self._unread) >= UNREAD_MARKS:
            self._read()

    def _new_mark(self) -> Mark:
        return torch.cuda.Event(enable_timing=True) if self._on_gpu else HostMark()  # type: ignore[return-value]

    def _read(self) -> None:
        while self._unread and self._unread[0][1].query():
            part, mark = self._unread.popleft()
            if self._last is not None:
                if part is not None:
                    self._seconds[part] += self._last.elapsed_time(mark) / 1000
                self._spare.append(self._last)
            self._last = mark
