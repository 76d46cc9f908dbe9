"""Studies: one question each, as a grid of trials and how to show them. They live in `experiments/`, as scales do."""

from __future__ import annotations

import difflib
import importlib
import itertools
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datagen.errors import InputError
from orchestrator.scale import Scale
from trainables.spec import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question: the trials that answer it and how to show them.

    Attributes:
        name: as given on the command line; the file's name.
        question: one sentence.
        baselines: kinds of data to train on from scratch; they are trials like the others.
        axes: values of each axis; their product is the grid. "direction" or any setting of `TrainingSpec`.
        figure: the axis drawn from left to right, one line for each direction.
        published: the table in the papers' results that this study repeats.
    """

    name: str
    question: str
    baselines: Sequence[str]
    axes: Mapping[str, Sequence[Any]]
    figure: str
    published: str | None = None

    def points(self) -> list[dict[str, Any]]:
        """Every point of the study: the baselines, then the grid, the last axis running fastest."""
        baselines: list[dict[str, Any]] = [{"direction": kind} for kind in self.baselines]
        grid = [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]
        return baselines + grid

    def trials(self, scale: Scale, seeds: int) -> list[TrainingSpec]:
        """One training for each point and seed, seeds 0 to `seeds` - 1."""
        return [scale.training(point, seed) for point in self.points() for seed in range(seeds)]


def study_names() -> list[str]:
    """The studies that ship, in alphabetical order."""
    return _modules("experiments")


def scale_names() -> list[str]:
    """The scales that ship, in alphabetical order."""
    return _modules("experiments.scales")


def load_study(name: str) -> Study:
    """The study of that name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    study: Study = _load("experiments", name, study_names(), "study", "STUDY")
    return study


def load_scale(name: str) -> Scale:
    """The scale of that name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    scale: Scale = _load("experiments.scales", name, scale_names(), "scale", "SCALE")
    return scale


def _modules(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.ispkg)


def _load(package: str, name: str, known: Sequence[str], kind: str, attribute: str) -> Any:
    if name not in known:
        raise InputError(f"There is no {kind} {name!r}. {nearest(name, known)}")
    return getattr(importlib.import_module(f"{package}.{name}"), attribute)


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the known name that is most like `name`, or else all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known)}."
