"""Specs and their fingerprints: what an artifact *is*, apart from how and where it was made.

Every field of a spec is declared with `identity(...)` or `runtime(...)`. Only identity fields enter the fingerprint, so
two machines, or a default and the same value spelled out, name the same artifact.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from datagen.core.errors import InputError

OWN_CODE = re.compile(r".+\.py:[A-Za-z_]\w*|[A-Za-z_]\w*@[0-9a-f]{16}")
"""How a user's own code is named, see `datagen.core.own_code`."""


@dataclass(frozen=True)
class Allowed:
    """The values a field takes: bounds (inclusive unless `above` is used), or a list of choices.

    With `own`, beside the choices a user's own code, as `datagen.core.own_code` has it.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[Any, ...] = ()
    own: bool = False

    def sentence(self) -> str:
        """Says what is allowed, for an error message, for example "from 1 to 100"; empty if anything is."""
        if self.choices:
            words = [str(choice) for choice in self.choices]
            listed = "one of " + ("; " if any("," in word for word in words) else ", ").join(words)
            return f"{listed}, or your own as FILE.py:NAME" if self.own else listed
        low = f"above {self.above:g}" if self.above is not None else ""
        if self.minimum is not None:
            low = f"from {self.minimum:g}" if self.maximum is not None else f"at least {self.minimum:g}"
        high = "" if self.maximum is None else f"{'to' if self.minimum is not None else 'at most'} {self.maximum:g}"
        return (" and " if self.above is not None and high else " ").join(part for part in (low, high) if part)

    def accepts(self, value: Any) -> bool:
        """Whether `value` is allowed. A number that is not finite, or takes more than 8 bytes, never is."""
        if self.choices:
            return value in self.choices or (self.own and bool(OWN_CODE.fullmatch(str(value))))
        if _is_endless(value):
            return False
        return not (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.above is not None and value <= self.above)
        )


def identity(default: Any = MISSING, *, help: str = "", formerly: str = "", **allowed: Any) -> Any:
    """Declares a field that is part of what the artifact is. `allowed` are the arguments of `Allowed`.

    A field that was renamed says what it was called `formerly`: fingerprints still hold that name, and files and
    commands of users may use it.
    """
    return _declare("identity", default, help, allowed, formerly)


def runtime(default: Any = MISSING, *, help: str = "", **allowed: Any) -> Any:
    """Declares a field that says how or where to make the artifact, and leaves its result the same."""
    return _declare("runtime", default, help, allowed)


def _declare(role: str, default: Any, help: str, allowed: dict[str, Any], formerly: str = "") -> Any:
    metadata = {"role": role, "help": help, "allowed": Allowed(**allowed), "formerly": formerly}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of all specs: checks its fields' types and ranges, and has a fingerprint.

    Raises:
        InputError: a field has the wrong type or is out of its range; the message names the field and what is allowed.
    """

    VERSION: ClassVar[int] = 1
    """Raised when the code changes so that the same fields yield another artifact."""

    def __post_init__(self) -> None:
        for spec_field in fields(self):
            value = checked(type(self), spec_field, getattr(self, spec_field.name))
            object.__setattr__(self, spec_field.name, value)

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits: sha256 of the identity fields in canonical form."""
        return fingerprint_of(self.canonical())

    def canonical(self) -> dict[str, Any]:
        """The identity fields that are not at their default, as plain values; a nested spec stands as its fingerprint.

        So a field that is added later, with a default that says what was always done, leaves every fingerprint as it
        was. A default must not be changed without raising `VERSION`.
        """
        effective = self.effective()
        told: dict[str, Any] = {}
        for f in fields(self):
            value = effective.get(f.name, getattr(self, f.name))
            if f.metadata["role"] == "identity" and value != f.default:
                told[f.metadata["formerly"] or f.name] = _plain(value)
        return {"kind": type(self).__name__, "version": self.VERSION, **told}

    def effective(self) -> dict[str, Any]:
        """The values of identity fields whose effect depends on other fields, where they differ from what was given.

        A field without effect stands at its default, so that a value that changes nothing makes no other artifact.
        """
        return {name: getattr(type(self), name) for name in self.without_effect()}

    def without_effect(self) -> dict[str, str]:
        """The identity fields that change nothing beside the others, and why: a phrase that follows "where"."""
        return {}

    def described(self) -> dict[str, Any]:
        """The identity fields as plain values with nested specs spelled out: for a reader, and for sidecar files."""
        values: dict[str, Any] = {"kind": type(self).__name__}
        effective = self.effective()
        for f in fields(self):
            if f.metadata["role"] == "identity":
                value = effective.get(f.name, getattr(self, f.name))
                values[f.name] = value.described() if isinstance(value, Spec) else _plain(value)
        return values


def fingerprint_of(values: Any) -> str:
    """sha256 (64 hexadecimal digits) of plain values as JSON with sorted keys and no spaces."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def derived_seed(*parts: Any) -> int:
    """A seed in 0..2^63-1 drawn from `parts` by sha256: independent streams for independent purposes.

    The same parts give the same seed on every machine; changing any part gives an unrelated one.
    """
    return int(fingerprint_of([str(part) for part in parts])[:16], 16) >> 1


