"""`key=value` on the command line: typed, checked, and refused with the nearest key when unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError
from datagen.core.settings import Setting, Settings, split_assignment, unknown_key
from datagen.recipes.recipe import ImportedRecipe
from datagen.recipes.settings import PROMPT_STYLE
from orchestrator.axes import MOST_VALUES
from orchestrator.planning.same_trainings import refuse_idle_settings
from orchestrator.scale import Scale
from orchestrator.settings import CHOICES, DEFAULT_GENERATOR, DIRECTION, POINT, TRAINING
from orchestrator.study import Study
from trainables.input.mixing_pictures import digest_of

FOLDERS = {"images": "images", "pipeline": "generator", "synthetic": "synthetic"}
"""Keys that point a scale to where its real images, its generator's pipeline, or synthetic images that exist are."""
MIXING_PICTURES = "mixing_pictures"
EVALUATIONS = "evaluations"
"""Key of further sets that every training is evaluated on."""
MEASURES = "measures"
"""Key that says whether sets of synthetic images are measured."""
_ONLY_IN_FILES = {"mixing_folder", "own_sources", MIXING_PICTURES}
_FOLDER_SETTINGS = {
    **{key: Setting(key, Path) for key in (*FOLDERS, MIXING_PICTURES, EVALUATIONS)},
    MEASURES: Setting(MEASURES, bool),
}
OPTIONS = (
    *("seeds", "vary", "scale", "plan", "status", "logs", "only", "force", "fail_fast", "address", "dashboard"),
    *("gpus_per_worker", "cpus_per_worker", "store", "repair", "stall_minutes", "yes", "device"),
)
"""What the command takes as an option, and not as `key=value`."""


def settings() -> Settings:
    """Every setting that `key=value` may set."""
    return Settings({key: setting for key, setting in POINT.items() if key not in _ONLY_IN_FILES})


def apply_overrides(study: Study, scale: Scale, assignments: Sequence[str]) -> tuple[Study, Scale]:
    """The study and the scale with `key=value` assignments applied.

    A key that is an axis of the study takes one value or several ("frozen_layers=1,8,14..17"); any other takes one.
    Axes that go together keep the combinations that have one of the values. Of a search, `trials` is how many points it
    tries, and a setting of its space takes values like an axis. A key may be given by its former name.

    Raises:
        InputError: an assignment has no "=", an unknown key, or a value that is not allowed; or a setting changes
            nothing in any of the study's trainings.
    """
    known = settings()
    training: dict[str, Any] = {}
    generation: dict[str, Any] = {}
    fixed = dict(study.fixed)
    for assignment in assignments:
        key, text = split_assignment(assignment)
        if key in FOLDERS:
            scale = scale.with_folders(**{FOLDERS[key]: Path(text).absolute()})
            continue
        if key == EVALUATIONS:
            scale = replace(scale, evaluations=tuple(word.strip() for word in text.split(",") if word.strip()))
            continue
        if key == MEASURES:
            scale = replace(scale, measures=_FOLDER_SETTINGS[key].value(text))
            continue
        if key == MIXING_PICTURES:
            training |= _mixing_pictures(Path(text).absolute())
            continue
        if key == "trials" and study.search is not None:
            study = replace(study, search=replace(study.search, trials=_trials(text)))
            continue
        setting = _setting(key, text, known)
        key = setting.key
        if study.search is not None and key in study.search.space:
            space = {**study.search.space, key: _values(setting, text)}
            study = replace(study, search=replace(study.search, space=space))
        elif key in study.axis_names:
            study = replace(study, axes=_narrowed(study.axes, key, _values(setting, text)))
        elif key == DIRECTION:
            raise InputError(f"The study {study.name} has no axis direction; its axes: {', '.join(study.axis_names)}.")
        elif key in CHOICES:
            fixed[key] = setting.value(text)
        elif key in TRAINING:
            training[key] = setting.value(text)
        else:
            generation[key] = setting.value(text)
    chosen = {key: value for key, value in fixed.items() if key not in study.fixed or study.fixed[key] != value}
    study, scale = replace(study, fixed=fixed), scale.with_settings(generation, training)
    refuse_idle_settings(study, scale, {**training, **generation, **chosen})
    return study, scale


def varied(study: Study, scale: Scale, vary: str | None) -> Study:
    """The study with its seeds of what the user says: "training", "images" or "both"; None: as the study has it.

    Raises:
        InputError: images are to vary that exist already.
    """
    if vary is None or vary == study.vary:
        return study
    default = scale.generators[DEFAULT_GENERATOR]
    if isinstance(default, ImportedRecipe):
        raise InputError(f"The synthetic images in {default.folder} exist already and cannot vary. Leave --vary out.")
    return replace(study, vary=vary)


def _setting(key: str, text: str, known: Settings) -> Setting:
    if key in known or key not in (*OPTIONS, "seed", "trials"):
        try:
            return known.named(key)
        except InputError:
            raise unknown_key(key, Settings({**known, **_FOLDER_SETTINGS})) from None
    if key == "trials":
        raise InputError("Only a search has trials to choose, and this study is none. Leave trials out.")
    option = "seeds" if key == "seed" else key.replace("_", "-")
    raise InputError(f"{key} is no setting but an option: --{option} {text}".rstrip() + ".")


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


def _trials(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise InputError(f"trials must be from 1 to 999999, not {text!r}.")
    return int(text)


def _values(setting: Setting, text: str) -> list[Any]:
    """Several values: separated by commas, or by semicolons where a value may have a comma; a..b is a range."""
    values: list[Any] = []
    for item in text.split(";" if ";" in text or setting.key == PROMPT_STYLE.key else ","):
        span = re.fullmatch(r"\s*(\d{1,9})\.\.(\d{1,9})\s*", item)
        if not span:
            values.append(setting.value(item.strip()))
            continue
        numbers = range(int(span[1]), int(span[2]) + 1)
        if len(numbers) > MOST_VALUES:
            raise InputError(f"{setting.key}={item} has {len(numbers):,} values, more than {MOST_VALUES:,}.")
        values.extend(setting.value(str(number)) for number in numbers)
    if not values:
        raise InputError(f"{setting.key}={text} is empty. Give at least one value.")
    return list(dict.fromkeys(values))


def _mixing_pictures(folder: Path) -> dict[str, Any]:
    """A folder of pictures for pixmix: what it holds is the setting, where it is is not."""
    if not folder.is_dir():
        raise InputError(f"mixing_pictures: there is no folder {folder}.")
    return {MIXING_PICTURES: digest_of(folder), "mixing_folder": folder}
