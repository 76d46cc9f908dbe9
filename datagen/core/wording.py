"""Names and numbers in sentences for users."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

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


def number_words(value: float) -> str:
    """A number as short as can be without being taken for another: 0.1, 2e-05, 16, 0.1234567."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def share_words(share: float) -> str:
    """A share of something, 0 to 1: as one over a whole number where it is just that, else as it is: 1/8, 0.75."""
    parts = round(1 / share) if share else 0
    return f"1/{parts}" if parts and 1 / parts == share else number_words(share)


def percent_words(share: float) -> str:
    """A share of something, 0 to 1, in percent, with all its digits: 25%, 12.5%."""
    percent = (Decimal(repr(float(share))) * 100).normalize()
    return f"{percent:f}%"


def file_safe(title: str) -> str:
    """A title with nothing that a file name, a label or a URL would not take; arrows are written out."""
    return re.sub(r"[^\w.=+,-]+", "_", title.replace("->", "-to-"))
