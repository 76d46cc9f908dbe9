"""What all faults share: where their stores are, what results are expected, and how often and when they happen."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.display import Display
from benchmarks.faults.study import Row, Study


@dataclass
class Suite:
    """See the module.

    Attributes:
        root: the folder of everything.
        display: shows what runs.
        kills: how often the driver is killed.
        moments: chooses when.
        expected: the results of the undisturbed run.
        usual_seconds: what that run took.
    """

    root: Path
    display: Display
    kills: int
    moments: random.Random
    expected: bytes = b""
    usual_seconds: float = 0.0

    def study(
        self,
        name: str,
        *,
        store: Path | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Study:
        """The small study in a new store."""
        return Study(name, store or self.root / name, self.root, self.display, environment or {}, options)

    def row(self, fault: str, study: Study, injected: int = 1, note: str = "") -> Row:
        """The row of a study that ended."""
        return study.row(fault, injected, self.expected, note)

    def some_epochs(self) -> int:
        """A moment of a run that does not depend on the machine: how many epochs are reported by then (of 16)."""
        return self.moments.randint(1, 8)
