"""What the papers say of their results, as checks over a table of results: a study names its claims as data.

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
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.statistics import Array

CONFIRMED, NOT_CONFIRMED, TOO_FEW, NOT_MEASURED = "confirmed", "not confirmed", "not enough seeds", "not measured"
SEEDS_NEEDED = 3
TOLERANCE = 2.0
"""Points; see above."""
RULE = (
    f"Confirmed: with {SEEDS_NEEDED} seeds or more, the 95 % interval lies within what the sentence says, "
    f"give or take {TOLERANCE:g} points where it names a number (the papers' re-runs fluctuate by less than 1 point)."
)
MIND_THE_GAP, FINE_TUNING = "Mind the Gap", "Fine-Tuning Role"
REAL, SYNTHETIC = "real", "synthetic"
TO_REAL, TO_SYNTHETIC = "synthetic->real", "real->synthetic"


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


def evaluate(claims: Sequence[Claim], trials: pd.DataFrame, data_set: str | None = None) -> list[Outcome]:
    """Checks claims over a trial table.

    Args:
        claims: those of a study.
        trials: as `Accuracies` takes it.
        data_set: the papers' name of the data that was measured; claims about other data are left out. None for a scale
            that is not the papers': all claims about ImageNet-100 are checked, which shows the machinery at work.
    """
    top1 = Accuracies(trials)
    return [_outcome(claim, top1) for claim in claims if claim.data_set == (data_set or "imagenet100")]


def published_accuracies(table: str, data_set: str) -> pd.DataFrame:
    """A paper's table in the form that `evaluate` takes: one "seed"; the plain bases of both kinds are always there."""
    import pandas as pd

    from orchestrator.results import published_rows

    bases = published_rows("layer_importance", data_set).query("frozen_layers == 0 and variant == ''")
    rows = pd.concat([published_rows(table, data_set), bases], ignore_index=True)
    direction = (rows["pretrained_on"] + "->" + rows["trained_on"]).str.removeprefix("->")
    return rows.assign(direction=direction, seed=0, status="done")


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

    from orchestrator.statistics import interval

    values = check.values[~np.isnan(check.values)]
    if not len(values):
        return Finding(check, np.nan, np.nan, np.nan, 0, holds=False)
    low, high = (float(end[0]) for end in interval(values[None]))
    mean = float(values.mean())
    ends = (mean, mean) if len(values) < 2 else (low, high)
    # Half a unit of the papers' last digit, which their rounding takes or gives.
    holds = ends[0] >= check.low - 0.05 and ends[1] <= check.high + 0.05
    return Finding(check, mean, low, high, len(values), holds)


def _near(name: str, values: Array, number: float, tolerance: float = TOLERANCE, unit: str = "points") -> Check:
    return Check(name, values, number - tolerance, number + tolerance, unit)


def _above(name: str, values: Array) -> Check:
    return Check(name, values, low=0.0)


def _base(direction: str) -> Cell:
    """The training from scratch on all images of the kind that a direction's upper layers see."""
    return Cell(direction.rpartition("->")[2])


@dataclass(frozen=True, kw_only=True)
class Differs(Claim):
    """`higher` has a higher top-1 than `lower`: by `points` if given, else at all."""

    higher: Cell
    lower: Cell
    points: float | None = None

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The difference."""
        difference = top1[self.higher] - top1[self.lower]
        yield _above("difference", difference) if self.points is None else _near("difference", difference, self.points)


@dataclass(frozen=True, kw_only=True)
class GapRemains(Claim):
    """Real training images are better than synthetic ones, in each of the variants; by `points` if given."""

    variants: tuple[str, ...] = ("",)
    real: str | None = None
    """The variant that real images have, if not the same as the synthetic ones."""
    points: float | None = None

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The gap of each variant."""
        for variant in self.variants:
            real = Cell(REAL, variant=variant if self.real is None else self.real)
            gap = top1[real] - top1[Cell(SYNTHETIC, variant=variant)]
            name = f"gap {variant}".strip().replace("_", " ")
            yield _above(name, gap) if self.points is None else _near(name, gap, self.points)


