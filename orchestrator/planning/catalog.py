"""Finds studies and scales: those that ship in `experiments/`, by name, and a user's own, by path."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from datagen.core.errors import InputError
from datagen.core.python_files import load_file, shipped_names
from orchestrator.scale import Scale
from orchestrator.study import Study

DEFAULT_SCALE = "pocket"


def study_names() -> list[str]:
    """The studies that ship, in alphabetical order."""
    return shipped_names()


def scale_names() -> list[str]:
    """The scales that ship, in alphabetical order."""
    return shipped_names("scales")


def load(study: str, scale: str | None) -> tuple[Study, Scale]:
    """A study and the scale to ask it in.

    Args:
        study: the name of one that ships, or the path of a Python file that defines STUDY and perhaps SCALE.
        scale: likewise; None takes the study file's own SCALE, or pocket.

    Raises:
        InputError: there is none of that name (the message names the nearest), or the file does not define it.
    """
    module = load_file(study, "study")
    chosen: Study = _attribute(module, "STUDY", study)
    if scale is None and hasattr(module, "SCALE"):
        own: Scale = _attribute(module, "SCALE", study)
        return chosen, own
    return chosen, load_scale(scale or DEFAULT_SCALE)


def load_study(name: str) -> Study:
    """The study of that name, or the STUDY of a file; raises like `load`."""
    return load(name, None)[0]


def load_scale(name: str) -> Scale:
    """The scale of that name, or the SCALE of a file; raises like `load`."""
    scale: Scale = _attribute(load_file(name, "scale", "scales"), "SCALE", name)
    return scale


def _attribute(module: ModuleType, attribute: str, name: str) -> Any:
    expected = {"STUDY": Study, "SCALE": Scale}[attribute]
    value = getattr(module, attribute, None)
    if not isinstance(value, expected):
        raise InputError(f"{name} must define {attribute}, a {expected.__name__} (see experiments/ for examples).")
    return value
