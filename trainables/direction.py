"""Which images the layers of a training have seen: "synthetic->real" for a transfer, "real" from scratch.

The one place where this text, which result tables and command lines show, is written and read.
"""

from __future__ import annotations

from dataclasses import dataclass

from datagen.core.errors import InputError

REAL, SYNTHETIC, MIXED, UNION = "real", "synthetic", "mixed", "union"
KINDS = (REAL, SYNTHETIC, MIXED, UNION)
ARROW = "->"


@dataclass(frozen=True)
class Direction:
    """The kinds of images that a base, and then the layers above its frozen ones, were trained on.

    Attributes:
        source: the base's kind; None for a training from scratch.
        target: the kind that the trained layers see.
    """

    source: str | None
    target: str

    def __str__(self) -> str:
        """As tables show it, and as `parse` reads it."""
        return self.target if self.source is None else f"{self.source}{ARROW}{self.target}"

    @classmethod
    def parse(cls, text: str | Direction) -> Direction:
        """Reads "real", "synthetic->real", or one of the papers' names, RDTL and SDTL.

        Raises:
            InputError: it is none of these, or a kind of images is not one of `KINDS`.
        """
        if isinstance(text, Direction):
            return text
        if text in PAPERS_NAMES:
            return PAPERS_NAMES[text]
        source, arrow, target = str(text).rpartition(ARROW)
        if target not in KINDS or (arrow and source not in KINDS):
            allowed = ", ".join(map(str, (*DIRECTIONS, *PAPERS_NAMES, *KINDS)))
            raise InputError(
                f"direction must be one of {allowed}, not {text!r} (quote the arrow: 'direction=real{ARROW}synthetic')."
            )
        return cls(source or None, target)


REAL_TO_SYNTHETIC, SYNTHETIC_TO_REAL = Direction(REAL, SYNTHETIC), Direction(SYNTHETIC, REAL)
DIRECTIONS = (REAL_TO_SYNTHETIC, SYNTHETIC_TO_REAL)
PAPERS_NAMES = {"RDTL": REAL_TO_SYNTHETIC, "SDTL": SYNTHETIC_TO_REAL}
"""The papers' names of the directions: real and synthetic data transfer learning."""
