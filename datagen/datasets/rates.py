"""How fast data sets are made: the rate of each recipe, in one place for every estimate."""

from __future__ import annotations

from dataclasses import dataclass

from datagen.core.errors import InputError

BASES = ("measured", "published", "derived", "guess")
"""How a rate is known: measured by this project, published by others, computed from a published one, or not at all."""


@dataclass(frozen=True)
class Rate:
    """How fast a recipe's sets are made on one device, at the recipe's own settings.

    Attributes:
        per_second: units of work a second, as `DerivedDataset.work` counts them: steps of the denoiser for one image,
            of which guidance takes two a step, or images stylized.
        device: what it holds for: one GPU, or one core.
        basis: one of `BASES`.
        reason: where it comes from, a phrase.

    Raises:
        InputError: the rate is not positive, or the basis unknown.
    """

    per_second: float
    device: str
    basis: str
    reason: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.per_second < float("inf"):
            raise InputError(f"The per_second of a Rate must be above 0, not {self.per_second!r}.")
        if self.basis not in BASES:
            raise InputError(f"The basis of a Rate must be one of {', '.join(BASES)}, not {self.basis!r}.")

    def __str__(self) -> str:
        basis = "a guess, not measured" if self.basis == "guess" else self.basis
        return f"{self.device} ({basis}{': ' if self.reason else ''}{self.reason})"

    def at(self, pixels: int, wanted: int) -> Rate:
        """The rate at images of `wanted` pixels in place of `pixels`: the work of a step goes by the pixels."""
        return Rate(self.per_second * pixels / wanted, self.device, self.basis, self.reason)
