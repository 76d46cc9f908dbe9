"""What commands print on: consoles that show what a user wrote as it was written, and streams that never fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from rich.console import Console

WIDTH = 140
"""Columns of tables where there is no terminal."""


def console_for_output() -> Console:
    """A console on standard output: as wide as its terminal; lines are not broken where there is none."""
    return plain_console() if sys.stdout.isatty() else plain_console(soft_wrap=True, width=WIDTH)


def console_for_errors() -> Console:
    """A console on standard error."""
    return plain_console(stderr=True, soft_wrap=True)


def plain_console(**options: Any) -> Console:
    """A console that reads neither markup ("runs [v2]") nor emoji (":cat:") into text: styles are given beside it."""
    return Console(markup=False, emoji=False, highlight=False, **options)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Within it printing never fails.

    What the terminal's encoding cannot show is a question mark there; a reader that leaves (`| head -1`) and a stream
    that is closed (`>&-`) miss the rest, and the work goes on.
    """
    _open_closed_streams()
    before = sys.stdout
    sys.stdout = cast(TextIO, _Lasting(before))
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = before


def _open_closed_streams() -> None:
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is the one that is missing: no file of ours may become a standard stream.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))


class _Lasting:
    """A text stream whose `write` and `flush` do nothing once nobody reads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
        if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            # Under UTF-8 a name that is no UTF-8 is passed on byte for byte.
            stream.reconfigure(errors="surrogateescape" if encoding == "utf8" else "replace")

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._nobody_reads()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._nobody_reads()

    def _nobody_reads(self) -> None:
        """Lets what is still buffered, here and at the end of the process, go nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