field_types: Callable[[Any], dict[str, Any]] = cache(typing.get_type_hints)
"""The resolved type of every field of a spec class."""


def checked(spec_class: type[Spec], spec_field: Field[Any], value: Any) -> Any:
    """Returns `value` in the field's declared type (an int given for a float becomes a float).

    Raises:
        InputError: the value has the wrong type or is out of range.
    """
    declared = field_types(spec_class)[spec_field.name]
    if "role" not in spec_field.metadata:
        raise TypeError(f"{spec_class.__name__}.{spec_field.name} is declared neither identity(...) nor runtime(...).")
    return fitted(spec_field.name, declared, spec_field.metadata["allowed"], value)


def fitted(name: str, declared: Any, allowed: Allowed, value: Any) -> Any:
    """Returns `value` as the type `declared`, if it can be and `allowed` accepts it; `name` is for the error.

    Raises:
        InputError: the value has the wrong type or is out of range.
    """
    fitting = _coerced(declared, value)
    if fitting is not MISSING and (fitting is None or allowed.accepts(fitting)):
        return fitting
    raise InputError(f"{name} must be {_expected(declared, allowed, fitting)}, not {shown(value)}.")


def _expected(declared: Any, allowed: Allowed, fitting: Any) -> str:
    """What a value should have been: its kind, if it is of another or not finite, and what is allowed."""
    if allowed.choices or (fitting is not MISSING and not _is_endless(fitting)):
        return allowed.sentence()
    kind = kind_of(declared)
    if fitting is not MISSING:
        kind = "a finite number" if isinstance(fitting, float) else "a whole number below 2^63"
    return ", ".join(part for part in (kind, allowed.sentence()) if part)


def _is_endless(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def shown(value: Any) -> str:
    """A value in an error: as Python writes it, the middle left out where that is long."""
    try:
        text = repr(value)
    except Exception:  # An integer of more than 4,300 digits, or a user's own class.
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN // 2]}...{text[-10:]}"


LONGEST_SHOWN = 100
"""Characters of a value in an error."""


def _coerced(declared: Any, value: Any) -> Any:
    """`value` as `declared`, or MISSING where it does not fit."""
    if type(value) is declared:
        return value
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (types.UnionType, typing.Union):
        fits = (_coerced(option, value) for option in arguments)
        return next((fit for fit in fits if fit is not MISSING), MISSING)
    if origin is tuple:
        if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
            return MISSING
        items = tuple(_coerced(arguments[0], item) for item in value)
        return MISSING if MISSING in items else items
    if isinstance(value, bool) and declared in (int, float):
        return MISSING
    if isinstance(value, declared):
        return float(value) if declared is float else value  # NumPy's are floats of another class.
    try:
        # Numbers of NumPy's and fractions, too.
        if declared is float and isinstance(value, numbers.Real):
            return float(value)
        if declared is int and isinstance(value, numbers.Integral):
            return int(value)
    except OverflowError:
        return MISSING
    return Path(value) if declared is Path and isinstance(value, str) else MISSING


KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}


def kind_of(declared: Any) -> str:
    """A declared type in words, for example "a whole number"."""
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (types.UnionType, typing.Union):
        return " or ".join("nothing" if option is type(None) else kind_of(option) for option in arguments)
    if origin is tuple:
        return f"several, each {kind_of(arguments[0])}"
    return KINDS.get(declared) or f"of type {getattr(declared, '__name__', declared)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.fingerprint
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
