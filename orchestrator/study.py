"""Studies: one question each, as a grid of trials and how to show them. They live in `experiments/`, as scales do."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.scale import TRANSFER_ONLY, Scale
from trainables.direction import Direction
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    from orchestrator.claims.kinds import Claim

Point = Mapping[str, Any]
"""A point of a grid: "direction", as text, and settings."""


class Drop(NamedTuple):
    """Points that a grid leaves out, and the reason, a phrase that follows "dropped:"."""

    reason: str
    drops: Callable[[Point], bool]


class Figure(NamedTuple):
    """How a study is drawn.

    Attributes:
        kind: "curves" (top-1 against `axis`), "bars" (a group of bars for each value of `axis`), or "pareto".
        axis: the axis from left to right.
        series: the axis whose values are told apart by colour.
        baselines: whether trainings from scratch on all images of a kind are drawn as lines across.
        logarithmic: whether the axis is drawn and fitted in log2, as data reductions are.
    """

    kind: str
    axis: str
    series: str = "direction"
    baselines: bool = True
    logarithmic: bool = False


class Range(NamedTuple):
    """Values from `low` to `high` for a search to choose from, evenly or evenly in their logarithm."""

    low: float
    high: float
    logarithmic: bool = False


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
    """

    space: Mapping[str, Sequence[Any] | Range]
    trials: int
    random_first: int = 10
    first_rung: int = 3
    reduction: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Trial:
    """One point of a grid and one seed: one training, one row of the results."""

    point: Point
    seed: int
    spec: TrainingSpec


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question: the trials that answer it and how to show them.

    Attributes:
        name: as given on the command line; the file's name.
        question: one sentence.
        figure: how the answer is drawn.
        baselines: points to compare with, or kinds of data to train on from scratch; trials like the others.
        axes: values of each axis; their product is the grid. An axis is "direction", a setting of a training or of
            generated data sets, or one of `scale.DATA_CHOICES`; or several of them that go together, as a tuple of
            names, each value a tuple.
        drop: points of the product to leave out.
        fixed: values that every point has unless it says otherwise.
        published: the table in the papers' results that this study repeats.
        variants: what the papers' table calls a point, by the point's values that are not in every table.
        claims: what the papers say of it, to be checked.
        transfer_only: settings that apply to a transfer and not to its base.
        search: how points are chosen where they are not a grid.
    """

    name: str
    question: str
    figure: Figure
    baselines: Sequence[str | Point] = ()
    axes: Mapping[str | tuple[str, ...], Sequence[Any]] = field(default_factory=dict)
    drop: Sequence[Drop] = ()
    fixed: Point = field(default_factory=dict)
    published: str | None = None
    variants: Mapping[tuple[tuple[str, Any], ...], str] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    transfer_only: Sequence[str] = TRANSFER_ONLY
    search: Search | None = None

    @property
    def axis_names(self) -> tuple[str, ...]:
        """The names of all axes, those that go together one by one."""
        return tuple(name for axis in self.axes for name in ((axis,) if isinstance(axis, str) else axis))

    def points(self) -> list[dict[str, Any]]:
        """Every point of the study: the baselines, then the grid, the last axis running fastest.

        Raises:
            InputError: a direction is none.
        """
        baselines = [{"direction": item} if isinstance(item, str) else dict(item) for item in self.baselines]
        grid = [point for point in self._product() if self.reason_to_drop(point) is None] if self.axes else []
        points = [{**self.fixed, **point} for point in (*baselines, *grid)]
        return [_with_direction_as_text(point) for point in points]

    def reason_to_drop(self, point: Point) -> str | None:
        """Why a point of the product is left out; None if it is not."""
        return next((drop.reason for drop in self.drop if drop.drops(point)), None)

    def trials(self, scale: Scale, seeds: int) -> list[Trial]:
        """One trial for each point that the scale can be asked and each seed, seeds 0 to `seeds` - 1."""
        return [
            Trial(point, seed, scale.training(point, seed, self.transfer_only))
            for point in self.points()
            if scale.unsupported(point) is None
            for seed in range(seeds)
        ]

    def dropped(self, scale: Scale) -> dict[str, int]:
        """How many points are left out, by reason: those the study drops, and those the scale cannot be asked."""
        reasons = [self.reason_to_drop(point) for point in self._product()] if self.drop else []
        reasons += [scale.unsupported(point) for point in self.points()]
        return dict(Counter(reason for reason in reasons if reason is not None))

    def _product(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*self.axes.values()):
            point: dict[str, Any] = {}
            for axis, value in zip(self.axes, values, strict=True):
                point |= {axis: value} if isinstance(axis, str) else dict(zip(axis, value, strict=True))
            yield _with_direction_as_text(point)


def _with_direction_as_text(point: dict[str, Any]) -> dict[str, Any]:
    """What tables, MLflow and `drop` are given, however the study's file spells a direction."""
    return {**point, "direction": str(Direction.parse(point["direction"]))} if "direction" in point else point
