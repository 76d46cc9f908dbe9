"""Tables of settings: what a key means, what values it takes, and which key was meant where there is none.

A table is made from the fields of specs. Values come from Python files, as they are, or as the text of `key=value`.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any

from datagen.core.errors import InputError
from datagen.core.identity import Allowed, Spec, field_types, fitted, shown

ANYTHING = Allowed()


@dataclass(frozen=True)
class Setting:
    """A key that can be set.

    Attributes:
        key: its name.
        declared: the type of its values.
        allowed: which of them.
        help: what it is, a phrase.
        formerly: a name that it had, which files and commands may still use.
        also: what some call it: suggested, not accepted.
        meaning: turns a value that is allowed into what it stands for, or refuses it; None: it stands for itself.
    """

    key: str
    declared: Any
    allowed: Allowed = ANYTHING
    help: str = ""
    formerly: str = ""
    also: tuple[str, ...] = ()
    meaning: Callable[[Any], Any] | None = None

    @classmethod
    def of_field(cls, spec_class: type[Spec], spec_field: Field[Any]) -> Setting:
        """The setting that sets a field of a spec."""
        told = spec_field.metadata
        declared = field_types(spec_class)[spec_field.name]
        return cls(spec_field.name, declared, told["allowed"], told["help"], told["formerly"])

    def checked(self, value: Any) -> Any:
        """`value` in the declared type.

        Raises:
            InputError: it does not fit, or is out of range.
        """
        value = fitted(self.key, self.declared, self.allowed, value)
        return value if self.meaning is None else self.meaning(value)

    def value(self, text: str) -> Any:
        """What `text` stands for; raises like `checked`."""
        return self.checked(parsed(self.declared, text))


class Settings(dict[str, Setting]):
    """A table of settings by key."""

    def named(self, key: Any) -> Setting:
        """The setting of that name, or that had it formerly.

        Raises:
            InputError: there is none; the sentence names the nearest.
        """
        if isinstance(key, str):
            if key in self:
                return self[key]
            for setting in self.values():
                if key == setting.formerly:
                    return setting
        raise unknown_key(key, self)

    def checked(self, values: Any) -> dict[str, Any]:
        """Values by key, each as its setting has it, under the name that the setting has now.

        Raises:
            InputError: it is no dictionary, a key is unknown or given twice, or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"Settings are a dictionary such as {{'epochs': 3}}, not {shown(values)}.")
        found: dict[str, Any] = {}
        for key, value in values.items():
            setting = self.named(key)
            if setting.key in found:
                raise InputError(f"{setting.key} is given twice, also as {setting.formerly}. Leave one out.")
            found[setting.key] = setting.checked(value)
        return found


def settings_of(spec_classes: Iterable[type[Spec]], without: Collection[str] = ()) -> Settings:
    """Every field of these classes by key, except those named; of two with one key the later class's."""
    return Settings({f.name: Setting.of_field(c, f) for c in spec_classes for f in fields(c) if f.name not in without})


def take(thing: Any, settings: Iterable[Setting]) -> None:
    """Checks attributes of a frozen dataclass, each by the setting of its name, and keeps them in their types.

    Raises:
        InputError: a value is not allowed.
    """
    for setting in settings:
        object.__setattr__(thing, setting.key, setting.checked(getattr(thing, setting.key)))


def plain_name(text: str) -> str:
    """A name that can stand in files, addresses and records: its letters composed, so that it is always one name.

    Raises:
        InputError: it has anything but letters, digits, "_", "-" and ".".
    """
    name = unicodedata.normalize("NFC", text)
    if re.fullmatch(r"[^\W_][\w.-]{0,99}", name):
        return name
    raise InputError(
        f"A name is of letters, digits, '_', '-' and '.', begins with a letter or digit and has at most 100 of them; "
        f"{shown(text)} is none."
    )


def split_assignment(assignment: str) -> tuple[str, str]:
    """Key and text of "key=text".

    Raises:
        InputError: there is no "=".
    """
    key, equals, text = assignment.partition("=")
    if not equals:
        raise InputError(f"{assignment!r} is not of the form key=value.")
    return key, text


def unknown_key(key: Any, known: Iterable[str]) -> InputError:
    """The error for a key that does not exist: names the nearest one, or all. `known` may be a table of `Settings`."""
    if isinstance(known, Settings) and (meant := [one.key for one in known.values() if key in one.also]):
        return InputError(f"There is no setting {key!r}. Did you mean {meant[0]!r}?")
    return InputError(f"There is no setting {shown(key)}. {nearest(str(key), sorted(known))}")


def nearest(name: str, known: Sequence[str]) -> str:
    """A sentence that names the known name most like `name`, or whose words it has the first letters of; or all."""
    initials = [one for one in known if "_" in one and "".join(word[:1] for word in one.split("_")) == name.lower()]
    close = [*initials, *difflib.get_close_matches(name, known, 1)]
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}."


def parsed(declared: Any, text: str) -> Any:
    """`text` as a bool, int or float where the declared type is one; a fraction may be written 1/8; texts as a;b;c.

    What does not fit is returned as it is, for the field's own check to refuse.
    """
    if declared == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(";") if part.strip())
    options = (
        typing.get_args(declared) if typing.get_origin(declared) in (types.UnionType, typing.Union) else (declared,)
    )
    if bool in options and text.lower() in ("true", "false", "yes", "no"):
        return text.lower() in ("true", "yes")
    if int in options and re.fullmatch(r"[+-]?\d{1,400}", text):
        return int(text)
    if float in options:
        numerator, slash, denominator = text.partition("/")
        try:
            return float(numerator) / float(denominator) if slash else float(text)
        except (ValueError, ZeroDivisionError):
            return text
    return text
