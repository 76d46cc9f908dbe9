"""What a task's processes said, kept in the store for those that failed: `--logs TRIAL` prints it.

A log is written as the task goes, so that it survives a killed process, and removed when all of the task's trials end
well. Its first line says whose it is.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datagen.core.identity import fingerprint_of
from orchestrator.planning.plan import Task
from orchestrator.storage.store import Store, StoredLog


def log_name(task: Task) -> str:
    """The name of a task's log: the same for every attempt."""
    return fingerprint_of(sorted(spec.fingerprint for spec in task.makes))[:16]


class TaskLog:
    """The log of one task, one process: a text file in the store that several attempts append to."""

    def __init__(self, log: StoredLog) -> None:
        self._log = log

    def say(self, line: str) -> None:
        """Appends a line with the time. A log that cannot be written stops no training."""
        try:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        except (OSError, ValueError):
            pass

    def say_error(self, error: BaseException) -> None:
        """Appends an exception with its traceback."""
        self.say("".join(traceback.format_exception(error)).rstrip())


class _Handler(logging.Handler):
    def __init__(self, log: TaskLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.say(f"{record.levelname} {record.name}: {self.format(record)}")


@contextmanager
def task_log(store: Store, task: Task, rank: int = 0) -> Iterator[TaskLog]:
    """Opens the log of a work for this process; warnings, log records and crashes of the process go there too."""
    about = {"title": task.title, "fingerprints": [spec.fingerprint for spec in task.makes]}
    name = f"{log_name(task)}.{rank}"
    try:
        stored = store.open_log(name, json.dumps(about))
    except OSError:
        stored = StoredLog(open(os.devnull, "w", encoding="utf-8"))
    log = TaskLog(stored)
    handler, show = _Handler(log), warnings.showwarning
    logging.getLogger().addHandler(handler)
    warnings.showwarning = lambda message, category, *where, **more: log.say(f"{category.__name__}: {message}")
    faulthandler.enable(stored.file)
    log.say(f"started on {socket.gethostname()}, process {os.getpid()}: {task.title}")
    try:
        yield log
    finally:
        warnings.showwarning = show
        logging.getLogger().removeHandler(handler)
        faulthandler.enable(sys.__stderr__ or sys.stderr)
        stored.close()


def logs_of(store: Store, fingerprint: str) -> Iterator[tuple[str, str]]:
    """The logs that tell of an artifact, each with its title, the oldest first."""
    for header, text in store.logs():
        try:
            about: dict[str, Any] = json.loads(header)
        except ValueError:
            continue
        if fingerprint in about.get("fingerprints", ()):
            yield str(about.get("title", "")), text


def forget(store: Store, task: Task) -> None:
    """Removes a task's log."""
    store.remove_logs(log_name(task))
