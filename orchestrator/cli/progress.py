"""Progress on the terminal: one live table, or plain lines where there is no terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.execution.messages import ImagesDrawn
from orchestrator.planning.plan import Task
from trainables.report import EpochReport

HEARTBEAT_SECONDS = 5.0
"""Plain lines: something is said at least this often."""


class Progress:
    """Shows the running works of a plan; use as a context manager and as a watcher of `run_plan`."""

    def __init__(self, task: Sequence[Task], console: Console) -> None:
        self._console = console
        self._share: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        # Sums over all tasks, kept up to date: with thousands of tasks to add them up for each line took longer than
        # the tasks.
        self._done, self._total, self._ended = 0.0, 0.0, 0
        self.tasks_added(task)
        self._status: dict[str, str] = {}
        self._started = time.monotonic()
        self._last_line = time.monotonic()
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=True)
        self._stop = threading.Event()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        else:
            threading.Thread(target=self._heartbeat, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        if self._console.is_terminal:
            self._live.stop()

    def tasks_added(self, tasks: Sequence[Task]) -> None:
        """Counts further works in."""
        for item in tasks:
            self._expect(item, 0.0)

    def task_stopped(self, task: Task, epoch: int) -> None:
        """Shows that a search stopped the task."""
        self._status.pop(task.title, None)
        self._reach(task.title, 1.0)
        self._line(f"{task.title}: stopped after epoch {epoch}, others with as many images do better")

    def task_started(self, task: Task) -> None:
        """Shows the work as starting."""
        self._status[task.title] = "starting"
        self._line(f"{task.title}: started")

    def task_progressed(self, task: Task, progress: Any) -> None:
        """Shows images drawn, or epoch and top-1."""
        if isinstance(progress, ImagesDrawn):
            share, text = progress.done / progress.total, f"{progress.done} of {progress.total} images"
        else:
            share, text = progress.epoch / progress.epochs, _epoch_text(progress)
        self._reach(task.title, share)
        self._status[task.title] = text
        self._line(f"{task.title}: {text}")

    def task_silent(self, task: Task, sentence: str) -> None:
        """Says that a task has not reported for long."""
        self._last_line = time.monotonic()
        self._console.print(f"{task.title}: {sentence}", style="yellow", soft_wrap=True)

    def task_retried(self, task: Task, reason: str, pause: float) -> None:
        """Says why a task starts again."""
        self._status.pop(task.title, None)
        text = Text.assemble((f"{task.title}: ", "yellow"), f"{reason}; it goes on in {pause:.0f} s.")
        self._console.print(text, soft_wrap=True)

    def task_split(self, task: Task, pieces: Sequence[Task], reason: str) -> None:
        """Says that a cohort was divided; its pieces go on from where it was."""
        self._status.pop(task.title, None)
        share = self._share.get(task.title, 0.0)
        self._forget(task.title)
        for piece in pieces:
            self._expect(piece, share)
        names = " and ".join(piece.title for piece in pieces)
        text = Text.assemble((f"{task.title}: ", "yellow"), f"{reason}; it goes on as {names}.")
        self._console.print(text, soft_wrap=True)

    def task_ended(self, task: Task, failure: str | None) -> None:
        """Shows the end of a task; a failure stays on the screen."""
        self._status.pop(task.title, None)
        self._reach(task.title, 1.0)
        if failure:
            self._console.print(Text.assemble((f"{task.title} failed: ", "red"), failure))
        else:
            self._line(f"{task.title}: done")

    def fraction(self) -> float:
        """The share of the estimated time that is done, 0..1."""
        return min(1.0, self._done / self._total) if self._total else 1.0

    def _expect(self, task: Task, share: float) -> None:
        """Counts a work in of which a share is done."""
        self._forget(task.title)
        self._share[task.title], self._seconds[task.title] = 0.0, max(task.seconds, 1e-9)
        self._total += self._seconds[task.title]
        self._reach(task.title, share)

    def _reach(self, title: str, share: float) -> None:
        """Notes how much of a task is done, 0..1."""
        if title in self._share:
            before, self._share[title] = self._share[title], share
            self._done += (share - before) * self._seconds[title]
            self._ended += (share == 1.0) - (before == 1.0)

    def _forget(self, title: str) -> None:
        """Counts a work out."""
        if title in self._share:
            self._reach(title, 0.0)
            self._total -= self._seconds.pop(title)
            del self._share[title]

    def _remaining(self) -> str:
        fraction, elapsed = self.fraction(), time.monotonic() - self._started
        if fraction < 0.03:
            return "time left unknown yet"
        return f"about {duration(elapsed * (1 - fraction) / fraction)} left"

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        if not self._console.is_terminal:
            stamp = duration(time.monotonic() - self._started)
            self._console.print(f"{stamp:>6} {self.fraction():4.0%}  {text}", soft_wrap=True)

    def _heartbeat(self) -> None:
        while not self._stop.wait(1.0):
            if time.monotonic() - self._last_line > HEARTBEAT_SECONDS:
                running = ", ".join(self._status) or "workers are starting"
                self._line(f"... {running} ({self._remaining()})")

    def _table(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("running", "progress"):
            table.add_column(heading, style="bold" if heading == "running" else "")
        for title, text in self._status.items():
            table.add_row(title, text)
        if not self._status:
            table.add_row("workers are starting", "")
        elapsed = duration(time.monotonic() - self._started)
        footer = Text(f"{self._ended} of {len(self._share)} tasks done, {elapsed} so far, {self._remaining()}")
        return Group(table, footer, ProgressBar(total=1.0, completed=self.fraction(), width=60))


def duration(seconds: float) -> str:
    """Seconds as "1:05", "2:03:10" or, from 100 hours on, "9 days"."""
    if seconds >= 360_000:
        return f"{seconds / 86_400:,.0f} days"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _epoch_text(report: EpochReport) -> str:
    top1 = [row["top1"] for row in report.trials.values()]
    shown = "no trial left"
    if top1:
        low, high = min(top1), max(top1)
        shown = f"top-1 {low:.1f}" if len(top1) == 1 else f"top-1 {low:.1f} to {high:.1f}"
    return f"epoch {report.epoch} of {report.epochs}, {shown}"
