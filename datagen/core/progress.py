"""Progress over images: rich's bar on a terminal, else a plain line at least every 5 seconds."""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

HEARTBEAT_SECONDS = 5.0
"""Plain lines: something is said this often."""
SPEED_OVER = 600.0
"""Seconds over which the rate is taken: a shard of large images takes minutes."""


class ImageProgress:
    """Shows images done, images a second and the time left; use it as a context manager, or `start` and `stop` it."""

    def __init__(self, console: Console, starting: str = "starting", name: str = "") -> None:
        """Prepares the display.

        Args:
            console: where to show it.
            starting: what is said while the number of images is not known.
            name: what the lines begin with, if anything.
        """
        self._console, self._starting = console, starting
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _Line(self),
            console=console,
            transient=True,
            get_time=time.monotonic,
            speed_estimate_period=SPEED_OVER,
        )
        self._task = self._bar.add_task(name, total=None)
        self._name, self._note, self._first = f"{name}: " if name else "", "", 0
        self._stop = threading.Event()

    def start(self) -> None:
        """Begins to show it."""
        if self._console.is_terminal:
            self._bar.start()
        else:
            threading.Thread(target=self._beat, daemon=True).start()

    def stop(self) -> None:
        """Shows it no longer."""
        self._stop.set()
        if self._console.is_terminal:
            self._bar.stop()

    def __enter__(self) -> ImageProgress:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Takes note of the images that are done, of `total`; `note` ends the line."""
        self._note = note
        if self._bar.tasks[0].total is None:
            # What an earlier run made counts as done, and not as speed: Ray's start, which comes next, neither.
            self._bar.reset(self._task, total=total, completed=done)
            self._first = done
        else:
            self._bar.update(self._task, total=total, completed=done)

    def line(self) -> str:
        """The line to show now."""
        return f"{self._name}{self.text(self._bar.tasks[0])}"

    def text(self, task: Task) -> str:
        """What is known of the images, without the name."""
        if task.total is None:
            return self._starting
        known = f"{round(task.completed):,} of {round(task.total):,} images"
        if speed := task.speed or (task.completed - self._first) / max(task.elapsed or 0.0, 1e-9):
            minutes, seconds = divmod(round((task.total - task.completed) / speed), 60)
            known += f", {speed:,.{0 if speed >= 10 else 1}f} images/s, about {minutes}:{seconds:02d} left"
        elif task.completed < task.total:
            known += ", workers are busy with the first ones"
        return f"{known} {self._note}".rstrip()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._console.print(self.line())


class _Line(ProgressColumn):
    """What is known, right of the bar."""

    def __init__(self, progress: ImageProgress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        return Text(self._progress.text(task))
