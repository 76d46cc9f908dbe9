"""Names and numbers in sentences for users."""

from __future__ import annotations

from collections.abc import Iterable

NAMED_AT_MOST = 5
"""How many things an error names before it only counts."""


def listed(names: Iterable[str]) -> str:
    """The names, "a, b and c"-like: at most five, then how many more there are."""
    names = list(names)
    shown = ", ".join(names[:NAMED_AT_MOST])
    return shown if len(names) <= NAMED_AT_MOST else f"{shown} and {len(names) - NAMED_AT_MOST} more"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 folder", "2 folders"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def as_utf8(text: str) -> str:
    """A file's name as text that Parquet can hold: bytes that are not UTF-8 become a replacement mark."""
    return text.encode(errors="surrogateescape").decode(errors="replace")
