"""Searches: which settings may be varied, over which values, where points are not a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datagen.core.errors import InputError, said_of
from datagen.core.identity import Allowed, shown
from datagen.core.settings import Setting, take
from orchestrator.axes import checked_axes
from orchestrator.settings import DIRECTION, POINT


@dataclass(frozen=True)
class Range:
    """Values from `low` to `high` for a search to choose from, evenly or evenly in their logarithm.

    Raises:
        InputError: it is no range of numbers.
    """

    low: float
    high: float
    logarithmic: bool = False

    def __post_init__(self) -> None:
        take(self, _RANGE)
        if self.low >= self.high:
            raise InputError(f"A Range goes from a lower to a higher number, not from {self.low:g} to {self.high:g}.")
        if self.logarithmic and self.low <= 0:
            raise InputError(f"A logarithmic Range begins above 0, not at {self.low:g}.")

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Search:
    """How points are chosen where they are not a grid: top-1 against labelled images, by Optuna, poor ones stopped.

    Attributes:
        space: for each setting of a training its values, or a `Range`; "frozen_layers" 0 trains from scratch.
        trials: how many points to try.
        random_first: how many of them at random, before what was learnt guides the choice.
        first_rung: after how many epochs points are first compared.
        reduction: one of so many goes on from a rung to the next.
        seed: of the choice.

    Raises:
        InputError: a setting of the space is unknown, or has no values or some that are not allowed; a number is out of
            range.
    """

    space: Mapping[str, Sequence[Any] | Range]
    trials: int
    random_first: int = 10
    first_rung: int = 3
    reduction: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        with said_of("The search"):
            take(self, _SEARCH)
            object.__setattr__(self, "space", _checked_space(self.space))

    def includes(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a point, by setting, lies in the space."""
        return parameters.keys() == self.space.keys() and all(
            value in self.space[key] for key, value in parameters.items()
        )


_RANGE = (Setting("low", float), Setting("high", float), Setting("logarithmic", bool))
_SEARCH = (
    Setting("trials", int, Allowed(minimum=1, maximum=999_999)),
    Setting("random_first", int, Allowed(minimum=0)),
    Setting("first_rung", int, Allowed(minimum=1)),
    Setting("reduction", int, Allowed(minimum=2)),
    Setting("seed", int, Allowed(minimum=0, maximum=2**31)),
)


def _checked_space(space: Any) -> dict[str, Sequence[Any] | Range]:
    if not isinstance(space, Mapping) or not space:
        raise InputError(f"The space is a dictionary such as {{'fraction': (1, 1/2)}}, not {shown(space)}.")
    checked: dict[str, Sequence[Any] | Range] = {}
    for key, values in space.items():
        setting = POINT.named(key)
        if setting.key == DIRECTION:
            raise InputError("The space has a direction; a search transfers from synthetic to real. Leave it out.")
        if setting.key in checked:
            raise InputError(f"{setting.key} is in the space twice, also as {setting.formerly}. Leave one out.")
        if isinstance(values, Range):
            if setting.declared is not float:
                raise InputError(f"{setting.key} takes no Range, which has fractions. List its values.")
            ends = [setting.checked(end) for end in (values.low, values.high)]
            checked[setting.key] = replace(values, low=ends[0], high=ends[1])
        else:
            checked |= {setting.key: list(checked_axes({setting.key: values})[setting.key])}
    return checked