@dataclass(frozen=True, kw_only=True)
class StaysWithin(Claim):
    """Up to a freeze depth, top-1 falls by at most `falls` points below the base and rises by at most `rises`.

    The furthest depth is that of the mean over seeds.
    """

    direction: str
    up_to: int
    falls: float | None = None
    rises: float | None = None

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The largest fall, the largest rise."""
        import numpy as np

        depths = [depth for depth in top1.depths(self.direction) if depth <= self.up_to]
        if not depths or depths[-1] != self.up_to:
            raise NotMeasured(self.direction)
        changes = np.array([top1[Cell(self.direction, depth)] - top1[_base(self.direction)] for depth in depths])
        means = np.nanmean(changes, axis=1)
        for name, bound, sign in (("fall", self.falls, -1), ("rise", self.rises, 1)):
            if bound is not None:
                furthest = int(np.argmax(sign * means))
                values = sign * changes[furthest]
                yield Check(f"largest {name}, at N = {depths[furthest]}", values, high=bound + TOLERANCE)


@dataclass(frozen=True, kw_only=True)
class DropsAt(Claim):
    """Freezing one layer more, the one at `depth`, costs `points`; without a number, it costs more than nothing."""

    direction: str
    depth: int
    points: float | None = None

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The step."""
        step = top1[Cell(self.direction, self.depth - 1)] - top1[Cell(self.direction, self.depth)]
        name = f"drop from N = {self.depth - 1} to {self.depth}"
        yield _above(name, step) if self.points is None else _near(name, step, self.points)


@dataclass(frozen=True, kw_only=True)
class SteepestAfter(Claim):
    """Of all steps by one layer, the largest fall comes after `depth`: it exceeds the largest fall before."""

    direction: str
    depth: int

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The largest fall after, less the largest before."""
        import numpy as np

        depths = top1.depths(self.direction)
        falls = {
            depth: top1[Cell(self.direction, depth - 1) if depth > 1 else _base(self.direction)]
            - top1[Cell(self.direction, depth)]
            for depth in depths
            if depth == 1 or depth - 1 in depths
        }
        means = {depth: float(np.nanmean(values)) for depth, values in falls.items()}
        before = [depth for depth in falls if depth <= self.depth]
        after = [depth for depth in falls if depth > self.depth]
        if not before or not after:
            raise NotMeasured(self.direction)
        early, late = max(before, key=lambda depth: means[depth]), max(after, key=lambda depth: means[depth])
        yield _above(f"fall at N = {late} less that at N = {early}", falls[late] - falls[early])


@dataclass(frozen=True, kw_only=True)
class RisesOver(Claim):
    """From one freeze depth to another top-1 rises by `points`, each step more than the one before if `faster`."""

    direction: str
    start: int
    end: int
    points: float
    faster: bool = True

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The rise, and how much each step exceeds the one before."""
        curve = [top1[Cell(self.direction, depth)] for depth in range(self.start, self.end + 1)]
        yield _near(f"rise from N = {self.start} to {self.end}", curve[-1] - curve[0], self.points)
        steps = [after - before for before, after in pairwise(curve)]
        if self.faster:
            for depth, (before, after) in enumerate(pairwise(steps), self.start + 2):
                yield _above(f"step to N = {depth} less the one before", after - before)


@dataclass(frozen=True, kw_only=True)
class RisesLess(Claim):
    """From one freeze depth to another top-1 rises by less than `points`."""

    direction: str
    start: int
    end: int
    points: float

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The rise."""
        rise = top1[Cell(self.direction, self.end)] - top1[Cell(self.direction, self.start)]
        yield Check(f"rise from N = {self.start} to {self.end}", rise, high=self.points)


@dataclass(frozen=True, kw_only=True)
class CostsAtMost(Claim):
    """With a share of the real images: what it costs after synthetic pretraining, and from scratch, against all images.

    `own` is the cost of the transfer against the transfer with all real images.
    """

    fraction: float
    transfer: float | None = None
    scratch: float | None = None
    own: float | None = None
    frozen_layers: int = 16

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The costs."""
        share, base = f"1/{round(1 / self.fraction)}", top1[Cell(REAL)]
        transfer = top1[Cell(TO_REAL, self.frozen_layers, self.fraction)]
        if self.transfer is not None:
            yield _near(f"cost of {share} after pretraining", base - transfer, self.transfer)
        if self.scratch is not None:
            yield _near(f"cost of {share} from scratch", base - top1[Cell(REAL, 0, self.fraction)], self.scratch)
        if self.own is not None:
            yield _near(
                f"cost of {share} to the transfer", top1[Cell(TO_REAL, self.frozen_layers)] - transfer, self.own
            )


