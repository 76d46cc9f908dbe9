"""What runs, on the terminal: a line that changes, or, where there is no terminal, a line every few seconds."""

from __future__ import annotations

import sys
import threading
import time

SILENCE = 4.0
"""Seconds between lines where there is no terminal."""


class Display:
    """Shows on stderr what is being done; use as a context manager."""

    def __init__(self) -> None:
        self._now = self._line = ""
        self._terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._write("")

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def begin(self, now: str) -> None:
        """Says in a few words what is done from now on."""
        self._now, self._line = now, ""

    def say(self, line: str) -> None:
        """Takes up a line of what runs; the last one is shown."""
        self._line = line.strip() or self._line

    def result(self, text: str) -> None:
        """Shows a line that stays."""
        self._write("")
        print(text, file=sys.stderr, flush=True)

    def _tell(self) -> None:
        while not self._stop.wait(0.5 if self._terminal else SILENCE):
            minutes, seconds = divmod(round(self.seconds), 60)
            self._write(f"... {minutes}:{seconds:02d}  {self._now}  {self._line}"[:119])

    def _write(self, text: str) -> None:
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif text:
            print(text, file=sys.stderr, flush=True)
