"""`key=value` on the command line: typed, checked, and refused with the nearest key when unknown."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from datagen.errors import InputError
from datagen.identity import checked, field_types
from datagen.spec import GeneratedDataset
from orchestrator.scale import DIRECTIONS, PAPERS_NAMES, Scale
from orchestrator.study import Study, nearest
from trainables.spec import TrainingSpec

_NOT_SETTINGS = {
    *("name", "class_names", "pipeline", "pipeline_digest", "prompts", "pipeline_folder"),
    *("train", "validation", "source", "seed"),
}
"""Fields that a scale or the grid fills in."""


FOLDERS = ("images", "generator")
"""Keys that point a scale to where its real images or its generator are."""


@dataclass(frozen=True)
class Setting:
    """A key that can be set, and the spec class whose field it is."""

    key: str
    spec_class: type[GeneratedDataset] | type[TrainingSpec]

    def value(self, text: str) -> Any:
        """`text` as the field's type.

        Raises:
            InputError: it does not fit, or is out of range.
        """
        declared = field_types(self.spec_class)[self.key]
        spec_field = next(f for f in fields(self.spec_class) if f.name == self.key)
        return checked(self.spec_class, spec_field, _parsed(declared, text))


def settings() -> dict[str, Setting]:
    """Every setting by key: those of a generated data set, then those of a training."""
    classes: tuple[type[GeneratedDataset] | type[TrainingSpec], ...] = (GeneratedDataset, TrainingSpec)
    return {f.name: Setting(f.name, c) for c in classes for f in fields(c) if f.name not in _NOT_SETTINGS}


def apply_overrides(study: Study, scale: Scale, assignments: Sequence[str]) -> tuple[Study, Scale]:
    """The study and the scale with `key=value` assignments applied.

    A key that is an axis of the study takes one value or several ("frozen_layers=1,8,14..17"); any other takes one.

    Raises:
        InputError: an assignment has no "=", an unknown key, or a value that is not allowed.
    """
    known = settings()
    axes: dict[str, Sequence[Any]] = dict(study.axes)
    chosen: dict[type, dict[str, Any]] = {GeneratedDataset: {}, TrainingSpec: {}}
    folders: dict[str, Path] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"{assignment!r} is not of the form key=value.")
        if key in axes:
            axes[key] = _axis_values(key, text, known)
        elif key in FOLDERS:
            folders[key] = Path(text).absolute()
        elif key in known:
            chosen[known[key].spec_class][key] = known[key].value(text)
        else:
            raise InputError(f"There is no setting {key!r}. {nearest(key, sorted({*known, *axes, *FOLDERS}))}")
    changed = scale.with_settings(chosen[GeneratedDataset], chosen[TrainingSpec])
    return replace(study, axes=axes), replace(changed, **folders)  # type: ignore[arg-type]


def _axis_values(key: str, text: str, known: Mapping[str, Setting]) -> list[Any]:
    values: list[Any] = []
    for item in text.split(","):
        span = re.fullmatch(r"(\d+)\.\.(\d+)", item)
        if key == "direction":
            values.append(_direction(item))
        elif span:
            values.extend(known[key].value(str(number)) for number in range(int(span[1]), int(span[2]) + 1))
        else:
            values.append(known[key].value(item))
    if not values:
        raise InputError(f"{key}={text} is empty. Give at least one value.")
    return list(dict.fromkeys(values))


def _direction(text: str) -> str:
    direction = PAPERS_NAMES.get(text, text)
    if direction not in DIRECTIONS:
        allowed = ", ".join((*DIRECTIONS, *PAPERS_NAMES))
        raise InputError(
            f"direction must be one of {allowed}, not {text!r} (quote the arrow: 'direction=real->synthetic')."
        )
    return direction


def _parsed(declared: Any, text: str) -> Any:
    """`text` as an int or float where the declared type is one; a fraction may be written 1/8."""
    options = (
        typing.get_args(declared) if typing.get_origin(declared) in (types.UnionType, typing.Union) else (declared,)
    )
    if int in options and re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if float in options:
        numerator, slash, denominator = text.partition("/")
        try:
            return float(numerator) / float(denominator) if slash else float(text)
        except (ValueError, ZeroDivisionError):
            return text
    return text
