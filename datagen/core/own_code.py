"""A user's own function, class or object: `FILE.py:NAME` where it is named, `NAME@DIGEST` in a fingerprint.

The file's text travels with the spec, so that every process on every machine runs the same code; another text is
another artifact. What the file imports must be installed where it runs: files beside it do not travel. Files are run:
use only those you trust.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from datagen.core.errors import InputError
from datagen.core.identity import OWN_CODE
from datagen.core.settings import nearest

DIGITS = 16
"""Of the file's sha256 in a reference: enough to tell the files of one study apart, by 64 bits."""
_GIVEN = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
_TAKEN = re.compile(rf"(?P<name>[A-Za-z_]\w*)@(?P<digest>[0-9a-f]{{{DIGITS}}})")


def is_own(value: Any) -> bool:
    """Whether a setting's value names a user's own code."""
    return isinstance(value, str) and bool(OWN_CODE.fullmatch(value))


def name_of(value: str) -> str:
    """The name alone of what `value` refers to."""
    found = _GIVEN.fullmatch(value) or _TAKEN.fullmatch(value)
    return found["name"] if found else value


def taken(value: str, sources: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The reference `NAME@DIGEST` of own code, and the sources with its file's text among them.

    Args:
        value: `FILE.py:NAME`, or what this function has given before.
        sources: texts that the spec has already.

    Raises:
        InputError: there is no such file, it is no Python, or it defines nothing of that name.
    """
    found = _GIVEN.fullmatch(value)
    kept = {_digest(source): source for source in sources}
    if found is None:
        match = _TAKEN.fullmatch(value)
        if match is None or match["digest"] not in kept:
            raise InputError(f"The code of {value} is not at hand. Name it as FILE.py:NAME.")
        return value, tuple(kept.values())
    source = _text(Path(found["file"]))
    names = _names_in(source, found["file"])
    if found["name"] not in names:
        raise InputError(f"{found['file']} defines no {found['name']}. {nearest(found['name'], sorted(names))}")
    return f"{found['name']}@{_digest(source)}", tuple({**kept, _digest(source): source}.values())


def loaded(reference: str, sources: Iterable[str]) -> Any:
    """What `NAME@DIGEST` refers to, from the text among `sources`.

    Raises:
        InputError: the text cannot be run, for example because it imports what is not installed.
    """
    name, _, digest = reference.partition("@")
    return getattr(_module(digest, source_of(reference, sources)), name)


def source_of(reference: str, sources: Iterable[str]) -> str:
    """The text among `sources` of the file that `NAME@DIGEST` refers to."""
    return next(source for source in sources if _digest(source) == reference.partition("@")[2])


@functools.cache
def _module(digest: str, source: str) -> ModuleType:
    module = ModuleType(f"own_{digest}")
    sys.modules[module.__name__] = module  # Dataclasses look their module up by name.
    try:
        exec(compile(source, f"<own code {digest}>", "exec"), module.__dict__)
    except Exception as error:
        raise InputError(f"The own code {digest} cannot be run: {type(error).__name__}: {error}.") from error
    return module


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:DIGITS]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}. Give the path of a Python file.") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not in UTF-8. Save it as UTF-8.") from None


def _names_in(source: str, file: str) -> set[str]:
    """What a file defines at its top; it is read and not run, so that planning stays light."""
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(f"{file}, line {error.lineno}, is no Python: {error.msg}.") from None
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names |= {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in statement.names}
    return names
