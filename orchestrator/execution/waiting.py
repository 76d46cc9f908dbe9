"""The tasks that wait, in the order in which they are to run."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field

from orchestrator.execution.messages import WorkerStarted
from orchestrator.planning.plan import Task


@dataclass(eq=False)
class Entry:
    """A task with what the scheduler knows of it.

    Attributes:
        task: what is to be done.
        priority: seconds of the longest chain of tasks that begins with it.
        losses: how often it was lost without progress.
        furthest: how far it came, epochs or images.
        not_before: when it may start again, by the monotonic clock.
        missing: what it needs and nobody has made yet.
        place: where it runs, once its process has said so.
        heard: when it was last heard of, by the monotonic clock.
        longest: the longest that it was silent between two reports of progress, seconds.
    """

    task: Task
    priority: float
    losses: int = 0
    furthest: float = 0.0
    not_before: float = 0.0
    missing: set[str] = field(default_factory=set)
    place: WorkerStarted | None = None
    heard: float = 0.0
    longest: float = 0.0


class Waiting:
    """The tasks that wait: those that lack something by what they lack, the others in order, by the room they take.

    With thousands of tasks a look at each, whenever Ray asks for one, is what costs most.
    """

    def __init__(self) -> None:
        self._blocked: dict[str, list[Entry]] = defaultdict(list)
        self._ready: dict[int, list[tuple[float, int, Entry]]] = defaultdict(list)
        self._paused: list[Entry] = []
        self._entries: dict[int, Entry] = {}
        self._juniors, self._seniors = itertools.count(), itertools.count(-1, -1)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry, made: Set[str], *, senior: bool = False) -> None:
        """Adds a task after those of its own priority, or, as their senior, before them."""
        self._entries[id(entry)] = entry
        entry.missing = set(entry.task.needs - made)
        for fingerprint in entry.missing:
            self._blocked[fingerprint].append(entry)
        if not entry.missing:
            self._line_up(entry, senior)

    def _line_up(self, entry: Entry, senior: bool) -> None:
        if entry.not_before > time.monotonic():
            self._paused.append(entry)
        else:
            place = next(self._seniors if senior else self._juniors)
            heapq.heappush(self._ready[slots_taken(entry.task)], (-entry.priority, place, entry))

    def take(self, has_room: Callable[[int], bool]) -> Entry | None:
        """Removes the first task that lacks nothing, is not paused and for which there is room; None if none is."""
        paused, self._paused = self._paused, []
        for entry in paused:
            self._line_up(entry, senior=True)
        lines = [line for room, line in self._ready.items() if line and has_room(room)]
        if not lines:
            return None
        _, _, entry = heapq.heappop(min(lines))
        del self._entries[id(entry)]
        return entry

    def made(self, fingerprints: Iterable[str]) -> None:
        """Lets those go on that have waited for these artifacts alone."""
        for fingerprint in fingerprints:
            for entry in self._blocked.pop(fingerprint, ()):
                entry.missing.discard(fingerprint)
                if not entry.missing and id(entry) in self._entries:
                    self._line_up(entry, senior=False)

    def give_up(self, fingerprints: Iterable[str]) -> list[Entry]:
        """Removes those that need one of these artifacts, which will never be."""
        lost = [entry for fingerprint in fingerprints for entry in self._blocked.pop(fingerprint, ())]
        return [entry for entry in lost if self._entries.pop(id(entry), None)]


def slots_taken(task: Task) -> int:
    """What a task takes: 0 for a data set, whose actors Ray Data cares for; 1 computing in Tune's process; or workers.

    Of elastic workers as many as it starts with.

    The latter are started by the task's own process, which itself takes nothing.
    """
    return task.fewest_workers if task.computes else 0


def longest_chains(tasks: Sequence[Task]) -> dict[int, float]:
    """Seconds to the end by `id` of the task: its own and those of the longest chain of tasks that wait for it.

    By this a base goes before the cohorts of another base: those can fill the cluster later, its own cannot yet start.
    """
    followers: dict[str, list[Task]] = defaultdict(list)
    for item in tasks:
        for needed in item.needs:
            followers[needed].append(item)
    chains: dict[int, float] = {}

    def chain(item: Task) -> float:
        if id(item) not in chains:
            after = {id(other): other for spec in item.makes for other in followers[spec.fingerprint]}
            chains[id(item)] = item.seconds + max((chain(other) for other in after.values()), default=0.0)
        return chains[id(item)]

    for item in tasks:
        chain(item)
    return chains
