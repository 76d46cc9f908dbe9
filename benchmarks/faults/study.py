"""A small pocket study in a store of its own, given again and again until it ends well, and what became of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from benchmarks.faults.display import Display
from benchmarks.faults.processes import kill_with_children

STUDY = ("layer_importance", "epochs=4", "images_per_class=16", "steps=2", "frozen_layers=9,17")
REPORT = Path("studies/layer_importance/pocket")
TIMES = ("seconds",)
"""Columns of trials.csv that differ from run to run."""
GIVE_UP_SECONDS = 300
EPOCH = re.compile(r"%  (.+): epoch (\d+) of (\d+)")
STARTED = re.compile(r"%  (.+): started")
RETRIED = re.compile(r"(.+): .+; it goes on in \d+ s\.")


class Running:
    """A command that runs: its process, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def heard(self, line: str) -> None:
        """Takes a line up."""
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def wait_for_epochs(self, count: int) -> bool:
        """Waits until so many epochs are reported; False if the process ended before."""
        with self._changed:
            while sum(bool(EPOCH.search(line)) for line in self.lines) < count:
                if self.process.poll() is not None:
                    return False
                self._changed.wait(1.0)
        return True


@dataclass
class Attempt:
    """One run of the command: what it said and how it ended."""

    lines: Sequence[str]
    code: int
    seconds: float

    def said(self, text: str) -> bool:
        """Whether the text is in a line of the output."""
        return any(text in line for line in self.lines)

    @property
    def epochs(self) -> list[tuple[str, int]]:
        """(trial, epoch) of every epoch that was reported."""
        # A line that Ctrl-C interrupts can come out twice: the same with its time is the same epoch.
        found = [match.groups() for line in dict.fromkeys(self.lines) if (match := EPOCH.search(line))]
        return [(trial, int(epoch)) for task, epoch, _ in found for trial in trials_of(task)]

    @property
    def epochs_cut(self) -> int:
        """How many trainings were lost in the middle of an epoch: the run was stopped, or their process died."""
        running: set[str] = set()
        lost, stopping = 0, False
        for line in self.lines:
            if (match := STARTED.search(line)) and not match[1].endswith(" images"):
                running.add(match[1])
            elif match := EPOCH.search(line):
                if stopping or match[2] == match[3]:
                    running.discard(match[1])
            elif match := RETRIED.match(line):
                lost += match[1] in running
                running.discard(match[1])
            stopping = stopping or line.startswith("Stopping")
        return lost + (len(running) if self.code else 0)


@dataclass
class Row:
    """What a fault did.

    Attributes:
        fault: its name.
        injected: how often it happened.
        codes: the exit codes of the runs.
        trials_repeated: finished trials whose artifact was written again.
        epochs_repeated: epochs of a trial that were reported more than once.
        epochs_cut: works that were in an epoch when it happened, which is begun again.
        equal: whether all results are those of the undisturbed run.
        seconds: what all runs took.
        wrong: what else was not as promised.
        note: what else is to be known.
    """

    fault: str
    injected: int
    codes: list[int]
    trials_repeated: int
    epochs_repeated: int
    epochs_cut: int
    equal: bool
    seconds: float
    wrong: str = ""
    note: str = ""


