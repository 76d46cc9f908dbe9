"""`key=value` on the command line: typed, checked, and refused with the nearest key when unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError
from datagen.core.settings import Setting, parsed, settings_of, split_assignment, unknown_key
from datagen.datasets.spec import GeneratedDataset, OracleDataset
from datagen.recipes.prompt_styles import STYLES
from orchestrator.scale import STARTS, Scale
from orchestrator.study import Search, Study
from trainables.direction import Direction
from trainables.input.mixing_pictures import digest_of
from trainables.spec import TrainingSpec

_NOT_SETTINGS = {
    *("name", "label", "class_names", "prompts", "source", "method", "rate", "seed", "train", "validation"),
    *("pipeline", "pipeline_digest", "pipeline_folder", "adapter", "adapter_digest", "adapter_folder"),
    *("initial_weights", "initial_weights_file", "layers", "mixing_folder"),
}
"""Fields that a scale or the grid fills in."""

FOLDERS = {"images": "images", "pipeline": "generator"}
"""Keys that point a scale to where its real images or its generator's pipeline are."""


def settings() -> dict[str, Setting]:
    """Every setting by key: those of a training, then those of synthetic data sets."""
    return settings_of((OracleDataset, GeneratedDataset, TrainingSpec), without=_NOT_SETTINGS)


def apply_overrides(study: Study, scale: Scale, assignments: Sequence[str]) -> tuple[Study, Scale]:
    """The study and the scale with `key=value` assignments applied.

    A key that is an axis of the study takes one value or several ("frozen_layers=1,8,14..17"); any other takes one.
    Axes that go together keep the combinations that have one of the values. Of a search, `trials` is how many points it
    tries, and a setting of its space takes values like an axis.

    Raises:
        InputError: an assignment has no "=", an unknown key, or a value that is not allowed.
    """
    readers: dict[str, Callable[[str], Any]] = {**{key: s.value for key, s in settings().items()}, **CHOICES}
    training: dict[str, Any] = {}
    generation: dict[str, Any] = {}
    fixed = dict(study.fixed)
    for assignment in assignments:
        key, text = split_assignment(assignment)
        if key in FOLDERS:
            scale = scale.with_folders(**{FOLDERS[key]: Path(text).absolute()})
        elif key == "mixing_pictures":
            training |= _mixing_pictures(Path(text).absolute())
        elif study.search is not None and key in ("trials", *study.search.space):
            study = replace(study, search=_searched(study.search, key, text, readers))
        elif key not in readers:
            raise unknown_key(key, {*readers, *FOLDERS})
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


def _searched(search: Search, key: str, text: str, readers: Mapping[str, Callable[[str], Any]]) -> Search:
    """The search with another number of trials, or with only some values of a setting."""
    if key != "trials":
        return replace(search, space={**search.space, key: _values(key, text, readers[key])})
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise InputError(f"trials must be from 1 to 999999, not {text!r}.")
    return replace(search, trials=int(text))


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
    return str(Direction.parse(text))


def _mixing_pictures(folder: Path) -> dict[str, Any]:
    """A folder of pictures for pixmix: what it holds is the setting, where it is is not."""
    if not folder.is_dir():
        raise InputError(f"mixing_pictures: there is no folder {folder}.")
    return {"mixing_pictures": digest_of(folder), "mixing_folder": folder}


def _one_of(key: str, allowed: Mapping[str, Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in allowed:
            raise InputError(f"{key} must be one of {'; '.join(allowed)}, not {text!r}.")
        return allowed[text]

    return read


def _share(text: str) -> float:
    share = parsed(float, text)
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
