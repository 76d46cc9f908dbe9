"""A thread that writes what has come, tries again what fails, and is never in the way of what goes on beside it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

import tenacity

from orchestrator.tracking.server import reason_of

WRITE_SECONDS = 1.0
"""What happens within that time is written together."""
RETRY_SECONDS = 60
"""How long a failing write is tried again before it is given up and counted."""


class Records(Protocol):
    """What is written to."""

    def open(self) -> None:
        """Makes it ready; raises what keeps it from being so."""

    def flush(self) -> list[str]:
        """Writes what has changed since; returns what was refused for good, a sentence each."""


class Background:
    """Does tasks in a thread, in their order.

    Args:
        records: opened first, and flushed after the tasks of about a second.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._queue: queue.Queue[Callable[[], Any] | None] = queue.Queue()
        self._closing = threading.Event()
        self._opened = self._unwritten = False
        self.down = False
        """Whether the last task failed."""
        self.lost: list[str] = []
        """What was given up, a reason each."""
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def do(self, task: Callable[[], Any]) -> None:
        """Has a task done."""
        self._queue.put(task)

    def close(self) -> None:
        """Waits until all is done, or given up."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    @property
    def pending(self) -> int:
        """How many tasks are still waiting, that of writing included."""
        return self._queue.qsize() + self._unwritten if self._thread.is_alive() else 0

    def _work(self) -> None:
        if reason := self._try(self._records.open):
            self.lost.append(reason)
            return  # Nothing further can be written.
        while self._take():
            self._try(self._flush)  # What cannot be written now stays for the next time.
            self._closing.wait(WRITE_SECONDS)
        if reason := self._try(self._flush):
            self.lost.append(reason)

    def _take(self) -> bool:
        """Waits for something to do and does all that has come; whether there may be more."""
        task = self._queue.get()
        while task is not None:
            self._unwritten = True
            if reason := self._try(task):
                self.lost.append(reason)
            try:
                task = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _flush(self) -> None:
        self.lost += self._records.flush()
        self._unwritten = False

    def _try(self, task: Callable[[], Any]) -> str:
        """Does a task, repeatedly for `RETRY_SECONDS` where it fails, and returns the last reason; "" if it is done.

        Once a task was given up, those that come after it are tried once each, until one goes through.
        """
        attempts = tenacity.Retrying(
            stop=tenacity.stop_after_delay(0 if self.down else RETRY_SECONDS),
            wait=tenacity.wait_exponential(max=10),
            reraise=True,
        )
        try:
            attempts(task)
        except Exception as error:
            self.down = True
            return reason_of(error)
        self.down = False
        return ""
