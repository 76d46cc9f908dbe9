"""Progress of an import: one live line on a terminal, else plain lines."""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.live import Live

HEARTBEAT_SECONDS = 5.0
"""Plain lines: something is said this often."""


class ImportProgress:
    """Shows files done, files a second and the time left: one live line on a terminal, else a line every 5 seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done, self._total, self._first = 0, 0, 0
        self._started = time.monotonic()
        self._live = Live(console=console, get_renderable=self.line, refresh_per_second=4, transient=True)
        self._stop = threading.Event()

    def __enter__(self) -> ImportProgress:
        if self._console.is_terminal:
            self._live.start()
        else:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, done: int, total: int) -> None:
        """Takes note of the files that are done."""
        if not self._total or done == self._first:  # Ray's start and shards of an earlier run are no measure of speed
            self._started, self._first = time.monotonic(), done
        self._done, self._total = done, total

    def line(self) -> str:
        """The line to show now."""
        if not self._total:
            return "looking for the files"
        rate = (self._done - self._first) / max(time.monotonic() - self._started, 1e-9)
        if not rate:
            return f"{self._done:,} of {self._total:,} images, workers are busy with the first shards"
        minutes, seconds = divmod(round((self._total - self._done) / rate), 60)
        return f"{self._done:,} of {self._total:,} images, {rate:,.0f} images/s, about {minutes}:{seconds:02d} left"

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._console.print(self.line(), highlight=False)
