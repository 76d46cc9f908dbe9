"""What the papers say of their results, as claims that a study names as data; `claim_checks` says how they are checked.

Nothing heavy is imported before a claim is checked: study files name claims, and planning must stay light.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from datagen.core.wording import share_words
from orchestrator.claims.checks import TOLERANCE, Accuracies, Check, NotMeasured, above, near
from orchestrator.claims.checks import Cell as Cell
from orchestrator.claims.checks import Claim as Claim
from trainables.direction import REAL, REAL_TO_SYNTHETIC, SYNTHETIC, SYNTHETIC_TO_REAL, Direction

TO_REAL, TO_SYNTHETIC = str(SYNTHETIC_TO_REAL), str(REAL_TO_SYNTHETIC)
"""Directions as tables show them, which claims speak of."""


def _base(direction: str) -> Cell:
    """The training from scratch on all images of the kind that a direction's upper layers see."""
    return Cell(Direction.parse(direction).target)


@dataclass(frozen=True, kw_only=True)
class Differs(Claim):
    """`higher` has a higher top-1 than `lower`: by `points` if given, else at all."""

    higher: Cell
    lower: Cell
    points: float | None = None

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        difference = top1[self.higher] - top1[self.lower]
        yield above("difference", difference) if self.points is None else near("difference", difference, self.points)


@dataclass(frozen=True, kw_only=True)
class GapRemains(Claim):
    """Real training images are better than synthetic ones, in each of the variants; by `points` if given."""

    variants: tuple[str, ...] = ("",)
    real: str | None = None
    """The variant that real images have, if not the same as the synthetic ones."""
    points: float | None = None

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        for variant in self.variants:
            real = Cell(REAL, variant=variant if self.real is None else self.real)
            gap = top1[real] - top1[Cell(SYNTHETIC, variant=variant)]
            name = f"gap {variant}".strip().replace("_", " ")
            yield above(name, gap) if self.points is None else near(name, gap, self.points)


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
        step = top1[Cell(self.direction, self.depth - 1)] - top1[Cell(self.direction, self.depth)]
        name = f"drop from N = {self.depth - 1} to {self.depth}"
        yield above(name, step) if self.points is None else near(name, step, self.points)


@dataclass(frozen=True, kw_only=True)
class SteepestAfter(Claim):
    """Of all steps by one layer, the largest fall comes after `depth`: it exceeds the largest fall before."""

    direction: str
    depth: int

    def checks(self, top1: Accuracies) -> Iterable[Check]:
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
        yield above(f"fall at N = {late} less that at N = {early}", falls[late] - falls[early])


@dataclass(frozen=True, kw_only=True)
class RisesOver(Claim):
    """From one freeze depth to another top-1 rises by `points`, each step more than the one before if `faster`."""

    direction: str
    start: int
    end: int
    points: float
    faster: bool = True

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        curve = [top1[Cell(self.direction, depth)] for depth in range(self.start, self.end + 1)]
        yield near(f"rise from N = {self.start} to {self.end}", curve[-1] - curve[0], self.points)
        steps = [after - before for before, after in pairwise(curve)]
        if self.faster:
            for depth, (before, after) in enumerate(pairwise(steps), self.start + 2):
                yield above(f"step to N = {depth} less the one before", after - before)


@dataclass(frozen=True, kw_only=True)
class RisesLess(Claim):
    """From one freeze depth to another top-1 rises by less than `points`."""

    direction: str
    start: int
    end: int
    points: float

    def checks(self, top1: Accuracies) -> Iterable[Check]:
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
        share, base = share_words(self.fraction), top1[Cell(REAL)]
        transfer = top1[Cell(TO_REAL, self.frozen_layers, self.fraction)]
        if self.transfer is not None:
            yield near(f"cost of {share} after pretraining", base - transfer, self.transfer)
        if self.scratch is not None:
            yield near(f"cost of {share} from scratch", base - top1[Cell(REAL, 0, self.fraction)], self.scratch)
        if self.own is not None:
            yield near(f"cost of {share} to the transfer", top1[Cell(TO_REAL, self.frozen_layers)] - transfer, self.own)


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
        import numpy as np

        exponents = np.arange(self.halvings + 1)
        curves = np.array([top1[Cell(TO_REAL, self.frozen_layers, 1 / 2**exponent)] for exponent in exponents])
        slope, intercept = np.full((2, curves.shape[1]), np.nan)
        whole = ~np.isnan(curves).any(axis=0)
        if whole.any():
            slope[whole], intercept[whole] = np.polyfit(exponents, curves[:, whole], 1)
        yield near("slope", slope, self.slope, 0.4, "points a halving")
        yield near("intercept", intercept, self.intercept, unit="%")


@dataclass(frozen=True, kw_only=True)
class SteeperFromScratch(Claim):
    """Between two shares of the real images, training from scratch loses more than a transfer."""

    fraction: float = 1 / 128
    frozen_layers: int = 16

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        scratch = top1[Cell(REAL)] - top1[Cell(REAL, 0, self.fraction)]
        transfer = top1[Cell(TO_REAL, self.frozen_layers)] - top1[Cell(TO_REAL, self.frozen_layers, self.fraction)]
        yield above("loss from scratch less that after pretraining", scratch - transfer)


@dataclass(frozen=True, kw_only=True)
class Improves(Claim):
    """Each variant is better than the variant `over`, on each kind of images; worse if `falls`."""

    variants: tuple[str, ...]
    over: str = ""
    kinds: tuple[str, ...] = (REAL, SYNTHETIC)
    falls: bool = False

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        for kind in self.kinds:
            for variant in self.variants:
                change = top1[Cell(kind, variant=variant)] - top1[Cell(kind, variant=self.over)]
                name = f"{kind}: {variant.replace('_', ' ')} {'costs' if self.falls else 'gains'}"
                yield above(name, -change if self.falls else change)


@dataclass(frozen=True, kw_only=True)
class GainsCompared(Claim):
    """The mean gain of the variants over `over`, synthetic images less real ones, has the sign of `sign` (or is 0)."""

    variants: tuple[str, ...]
    over: str
    sign: int

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        import numpy as np

        def gain(kind: str) -> Any:
            base = top1[Cell(kind, variant=self.over)]
            return np.mean([top1[Cell(kind, variant=variant)] - base for variant in self.variants], axis=0)

        name = "mean gain on synthetic images less that on real ones"
        difference = gain(SYNTHETIC) - gain(REAL)
        yield above(name, difference) if self.sign > 0 else Check(name, difference, high=0.0)


@dataclass(frozen=True, kw_only=True)
class RanksHighest(Claim):
    """A variant is at least as good as each of the others, on each kind of images."""

    variant: str
    others: tuple[str, ...]
    kinds: tuple[str, ...] = (REAL, SYNTHETIC)

    def checks(self, top1: Accuracies) -> Iterable[Check]:
        import numpy as np

        for kind in self.kinds:
            others = {variant: top1[Cell(kind, variant=variant)] for variant in self.others}
            best = max(others, key=lambda variant: float(np.nanmean(others[variant])))
            lead = top1[Cell(kind, variant=self.variant)] - others[best]
            yield above(f"{kind}: {self.variant.replace('_', ' ')} less {best.replace('_', ' ')}", lead)
