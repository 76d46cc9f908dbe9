"""Finds studies and scales: those that ship in `experiments/`, by name, and a user's own, by path."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from datagen.core.errors import InputError
from datagen.core.settings import nearest
from orchestrator.scale import Scale
from orchestrator.study import Study

DEFAULT_SCALE = "pocket"


def study_names() -> list[str]:
    """The studies that ship, in alphabetical order."""
    return _modules("experiments")


def scale_names() -> list[str]:
    """The scales that ship, in alphabetical order."""
    return _modules("experiments.scales")


def load(study: str, scale: str | None) -> tuple[Study, Scale]:
    """A study and the scale to ask it in.

    Args:
        study: the name of one that ships, or the path of a Python file that defines STUDY and perhaps SCALE.
        scale: likewise; None takes the study file's own SCALE, or pocket.

    Raises:
        InputError: there is none of that name (the message names the nearest), or the file does not define it.
    """
    module = _module("experiments", study, study_names(), "study")
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
    scale: Scale = _attribute(_module("experiments.scales", name, scale_names(), "scale"), "SCALE", name)
    return scale


def _modules(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.ispkg)


def _module(package: str, name: str, known: Sequence[str], kind: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        return _file(Path(name), kind)
    if name not in known:
        raise InputError(f"There is no {kind} {name!r}. {nearest(name, known)} Or give the path of a file.")
    return importlib.import_module(f"{package}.{name}")


def _file(path: Path, kind: str) -> ModuleType:
    if not path.is_file():
        raise InputError(
            f"There is no {kind} file {path}. Give its path, or a name: python -m orchestrator.sweep lists."
        )
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise InputError(f"{path} is not a Python file. A {kind} is one, ending in .py.")
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:
        line = getattr(error, "lineno", None) or _line_in(path, error)
        where = f", line {line}" if line else ""
        raise InputError(f"{path}{where} cannot be run: {type(error).__name__}: {error}") from error
    return module


def _line_in(path: Path, error: BaseException) -> int | None:
    """The last line of the file itself in an error's traceback."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1] if lines else None


def _attribute(module: ModuleType, attribute: str, name: str) -> Any:
    expected = {"STUDY": Study, "SCALE": Scale}[attribute]
    value = getattr(module, attribute, None)
    if not isinstance(value, expected):
        raise InputError(f"{name} must define {attribute}, a {expected.__name__} (see experiments/ for examples).")
    return value