@dataclass(frozen=True, kw_only=True)
class LineFit(Claim):
    """Top-1 after synthetic pretraining follows a line in log2 of the data reduction (1, 2, 4, ...).

    Fitted by least squares to each seed's curve (Fine-Tuning Role, Figure 3). Eight values that fluctuate by 1 point
    each move the slope by at most 0.4 and the intercept, at full data, by 2.
    """

    slope: float
    intercept: float
    frozen_layers: int = 16
    halvings: int = 7

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """Slope and intercept."""
        import numpy as np

        exponents = np.arange(self.halvings + 1)
        curves = np.array([top1[Cell(TO_REAL, self.frozen_layers, 1 / 2**exponent)] for exponent in exponents])
        slope, intercept = np.full((2, curves.shape[1]), np.nan)
        whole = ~np.isnan(curves).any(axis=0)
        if whole.any():
            slope[whole], intercept[whole] = np.polyfit(exponents, curves[:, whole], 1)
        yield _near("slope", slope, self.slope, 0.4, "points a halving")
        yield _near("intercept", intercept, self.intercept, unit="%")


@dataclass(frozen=True, kw_only=True)
class SteeperFromScratch(Claim):
    """Between two shares of the real images, training from scratch loses more than a transfer."""

    fraction: float = 1 / 128
    frozen_layers: int = 16

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The loss from scratch, less that of the transfer."""
        scratch = top1[Cell(REAL)] - top1[Cell(REAL, 0, self.fraction)]
        transfer = top1[Cell(TO_REAL, self.frozen_layers)] - top1[Cell(TO_REAL, self.frozen_layers, self.fraction)]
        yield _above("loss from scratch less that after pretraining", scratch - transfer)


@dataclass(frozen=True, kw_only=True)
class Improves(Claim):
    """Each variant is better than the variant `over`, on each kind of images; worse if `falls`."""

    variants: tuple[str, ...]
    over: str = ""
    kinds: tuple[str, ...] = (REAL, SYNTHETIC)
    falls: bool = False

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The differences."""
        for kind in self.kinds:
            for variant in self.variants:
                change = top1[Cell(kind, variant=variant)] - top1[Cell(kind, variant=self.over)]
                name = f"{kind}: {variant.replace('_', ' ')} {'costs' if self.falls else 'gains'}"
                yield _above(name, -change if self.falls else change)


@dataclass(frozen=True, kw_only=True)
class GainsCompared(Claim):
    """The mean gain of the variants over `over`, synthetic images less real ones, has the sign of `sign` (or is 0)."""

    variants: tuple[str, ...]
    over: str
    sign: int

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The gain on synthetic images less that on real ones."""
        import numpy as np

        def gain(kind: str) -> Any:
            base = top1[Cell(kind, variant=self.over)]
            return np.mean([top1[Cell(kind, variant=variant)] - base for variant in self.variants], axis=0)

        name = "mean gain on synthetic images less that on real ones"
        difference = gain(SYNTHETIC) - gain(REAL)
        yield _above(name, difference) if self.sign > 0 else Check(name, difference, high=0.0)


@dataclass(frozen=True, kw_only=True)
class RanksHighest(Claim):
    """A variant is at least as good as each of the others, on each kind of images."""

    variant: str
    others: tuple[str, ...]
    kinds: tuple[str, ...] = (REAL, SYNTHETIC)

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        """The lead over the best of the others."""
        import numpy as np

        for kind in self.kinds:
            others = {variant: top1[Cell(kind, variant=variant)] for variant in self.others}
            best = max(others, key=lambda variant: float(np.nanmean(others[variant])))
            lead = top1[Cell(kind, variant=self.variant)] - others[best]
            yield _above(f"{kind}: {self.variant.replace('_', ' ')} less {best.replace('_', ' ')}", lead)
