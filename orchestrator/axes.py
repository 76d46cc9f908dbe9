"""Axes and points of a study: checked against the table of settings, and multiplied out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from datagen.core.errors import InputError
from datagen.core.identity import shown
from orchestrator.settings import DIRECTION, POINT
from trainables.direction import Direction

Point = Mapping[str, Any]
"""A point of a grid: "direction", as text, and settings."""
Axes = Mapping[str | tuple[str, ...], Sequence[Any]]
"""Values of each axis; of axes that go together, a tuple of names, each value is a tuple."""
MOST_VALUES, MOST_POINTS = 100_000, 1_000_000


@dataclass(frozen=True)
class Drop:
    """Points that a grid leaves out, and the reason, a phrase that follows "dropped:".

    `drops` says of a point, which has a value for each axis, whether it is left out.
    """

    reason: str
    drops: Callable[[Point], bool]

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not callable(self.drops):
            raise InputError("A Drop is a reason and a function of a point: Drop('no such depth', lambda point: ...).")

    def drops_point(self, point: Point) -> bool:
        """Whether a point is left out.

        Raises:
            InputError: the user's function fails.
        """
        try:
            return bool(self.drops(_Named(point)))
        except Exception as error:
            raise InputError(
                f"The drop {self.reason!r} fails at {shown(dict(point))}: {type(error).__name__}: {error}."
            ) from error


class _Named(dict[str, Any]):
    """A point that also answers to what its settings were called formerly."""

    def __missing__(self, key: str) -> Any:
        for name, value in self.items():
            if name in POINT and POINT[name].formerly == key:
                return value
        raise KeyError(key)


def checked_axes(axes: Any) -> dict[str | tuple[str, ...], tuple[Any, ...]]:
    """The axes with their settings' present names and the values in their types.

    Raises:
        InputError: a name is no setting or is an axis twice; an axis has no values, one twice, or one that is not
            allowed; or the grid has more than `MOST_POINTS` points.
    """
    if not isinstance(axes, Mapping):
        raise InputError(f"Axes are a dictionary such as {{'fraction': (1, 1/2)}}, not {shown(axes)}.")
    checked: dict[str | tuple[str, ...], tuple[Any, ...]] = {}
    for axis, values in axes.items():
        together = not isinstance(axis, str)
        if together and not (isinstance(axis, tuple) and axis):
            raise InputError(f"An axis is the name of a setting, or a tuple of names, not {shown(axis)}.")
        names = tuple(POINT.named(name).key for name in (axis if together else (axis,)))
        used = [name for known in checked for name in names_of(known)]
        for place, name in enumerate(names):
            if name in (*used, *names[:place]):
                raise InputError(f"{name} is an axis twice. Put all its values into one.")
        items = several(values, " with ".join(names))
        if together:
            combinations = tuple(_combination(item, names) for item in items)
            checked[names] = _each_once(combinations, " with ".join(names))
        else:
            checked[names[0]] = _each_once(tuple(POINT[names[0]].checked(item) for item in items), names[0])
    if (points := math.prod(map(len, checked.values()))) > MOST_POINTS:
        raise InputError(f"The grid has {points:,} points, more than {MOST_POINTS:,}. Narrow an axis.")
    return checked


def names_of(axis: str | tuple[str, ...]) -> tuple[str, ...]:
    """The settings of an axis: one, or those that go together."""
    return (axis,) if isinstance(axis, str) else axis


def several(values: Any, name: str) -> tuple[Any, ...]:
    """Values in an order.

    Raises:
        InputError: there are none, too many, or it is one value, or a set.
    """
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise InputError(f"{name} must have several values in an order, for example (1, 2), not {shown(values)}.")
    items = tuple(itertools.islice(values, MOST_VALUES + 1))
    if not items:
        raise InputError(f"{name} has no values. Give at least one, or leave it out.")
    if len(items) > MOST_VALUES:
        raise InputError(f"{name} has more than {MOST_VALUES:,} values.")
    return items


def _combination(item: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    if not isinstance(item, tuple | list) or len(item) != len(names):
        raise InputError(f"A value of {' with '.join(names)} must be a tuple of {len(names)}, not {shown(item)}.")
    return tuple(POINT[name].checked(value) for name, value in zip(names, item, strict=True))


def _each_once(values: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    seen = set()
    for value in values:
        if value in seen:
            raise InputError(f"{name} has {shown(value)} twice. Leave one out.")
        seen.add(value)
    return values


def checked_point(point: Any) -> dict[str, Any]:
    """A point with its settings' present names and the values in their types; a direction alone is one.

    Raises:
        InputError: it is no point, or a key or value is not allowed.
    """
    return POINT.checked({DIRECTION: point} if isinstance(point, str | Direction) else point)


def product(axes: Axes) -> Iterator[dict[str, Any]]:
    """Every point of the grid, the last axis running fastest."""
    for values in itertools.product(*axes.values()):
        point: dict[str, Any] = {}
        for axis, value in zip(axes, values, strict=True):
            point |= {axis: value} if isinstance(axis, str) else dict(zip(axis, value, strict=True))
        yield point
