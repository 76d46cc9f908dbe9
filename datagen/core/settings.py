"""`key=value` on the command line: typed, checked, and refused with the nearest key when unknown."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from datagen.core.errors import InputError
from datagen.core.identity import Spec, checked, field_types


@dataclass(frozen=True)
class Setting:
    """A key that can be set, and the spec class whose field it is."""

    key: str
    spec_class: type[Spec]

    @property
    def help(self) -> str:
        """What the field's declaration says about it."""
        return str(next(f for f in fields(self.spec_class) if f.name == self.key).metadata["help"])

    def value(self, text: str) -> Any:
        """`text` as the field's type.

        Raises:
            InputError: it does not fit, or is out of range.
        """
        declared = field_types(self.spec_class)[self.key]
        spec_field = next(f for f in fields(self.spec_class) if f.name == self.key)
        return checked(self.spec_class, spec_field, parsed(declared, text))


def settings_of(spec_classes: Iterable[type[Spec]], without: Collection[str] = ()) -> dict[str, Setting]:
    """Every field of these classes by key, except those named; of two with one key the later class's."""
    return {f.name: Setting(f.name, c) for c in spec_classes for f in fields(c) if f.name not in without}


def split_assignment(assignment: str) -> tuple[str, str]:
    """Key and text of "key=text".

    Raises:
        InputError: there is no "=".
    """
    key, equals, text = assignment.partition("=")
    if not equals:
        raise InputError(f"{assignment!r} is not of the form key=value.")
    return key, text


def unknown_key(key: str, known: Iterable[str]) -> InputError:
    """The error for a key that does not exist: names the nearest one, or all."""
    return InputError(f"There is no setting {key!r}. {nearest(key, sorted(known))}")


def nearest(name: str, known: Sequence[str]) -> str:
    """A sentence that names the known name most like `name`, or all of them."""
    close = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}."


def parsed(declared: Any, text: str) -> Any:
    """`text` as a bool, int or float where the declared type is one; a fraction may be written 1/8.

    What does not fit is returned as it is, for the field's own check to refuse.
    """
    options = (
        typing.get_args(declared) if typing.get_origin(declared) in (types.UnionType, typing.Union) else (declared,)
    )
    if bool in options and text.lower() in ("true", "false", "yes", "no"):
        return text.lower() in ("true", "yes")
    if int in options and re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if float in options:
        numerator, slash, denominator = text.partition("/")
        try:
            return float(numerator) / float(denominator) if slash else float(text)
        except (ValueError, ZeroDivisionError):
            return text
    return text
