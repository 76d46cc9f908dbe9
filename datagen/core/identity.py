"""Specs and their fingerprints: what an artifact *is*, apart from how and where it was made.

Every field of a spec is declared with `identity(...)` or `runtime(...)`. Only identity fields enter the fingerprint, so
two machines, or a default and the same value spelled out, name the same artifact.
"""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from datagen.core.errors import InputError


@dataclass(frozen=True)
class Allowed:
    """The values a field takes: bounds (inclusive unless `above` is used), or a list of choices."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[Any, ...] = ()

    def sentence(self) -> str:
        """Says what is allowed, for an error message, for example "from 1 to 100"; empty if anything is."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        low = f"above {self.above:g}" if self.above is not None else ""
        if self.minimum is not None:
            low = f"from {self.minimum:g}" if self.maximum is not None else f"at least {self.minimum:g}"
        high = "" if self.maximum is None else f"{'to' if self.minimum is not None else 'at most'} {self.maximum:g}"
        return (" and " if self.above is not None and high else " ").join(part for part in (low, high) if part)

    def accepts(self, value: Any) -> bool:
        """Whether `value` is allowed."""
        if self.choices:
            return value in self.choices
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
        """The values of identity fields whose effect depends on other fields, where they differ from what was given."""
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
    allowed: Allowed = spec_field.metadata["allowed"]
    fitting = _coerced(declared, value)
    if fitting is MISSING or not (fitting is None or allowed.accepts(fitting)):
        expected = allowed.sentence() or f"of type {_type_name(declared)}"
        raise InputError(f"{spec_field.name} must be {expected}, not {value!r}.")
    return fitting


def _coerced(declared: Any, value: Any) -> Any:
    """`value` as `declared`, or MISSING where it does not fit."""
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (types.UnionType, typing.Union):
        fits = (_coerced(option, value) for option in arguments)
        return next((fit for fit in fits if fit is not MISSING), MISSING)
    if origin is tuple:
        if not isinstance(value, Iterable) or isinstance(value, str):
            return MISSING
        items = tuple(_coerced(arguments[0], item) for item in value)
        return MISSING if MISSING in items else items
    if declared is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if declared is int and isinstance(value, bool):
        return MISSING
    if declared is Path and isinstance(value, str):
        return Path(value)
    return value if isinstance(value, declared) else MISSING


def _type_name(declared: Any) -> str:
    return getattr(declared, "__name__", str(declared))


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.fingerprint
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
