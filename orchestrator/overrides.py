"""`key=value` on the command line: typed, checked, and refused with the nearest key when unknown."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from datagen.errors import InputError
from datagen.identity import checked, field_types
from datagen.prompts import STYLES
from datagen.spec import GeneratedDataset, OracleDataset
from orchestrator.catalog import nearest
from orchestrator.scale import DIRECTIONS, MIXED, PAPERS_NAMES, REAL, STARTS, SYNTHETIC, Scale
from orchestrator.study import Study
from trainables.spec import TrainingSpec

_NOT_SETTINGS = {
    *("name", "label", "class_names", "prompts", "source", "method", "seed", "train", "validation"),
    *("pipeline", "pipeline_digest", "pipeline_folder", "adapter", "adapter_digest", "adapter_folder"),
    *("initial_weights", "initial_weights_file", "layers"),
}
"""Fields that a scale or the grid fills in."""

FOLDERS = {"images": "images", "pipeline": "generator"}
"""Keys that point a scale to where its real images or its generator's pipeline are."""


@dataclass(frozen=True)
class Setting:
    """A key that can be set, and the spec class whose field it is."""

    key: str
    spec_class: type[GeneratedDataset] | type[OracleDataset] | type[TrainingSpec]

    def value(self, text: str) -> Any:
        """`text` as the field's type.

        Raises:
            InputError: it does not fit, or is out of range.
        """
        declared = field_types(self.spec_class)[self.key]
        spec_field = next(f for f in fields(self.spec_class) if f.name == self.key)
        return checked(self.spec_class, spec_field, _parsed(declared, text))


def settings() -> dict[str, Setting]:
    """Every setting by key: those of a training, then those of synthetic data sets."""
    classes: tuple[Any, ...] = (OracleDataset, GeneratedDataset, TrainingSpec)
    return {f.name: Setting(f.name, c) for c in classes for f in fields(c) if f.name not in _NOT_SETTINGS}


def apply_overrides(study: Study, scale: Scale, assignments: Sequence[str]) -> tuple[Study, Scale]:
    """The study and the scale with `key=value` assignments applied.

    A key that is an axis of the study takes one value or several ("frozen_layers=1,8,14..17"); any other takes one.
    Axes that go together keep the combinations that have one of the values.

    Raises:
        InputError: an assignment has no "=", an unknown key, or a value that is not allowed.
    """
    readers: dict[str, Callable[[str], Any]] = {**{key: s.value for key, s in settings().items()}, **CHOICES}
    training, generation, fixed = {}, {}, dict(study.fixed)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"{assignment!r} is not of the form key=value.")
        if key in FOLDERS:
            scale = scale.with_folders(**{FOLDERS[key]: Path(text).absolute()})
        elif key not in readers:
            raise InputError(f"There is no setting {key!r}. {nearest(key, sorted({*readers, *FOLDERS}))}")
        elif key in study.axis_names:
            study = replace(study, axes=_narrowed(study.axes, key, _values(key, text, readers[key])))
        elif key == "direction":
            raise InputError(f"The study {study.name} has no axis direction; its axes: {', '.join(study.axis_names)}.")
        elif key in CHOICES:
            fixed[key] = readers[key](text)
        elif key in _TRAINING:
            training[key] = readers[key](text)
        else:
            generation[key] = readers[key](text)
    return replace(study, fixed=fixed), scale.with_settings(generation, training)


def _narrowed(
    axes: Mapping[str | tuple[str, ...], Sequence[Any]], key: str, values: Sequence[Any]
) -> dict[str | tuple[str, ...], Sequence[Any]]:
    """The axes with other values of one; of axes that go together, the combinations that have one of the values."""
    changed = dict(axes)
    for axis, combinations in axes.items():
        if axis == key:
            changed[axis] = values
        elif not isinstance(axis, str) and key in axis:
            place = axis.index(key)
            kept = [combination for combination in combinations if combination[place] in values]
            if not kept:
                allowed = ", ".join(str(value) for value in dict.fromkeys(item[place] for item in combinations))
                raise InputError(f"{key} goes together with {', '.join(axis)} in this study: one of {allowed}.")
            changed[axis] = kept
    return changed


def _values(key: str, text: str, read: Callable[[str], Any]) -> list[Any]:
    """Several values: separated by commas, or by semicolons where a value may have a comma; a..b is a range."""
    values: list[Any] = []
    for item in text.split(";" if ";" in text or key == "prompt_style" else ","):
        span = re.fullmatch(r"(\d+)\.\.(\d+)", item)
        if span:
            values.extend(read(str(number)) for number in range(int(span[1]), int(span[2]) + 1))
        else:
            values.append(read(item.strip()))
    if not values:
        raise InputError(f"{key}={text} is empty. Give at least one value.")
    return list(dict.fromkeys(values))


def _direction(text: str) -> str:
    direction = PAPERS_NAMES.get(text, text)
    if not set(direction.split("->")) <= {REAL, SYNTHETIC, MIXED} or direction.count("->") > 1:
        allowed = ", ".join((*DIRECTIONS, *PAPERS_NAMES, REAL, SYNTHETIC, MIXED))
        raise InputError(
            f"direction must be one of {allowed}, not {text!r} (quote the arrow: 'direction=real->synthetic')."
        )
    return direction


def _one_of(key: str, allowed: Mapping[str, Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in allowed:
            raise InputError(f"{key} must be one of {'; '.join(allowed)}, not {text!r}.")
        return allowed[text]

    return read


def _share(text: str) -> float:
    share = _parsed(float, text)
    if not isinstance(share, float) or not 0 <= share <= 1:
        raise InputError(f"real_share must be from 0 to 1, not {text!r}.")
    return share


CHOICES: dict[str, Callable[[str], Any]] = {
    "direction": _direction,
    "generator": str,
    "stylized": _one_of("stylized", {"true": True, "false": False}),
    "real_share": _share,
    "start": _one_of("start", {start: start for start in STARTS}),
    "prompt_style": _one_of("prompt_style", {style: style for style in STYLES}),
}
"""Keys of a point that are no fields of a spec, and how their values are read."""

_TRAINING = {f.name for f in fields(TrainingSpec)}


def _parsed(declared: Any, text: str) -> Any:
    """`text` as an int or float where the declared type is one; a fraction may be written 1/8."""
    options = (
        typing.get_args(declared) if typing.get_origin(declared) in (types.UnionType, typing.Union) else (declared,)
    )
    if bool in options and text in ("true", "false"):
        return text == "true"
    if int in options and re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if float in options:
        numerator, slash, denominator = text.partition("/")
        try:
            return float(numerator) / float(denominator) if slash else float(text)
        except (ValueError, ZeroDivisionError):
            return text
    return text
