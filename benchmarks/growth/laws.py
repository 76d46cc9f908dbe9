"""The law that measurements follow as something grows: a power of it, or a fixed part and a part for each of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UPPER = 4
"""How many of the largest sizes are fitted: at small ones start-up hides the law."""
FLAT = 0.05
"""A part that grows by less than this share of the whole over the sizes measured is called none."""


@dataclass(frozen=True)
class Law:
    """What is expected at size n: `first` * n ^ `second` ("power"), or `first` + `second` * n ("linear").

    `residual` is the root of the mean squared logarithm of measured over expected, so 0.05 is about 5 %; `largest` is
    the largest size that was measured, `points` the number of sizes fitted.
    """

    kind: str
    first: float
    second: float
    residual: float
    largest: float
    points: int

    def at(self, size: float) -> float:
        """The expected value at a size."""
        return self.first * size**self.second if self.kind == "power" else self.first + self.second * size

    @property
    def flat(self) -> bool:
        """Whether size makes no difference."""
        if self.kind == "power":
            return abs(self.second) <= FLAT
        return abs(self.second * self.largest) <= FLAT * abs(self.at(self.largest))

    def reaches(self, value: float) -> float | None:
        """The size at which `value` is reached; None if none is known, for the law is flat or falls."""
        if self.flat or self.second < 0:
            return None
        if self.kind == "power":
            return float((value / self.first) ** (1 / self.second))
        return max(0.0, (value - self.first) / self.second)

    def formula(self, unit: str) -> str:
        """The law in text, n the size."""
        if self.kind == "power":
            return f"{self.first:.3g} n^{self.second:.2f} {unit}"
        if self.flat:
            return f"{self.at(self.largest):.3g} {unit}, whatever n"
        return f"{self.first:.3g} {'-' if self.second < 0 else '+'} {abs(self.second):.3g} n {unit}"


def laws(sizes: Sequence[float], values: Sequence[float]) -> tuple[Law, Law]:
    """Both laws fitted to the upper sizes by least squares of relative errors; the one with smaller residuals first.

    The power is fitted to logarithms, the line to values weighted by their inverse, so that residuals compare.
    """
    n, y = np.asarray(sizes[-UPPER:], float), np.asarray(values[-UPPER:], float)
    exponent, logarithm = np.polyfit(np.log(n), np.log(y), 1)
    slope, constant = np.polyfit(n, y, 1, w=1 / y)
    found = [
        Law(kind, float(first), float(second), 0.0, float(n[-1]), len(n))
        for kind, first, second in (("power", np.exp(logarithm), exponent), ("linear", constant, slope))
    ]
    measured = [_with_residual(law, n, y) for law in found]
    best, other = sorted(measured, key=lambda law: law.residual)
    return best, other


def _with_residual(law: Law, n: np.ndarray, y: np.ndarray) -> Law:
    expected = np.array([law.at(size) for size in n])
    error = np.sqrt(np.mean(np.log(y / expected) ** 2)) if (expected > 0).all() else np.inf
    return Law(law.kind, law.first, law.second, float(error), law.largest, law.points)