@dataclass
class Study:
    """The small study in a store of its own, through as many runs as it takes."""

    name: str
    store: Path
    outputs: Path
    display: Display
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    attempts: list[Attempt] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _published: dict[str, int] = field(default_factory=dict)
    _repeated: int = 0

    def command(self) -> list[str]:
        """The command that is given again and again."""
        options = [*STUDY, "--store", str(self.store), *self.options]
        return [sys.executable, "-u", "-m", "orchestrator.sweep", *options]

    def run(
        self, disturb: Callable[[Running], None] = lambda running: None, command: Sequence[str] | None = None
    ) -> Attempt:
        """Runs the command (or another that does the same); `disturb` is called with what runs.

        A run that has not ended after `GIVE_UP_SECONDS` is killed with all its processes.
        """
        started = time.monotonic()
        self.display.begin(f"{self.name}, run {len(self.attempts) + 1}")
        process = subprocess.Popen(
            command or self.command(),
            env={**os.environ, **self.environment, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running = Running(process)
        reader = threading.Thread(target=self._read, args=(running,), daemon=True)
        reader.start()
        limit = threading.Timer(GIVE_UP_SECONDS, self._give_up, (process,))
        limit.start()
        try:
            disturb(running)
            code = process.wait()
        except BaseException:
            kill_with_children(process)
            raise
        finally:
            limit.cancel()
        reader.join(GIVE_UP_SECONDS)
        self.attempts.append(Attempt(running.lines, code, time.monotonic() - started))
        (self.outputs / f"{self.name}.{len(self.attempts)}.txt").write_text("\n".join(running.lines), encoding="utf-8")
        self._count_published()
        return self.attempts[-1]

    def _read(self, running: Running) -> None:
        assert running.process.stdout is not None
        for line in running.process.stdout:
            running.heard(line.rstrip())
            self.display.say(line)

    def _give_up(self, process: subprocess.Popen[str]) -> None:
        self.wrong.append(f"run {len(self.attempts) + 1} had not ended after {GIVE_UP_SECONDS} s")
        kill_with_children(process)

    def finish(self) -> Attempt:
        """Gives the command again until it ends well, three times at most."""
        for _ in range(3):
            if (self.attempts and self.attempts[-1].code == 0) or self.run().code == 0:
                break
        return self.attempts[-1]

    def _count_published(self) -> None:
        now = {path.parent.name: path.stat().st_mtime_ns for path in self.store.glob("models/*/_manifest.json")}
        self._repeated += sum(now.get(name) != written for name, written in self._published.items())
        self._published = now

    def results(self) -> bytes:
        """The study's table as it is, and that of its trials without times; empty if they are not there."""
        try:
            table = (self.store / REPORT / "table.csv").read_bytes()
            trials = pd.read_csv(self.store / REPORT / "trials.csv", dtype=str, keep_default_na=False)
        except OSError:
            return b""
        return table + trials.drop(columns=list(TIMES)).to_csv(index=False).encode()

    def row(self, fault: str, injected: int, expected: bytes, note: str = "") -> Row:
        """This study's row of the table."""
        epochs = Counter(epoch for attempt in self.attempts for epoch in attempt.epochs)
        by_trial = Counter[str]()
        for (trial, _), reported in epochs.items():
            by_trial[trial] += reported - 1
        if self.attempts[-1].code:
            self.wrong.append(f"it ended with exit code {self.attempts[-1].code}")
        if max(by_trial.values(), default=0) > injected:
            self.wrong.append(f"a trial repeated {max(by_trial.values())} epochs")
        equal = bool(expected) and self.results() == expected
        if not equal:
            self.wrong.append("the tables differ")
        if any(attempt.said("Traceback") for attempt in self.attempts):
            self.wrong.append("a traceback was shown")
        return Row(
            fault=fault,
            injected=injected,
            codes=[attempt.code for attempt in self.attempts],
            trials_repeated=self._repeated,
            epochs_repeated=by_trial.total(),
            epochs_cut=sum(attempt.epochs_cut for attempt in self.attempts),
            equal=equal,
            seconds=round(sum(attempt.seconds for attempt in self.attempts), 1),
            wrong="; ".join(self.wrong),
            note=note,
        )


def trials_of(task: str) -> Iterator[str]:
    """The titles of a task's trials: of "real->synthetic N=9,17 s0" two, of one N or of none itself."""
    found = re.search(r"N=([\d.,]+)", task)
    if found is None:
        yield task
        return
    for part in found[1].split(","):
        first, _, last = part.partition("..")
        for depth in range(int(first), int(last or first) + 1):
            yield task.replace(found[0], f"N={depth}")
