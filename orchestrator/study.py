"""Studies: one question each, as a grid of trials and how to show them. They live in `experiments/`, as scales do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datagen.core.errors import InputError, said_of
from datagen.core.identity import Allowed, shown
from datagen.core.settings import Setting, nearest, plain_name, take
from orchestrator.axes import Axes, Drop, Point, checked_axes, checked_point, names_of, product
from orchestrator.claims.checks import Claim
from orchestrator.claims.papers import checked_table, checked_variant
from orchestrator.scale import TRANSFER_ONLY, Scale
from orchestrator.search_space import Range, Search
from orchestrator.settings import DIRECTION, POINT
from trainables.direction import REAL, Direction
from trainables.spec import TrainingSpec

__all__ = ["Drop", "Figure", "Point", "Range", "Search", "Study", "Trial"]

KINDS = ("curves", "bars", "effects", "pareto")
VARIED = ("training", "images", "both")
DATASET_SEED = "dataset_seed"


@dataclass(frozen=True)
class Figure:
    """How a study is drawn.

    Attributes:
        kind: "curves" (top-1 against `axis`, whose values are numbers), "bars" (a group of bars for each value of
            `axis`), "effects" (a panel for each axis), or "pareto".
        axis: the axis from left to right; of "pareto" real_images.
        series: the axis whose values are told apart by colour.
        baselines: whether trainings from scratch on all images of a kind are drawn as lines across.
        logarithmic: whether the axis is drawn and fitted in log2, as data reductions are.

    Raises:
        InputError: there is no such kind, or an axis is no setting.
    """

    kind: str
    axis: str
    series: str = DIRECTION
    baselines: bool = True
    logarithmic: bool = False

    def __post_init__(self) -> None:
        with said_of("The figure"):
            take(self, _FIGURE)
            for name in ("axis", "series"):
                if (given := getattr(self, name)) != REAL_IMAGES:
                    object.__setattr__(self, name, POINT.named(given).key)
            if self.kind == "pareto" and self.axis != REAL_IMAGES:
                raise InputError(f"pareto is drawn over {REAL_IMAGES}, not over {self.axis}.")
            if self.kind != "pareto" and REAL_IMAGES in (self.axis, self.series):
                raise InputError(f"{REAL_IMAGES} is no axis; it is what pareto is drawn over.")
            if self.axis == self.series:
                raise InputError(f"axis and series are both {self.axis}. Choose another series.")
            if self.logarithmic and self.kind != "curves":
                raise InputError(f"logarithmic is for curves, not for {self.kind}.")


REAL_IMAGES = "real_images"
"""What a Pareto front is drawn over: a column of results, and no axis."""
_FIGURE = (
    Setting("kind", str, Allowed(choices=KINDS)),
    *(Setting("axis", str), Setting("series", str)),
    *(Setting("baselines", bool), Setting("logarithmic", bool)),
)


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
        tolerance: points of top-1 from which the report counts a cost.
        vary: what the seeds of a point are of: "training" on one set of images, "images" for one seed of the training,
            or "both". Seed 0 is the same training in each.

    Raises:
        InputError: a key is no setting, a value is not allowed, an axis has a value twice or none, the figure shows
            what is no axis, or the papers have no such table or variant.
    """

    name: str
    question: str
    figure: Figure
    baselines: Sequence[str | Direction | Point] = ()
    axes: Axes = field(default_factory=dict)
    drop: Sequence[Drop] = ()
    fixed: Point = field(default_factory=dict)
    published: str | None = None
    variants: Mapping[tuple[tuple[str, Any], ...], str] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    transfer_only: Sequence[str] = TRANSFER_ONLY
    search: Search | None = None
    tolerance: float = 1.0
    vary: str = "training"

    def __post_init__(self) -> None:
        with said_of(f"The study {self.name}" if isinstance(self.name, str) else "The study"):
            take(self, _STUDY)
            with said_of("axes"):
                self._keep("axes", checked_axes(self.axes))
            with said_of("fixed"):
                self._keep("fixed", POINT.checked(self.fixed))
            with said_of("baselines"):
                self._keep("baselines", [checked_point(point) for point in _listed(self.baselines)])
            with said_of("transfer_only"):
                self._keep("transfer_only", [POINT.named(name).key for name in _listed(self.transfer_only)])
            self._check_points()
            self._check_figure()
            self._check_papers()

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)

    def _check_points(self) -> None:
        if not (self.axes or self.baselines or self.search):
            raise InputError("It has neither axes nor baselines nor a search, so it asks nothing.")
        parts: list[dict[str, Any]] = [dict.fromkeys(self.axis_names)] if self.axes else []
        if any(DIRECTION not in {**self.fixed, **point} for point in (*self._baselines(), *parts)):
            raise InputError("Points have no direction. Make it an axis, or fix it: fixed={'direction': 'real'}.")
        if self.search is not None and "frozen_layers" not in {**self.fixed, **self.search.space}:
            raise InputError("The search transfers from synthetic to real images: put frozen_layers into its space.")
        self._keep("drop", _listed(self.drop))
        if any(not isinstance(drop, Drop) for drop in self.drop):
            raise InputError("drop is a list of Drop(reason, function).")
        if self.drop and self.axes and all(self.reason_to_drop(point) for point in self._product()):
            reasons = " and ".join(dict.fromkeys(drop.reason for drop in self.drop))
            raise InputError(f"All points of the grid are dropped: {reasons}. Give other values.")

    def _check_figure(self) -> None:
        varied = {*self.axis_names, *(self.search.space if self.search else ()), REAL_IMAGES}
        for name in (self.figure.axis, self.figure.series):
            if name not in {*varied, DIRECTION}:
                raise InputError(f"The figure shows {name}, which is no axis. {nearest(name, sorted(varied))}")
        if self.figure.kind == "curves":
            values = self._values_of(self.figure.axis)
            if any(not isinstance(value, int | float) or isinstance(value, bool) for value in values):
                raise InputError(f"Curves need numbers on their axis, which {self.figure.axis} has not. Draw bars.")
            if self.figure.logarithmic and min(values) <= 0:
                raise InputError(f"A logarithmic axis needs values above 0, and {self.figure.axis} has {min(values)}.")

    def _values_of(self, name: str) -> list[Any]:
        """The values of an axis, also of one of several that go together."""
        return [
            value if isinstance(axis, str) else value[axis.index(name)]
            for axis, values in self.axes.items()
            if name in names_of(axis)
            for value in values
        ]

    def _check_papers(self) -> None:
        checked_table(self.published)
        named: dict[tuple[tuple[str, Any], ...], str] = {}
        if not isinstance(self.variants, Mapping):
            raise InputError("variants is a dictionary such as {(('stylized', True),): 'stylized'}.")
        with said_of("variants"):
            for values, variant in self.variants.items():
                try:
                    given = dict(values)
                except (TypeError, ValueError):
                    raise InputError(f"{shown(values)} is no tuple of pairs of a setting and its value.") from None
                named[tuple(POINT.checked(given).items())] = variant
                if self.published is not None:
                    checked_variant(variant, self.published)
        self._keep("variants", named)
        self._keep("claims", _listed(self.claims))
        for claim in self.claims:
            if not isinstance(claim, Claim):
                raise InputError(f"claims are those of orchestrator.claims.kinds, not {shown(claim)}.")
            for variant in claim.variants_named():
                if variant and variant not in named.values():
                    known = sorted(map(str, named.values()))
                    raise InputError(f"A claim names the variant {variant!r}. {nearest(variant, known)}")

    @property
    def axis_names(self) -> tuple[str, ...]:
        """The names of all axes, those that go together one by one."""
        return tuple(name for axis in self.axes for name in names_of(axis))

    def points(self) -> list[dict[str, Any]]:
        """Every point of the study: the baselines, then the grid, the last axis running fastest."""
        grid = [point for point in self._product() if self.reason_to_drop(point) is None] if self.axes else []
        return [{**self.fixed, **point} for point in (*self._baselines(), *grid)]

    def reason_to_drop(self, point: Point) -> str | None:
        """Why a point of the product is left out; None if it is not."""
        return next((drop.reason for drop in self.drop if drop.drops_point(point)), None)

    def trials(self, scale: Scale, seeds: int) -> list[Trial]:
        """One trial for each point that the scale can be asked and each seed, seeds 0 to `seeds` - 1."""
        return [
            Trial(point, seed, self.training(scale, point, seed))
            for point in self.points()
            if scale.unsupported(point) is None
            for seed in range(seeds)
        ]

    def training(self, scale: Scale, point: Point, seed: int) -> TrainingSpec:
        """The training at a point for one of its seeds, which is of what `vary` says."""
        kinds = {Direction.parse(point[DIRECTION]).source, Direction.parse(point[DIRECTION]).target} - {None, REAL}
        if self.vary != "training" and seed and kinds and DATASET_SEED not in point:
            point = {**point, DATASET_SEED: seed}
        return scale.training(point, 0 if self.vary == "images" else seed, self.transfer_only)

    def dropped(self, scale: Scale) -> dict[str, int]:
        """How many points are left out, by reason: those the study drops, and those the scale cannot be asked."""
        reasons = [self.reason_to_drop(point) for point in self._product()] if self.drop else []
        reasons += [scale.unsupported(point) for point in self.points()]
        return dict(Counter(reason for reason in reasons if reason is not None))

    def _baselines(self) -> list[dict[str, Any]]:
        return [checked_point(point) for point in self.baselines]

    def _product(self) -> Iterator[dict[str, Any]]:
        return product(self.axes)


_STUDY = (
    Setting("name", str, meaning=plain_name),
    Setting("question", str),
    Setting("figure", Figure),
    Setting("published", str | None),
    Setting("search", Search | None),
    Setting("tolerance", float, Allowed(above=0, maximum=100)),
    Setting("vary", str, Allowed(choices=VARIED)),
)


def _listed(values: Any) -> list[Any]:
    """Several values, or none.

    Raises:
        InputError: it is one value alone.
    """
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise InputError(f"Give several in a tuple, as in (..., ), not {shown(values)}.")
    return list(values)
