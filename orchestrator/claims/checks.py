"""How a claim of the papers is checked over a table of results.

A claim is one or more numbers that follow from accuracies, each with the bounds that the paper's sentence sets. Where
the paper names a number the bounds are 2 points around it: its authors report that their re-runs fluctuate by less than
1 point (Mind the Gap, section 3.1), so two runs' difference by less than 2. Where it says "at most", the bound is that
many points and 2; where it only says that something is higher, the bound is 0.

Over seeds a claim is *confirmed* if the 95 % interval of each of its numbers lies within the bounds, and *not
confirmed* otherwise; fewer than 3 seeds are too few to say. Nothing heavy is imported before a claim is checked: study
files name claims, and planning must stay light.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.claims.statistics import Array

CONFIRMED, NOT_CONFIRMED, TOO_FEW, NOT_MEASURED = "confirmed", "not confirmed", "not enough seeds", "not measured"
NOT_APPLICABLE = "not applicable here"
"""Of a claim about other data than what was measured, which no number of seeds would settle."""
SEEDS_NEEDED = 3
TOLERANCE = 2.0
"""Points; see above."""
RULE = (
    f"Confirmed: with {SEEDS_NEEDED} seeds or more, the 95 % interval lies within what the sentence says, "
    f"give or take {TOLERANCE:g} points where it names a number (the papers' re-runs fluctuate by less than 1 point)."
)


class Cell(NamedTuple):
    """A point of a table: where to find an accuracy. `variant` is what the papers' tables call it; "" is plain."""

    direction: str
    frozen_layers: int = 0
    fraction: float = 1.0
    variant: str = ""


class Check(NamedTuple):
    """One number of a claim: its name, its value for each seed (NaN where a seed lacks a result), and its bounds."""

    name: str
    values: Array
    low: float = float("-inf")
    high: float = float("inf")
    unit: str = "points"

    def expected(self) -> str:
        """The bounds in words."""
        if self.high == float("inf"):
            return f"above {self.low:g}"
        return f"at most {self.high:.1f}" if self.low == float("-inf") else f"{self.low:.1f} to {self.high:.1f}"


class Finding(NamedTuple):
    """A check's outcome: mean over the seeds, its 95 % interval (NaN with one seed), whether it is within bounds."""

    check: Check
    mean: float
    low: float
    high: float
    seeds: int
    holds: bool

    def sentence(self) -> str:
        """The number in words, with what was expected."""
        if not self.seeds:
            return f"{self.check.name}: missing"
        interval = f" [{self.low:+.2f}, {self.high:+.2f}]" if self.low == self.low else ""
        return f"{self.check.name}: {self.mean:+.2f}{interval} {self.check.unit}, expected {self.check.expected()}"


@dataclass(frozen=True)
class Outcome:
    """A claim that was checked: the verdict, and the numbers that it follows from."""

    claim: Claim
    verdict: str
    findings: tuple[Finding, ...]

    @property
    def seeds(self) -> int:
        """The fewest seeds that any of the numbers has."""
        return min((finding.seeds for finding in self.findings), default=0)


class NotMeasured(Exception):
    """A cell that a claim needs is not in the table, or has no result."""


class Accuracies:
    """Top-1 of every cell of a table, by seed.

    Args:
        trials: rows of direction, frozen_layers, fraction, variant, seed, top1_mean and status ("done" counts).
    """

    def __init__(self, trials: pd.DataFrame) -> None:
        import numpy as np

        done = trials[trials["status"] == "done"] if "status" in trials else trials
        self._seeds = {seed: position for position, seed in enumerate(sorted(trials["seed"].unique()))}
        self._values: dict[Cell, Array] = {}
        columns = ("direction", "frozen_layers", "fraction", "variant", "seed", "top1_mean")
        for direction, depth, fraction, variant, seed, top1 in zip(*(done[name] for name in columns), strict=True):
            if isinstance(variant, str):
                cell = Cell(direction, int(depth), float(fraction), variant)
                row = self._values.setdefault(cell, np.full(len(self._seeds), np.nan))
                if np.isnan(row[self._seeds[seed]]):
                    row[self._seeds[seed]] = top1

    def __getitem__(self, cell: Cell) -> Array:
        """Values by seed.

        Raises:
            NotMeasured: there are none.
        """
        try:
            return self._values[cell]
        except KeyError:
            raise NotMeasured(cell) from None

    def depths(self, direction: str) -> list[int]:
        """The freeze depths of a direction's plain transfers on all images, in order."""
        return sorted(
            cell.frozen_layers for cell in self._values if cell == Cell(direction, cell.frozen_layers)
        )  # fmt: skip


@dataclass(frozen=True)
class Claim(ABC):
    """A sentence of a paper. `statement` is it, short; `source` where it stands; `data_set` what it is said of."""

    statement: str
    source: str
    _: KW_ONLY
    data_set: str = "imagenet100"

    @abstractmethod
    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The claim's numbers; raises `NotMeasured`."""

    def variants_named(self) -> set[str]:
        """The variants of the papers' table that it speaks of; "" is the plain one."""
        named: set[str] = set()
        for declared in fields(self):
            value = getattr(self, declared.name)
            if isinstance(value, Cell):
                named.add(value.variant)
            elif declared.name in _OF_VARIANTS and value is not None:
                named |= {value} if isinstance(value, str) else set(value)
        return named


_OF_VARIANTS = ("variant", "variants", "others", "over", "real")
"""Fields of claims that name variants."""


def evaluate(claims: Sequence[Claim], trials: pd.DataFrame, data_set: str | None) -> list[Outcome]:
    """Checks claims over a trial table.

    Args:
        claims: those of a study.
        trials: as `Accuracies` takes it.
        data_set: the papers' name of the data that was measured; claims about other data are left out. None for a scale
            that is not the papers': the claims about ImageNet-100 get their numbers, and no verdict on them.
    """
    top1 = Accuracies(trials)
    outcomes = [_outcome(claim, top1) for claim in claims if claim.data_set == (data_set or "imagenet100")]
    return outcomes if data_set else [replace(outcome, verdict=NOT_APPLICABLE) for outcome in outcomes]


def _outcome(claim: Claim, top1: Accuracies) -> Outcome:
    try:
        findings = tuple(_finding(check) for check in claim.checks(top1))
    except NotMeasured:
        findings = ()
    if not findings or any(finding.seeds == 0 for finding in findings):
        return Outcome(claim, NOT_MEASURED, findings)
    if min(finding.seeds for finding in findings) < SEEDS_NEEDED:
        return Outcome(claim, TOO_FEW, findings)
    return Outcome(claim, CONFIRMED if all(finding.holds for finding in findings) else NOT_CONFIRMED, findings)


def _finding(check: Check) -> Finding:
    import numpy as np

    from orchestrator.claims.statistics import interval

    values = check.values[~np.isnan(check.values)]
    if not len(values):
        return Finding(check, np.nan, np.nan, np.nan, 0, holds=False)
    low, high = (float(end[0]) for end in interval(values[None]))
    mean = float(values.mean())
    ends = (mean, mean) if len(values) < 2 else (low, high)
    # Half a unit of the papers' last digit, which their rounding takes or gives.
    holds = ends[0] >= check.low - 0.05 and ends[1] <= check.high + 0.05
    return Finding(check, mean, low, high, len(values), holds)


def near(name: str, values: Array, number: float, tolerance: float = TOLERANCE, unit: str = "points") -> Check:
    """A number that the paper names."""
    return Check(name, values, number - tolerance, number + tolerance, unit)


def above(name: str, values: Array) -> Check:
    """A number that the paper says is above zero."""
    return Check(name, values, low=0.0)
