"""Runs the Python files that say what is asked: those in `experiments/`, by name, and users' own, by path.

A mistake in a file is one sentence with file and line. Files are run: use only those you trust.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import unicodedata
from pathlib import Path
from types import ModuleType

from datagen.core.errors import InputError
from datagen.core.settings import nearest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
"""The folder of what ships. It is named, not imported: it is above this package."""


def shipped_names(folder: str = "") -> list[str]:
    """The names of the files in `experiments/` or in a folder of it, in alphabetical order."""
    return sorted(path.stem for path in (EXPERIMENTS / folder).glob("[!_]*.py"))


def load_file(name: str, kind: str, folder: str = "") -> ModuleType:
    """The module of a file that ships, by name, or of a user's file, by path.

    Args:
        name: of a file in `folder`; or a path: with a "/", or ending in ".py".
        kind: what such a file defines, for errors: "study", "scale", "data set".
        folder: of `experiments/`.

    Raises:
        InputError: there is no such file, and the message names the nearest; or it cannot be run.
    """
    if name.endswith(".py") or "/" in name:
        return _run(Path(name), kind)
    if name not in (known := shipped_names(folder)):
        raise InputError(f"There is no {kind} {name!r}. {nearest(name, known)} Or give the path of a file.")
    try:
        _import_own_experiments()
        return importlib.import_module(".".join(part for part in ("experiments", folder, name) if part))
    except (Exception, SystemExit) as error:
        raise InputError(_what_went_wrong(EXPERIMENTS / folder / f"{name}.py", error)) from error


def _import_own_experiments() -> None:
    """Sees that `experiments` is the package that ships.

    `python -m` searches the working directory first, where a folder of that name may be anybody's.
    """
    present = sys.modules.get("experiments")
    if present is not None and [Path(path) for path in getattr(present, "__path__", ())] == [EXPERIMENTS]:
        return
    for name in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        del sys.modules[name]
    own = importlib.util.spec_from_file_location(
        "experiments", EXPERIMENTS / "__init__.py", submodule_search_locations=[str(EXPERIMENTS)]
    )
    assert own is not None and own.loader is not None
    sys.modules["experiments"] = module = importlib.util.module_from_spec(own)
    own.loader.exec_module(module)


def _run(path: Path, kind: str) -> ModuleType:
    file = _as_on_disk(path)
    if not file.is_file():
        raise InputError(f"There is no {kind} file {path}. Give the path of a Python file, or a name that is listed.")
    if file.suffix != ".py":
        raise InputError(f"{path} is not a Python file. A {kind} is one, ending in .py.")
    # Dataclasses look their module up by name. The name is the file's own, so that it hides no other module.
    module = ModuleType(f"file {file.absolute()}")
    module.__file__ = str(path)
    _import_own_experiments()
    try:
        # Compiled here and not by the import system, which would leave bytecode beside the user's file.
        code = compile(_source(file), str(path), "exec")
        sys.modules[module.__name__] = module
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        raise InputError(_what_went_wrong(path, error)) from error
    return module


def _as_on_disk(path: Path) -> Path:
    """The path with its letters composed or decomposed, whichever there is: systems write "é" in two ways."""
    spelled = [path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))]
    return next((one for one in spelled if one.is_file()), path)


def _source(file: Path) -> str:
    try:
        return importlib.util.decode_source(file.read_bytes())
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, SyntaxError):
        raise InputError("it is not in UTF-8. Save it as UTF-8.") from None


def _what_went_wrong(path: Path, error: BaseException) -> str:
    """One sentence with file and line, also where a file that the user's file imports is at fault."""
    if isinstance(error, SyntaxError):
        file, line = error.filename or str(path), error.lineno
        said = f"{type(error).__name__}: {error.msg}"
    else:
        near = path.absolute().parent
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename, near)]
        file, line = (frames[-1].filename, frames[-1].lineno) if frames else (str(path), None)
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    where = f"{file}, line {line}" if line else file
    said = " ".join(said.split())
    return f"{where}: {said}" if isinstance(error, InputError) else f"{where} cannot be run: {said}"


def _is_users(filename: str, near: Path) -> bool:
    """Whether code is of a file beside the user's, or below, and not of this project or of an installed package."""
    file = Path(filename).absolute()
    return file.is_relative_to(near) and "site-packages" not in file.parts and not _is_own(file)


def _is_own(file: Path) -> bool:
    return any(file.is_relative_to(EXPERIMENTS.parent / name) for name in ("datagen", "orchestrator", "trainables"))
