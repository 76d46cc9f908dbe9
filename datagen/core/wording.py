"""Names and numbers in sentences for users."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

NAMED_AT_MOST = 5
"""How many things an error names before it only counts."""
LONGEST_REASON = 300


def listed(names: Iterable[str]) -> str:
    """The names, "a, b and c"-like: at most five, then how many more there are."""
    names = list(names)
    shown = ", ".join(names[:NAMED_AT_MOST])
    return shown if len(names) <= NAMED_AT_MOST else f"{shown} and {len(names) - NAMED_AT_MOST} more"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 folder", "2 folders"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def as_utf8(text: str) -> str:
    """A file's name as text that Parquet can hold: bytes that are not UTF-8 become a replacement mark.

    Letters are composed (NFC): macOS writes "é" as two characters where other systems write one.
    """
    return unicodedata.normalize("NFC", text.encode(errors="surrogateescape").decode(errors="replace"))


def first_line(error: BaseException) -> str:
    """What an exception says in its first line, or its type's name if it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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


def differences(found: Sequence[str], expected: Sequence[str]) -> str:
    """How names in their order differ from those expected, as "lacks a and has b beside", or in their order.

    Empty if they do not.
    """
    lacking = [name for name in expected if name not in set(found)]
    further = [name for name in found if name not in set(expected)]
    if lacking or further:
        parts = [f"lacks {listed(lacking)}"] * bool(lacking) + [f"has {listed(further)} beside"] * bool(further)
        return " and ".join(parts)
    for place, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            return f"has the same in another order: number {place} is {one}, where {other} is expected"
    return "" if len(found) == len(expected) else "has one twice"


def one_line(error: BaseException) -> str:
    """What an error says, in one line of at most 300 characters: the reason is often not in its first."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON].rstrip()} ..."
