"""Watches a plan while it runs, from a thread: tasks that say nothing for long, and a cluster that is no more.

A silent task is told of, and after a limit its process is killed: the scheduler then starts it again, from its last
epoch, where there is room. A cluster without Ray's control store (GCS) or without a living machine ends the run with a
sentence: Ray itself would wait for ever, or end this process with words of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from datagen.core.errors import ClusterLostError
from orchestrator.execution.messages import WorkerStarted
from orchestrator.execution.scheduler import Scheduler, Silence
from orchestrator.storage.store import Store

LOOK_SECONDS = 1.0
FULL_STOP_SECONDS = 20.0
"""How long the main thread has to end by itself once the cluster is lost, before the process ends."""
USUAL_TIMES = 10.0
"""A task is only given up for silent after so many times the silence that is usual for it."""


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds.

    Attributes:
        notice: a task that has been silent for so long, and for three times what is usual for it, is told of, and again
            each time as much has passed.
        limit: after so long, and `USUAL_TIMES` what is usual, its process is killed; 0 never.
        cluster: how long a cluster may be without a living machine, or Ray's control store without an answer.
    """

    notice: float = 120.0
    limit: float = 1800.0
    cluster: float = 20.0


PATIENCE = Patience()


@contextlib.contextmanager
def watched(scheduler: Scheduler, store: Store, patience: Patience) -> Iterator[None]:
    """Watches the scheduler's tasks and the cluster until the block ends."""
    ended = threading.Event()
    watch = _Watch(scheduler, store, patience, ended)
    thread = threading.Thread(target=watch.run, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


class _Watch:
    def __init__(self, scheduler: Scheduler, store: Store, patience: Patience, ended: threading.Event) -> None:
        self._scheduler, self._store, self._patience, self._ended = scheduler, store, patience, ended
        self._told: dict[tuple[str, int], float] = {}
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        self._address = ray.get_runtime_context().gcs_address
        self._answered = self._living = time.monotonic()

    def run(self) -> None:
        # Asked in a thread of its own: without its control store Ray answers nothing for a minute.
        threading.Thread(target=self._count_machines, name="machines", daemon=True).start()
        while not self._ended.wait(LOOK_SECONDS):
            try:
                for silence in self._scheduler.silences():
                    self._look_at(silence)
                lost = self._lost()
            except Exception:
                logging.getLogger(__name__).debug("The watch could not look", exc_info=True)
                continue
            if lost:
                self._end(lost)
                return

    def _look_at(self, silence: Silence) -> None:
        key, patience = (silence.task.title, silence.place.pid), self._patience
        if silence.seconds < max(patience.notice, 3 * silence.usual):
            self._told.pop(key, None)
            return
        if patience.limit and silence.seconds > max(patience.limit, USUAL_TIMES * silence.usual):
            self._scheduler.tell_silence(silence.task, f"no progress for {_minutes(silence.seconds)}; it is ended")
            self._told.pop(key, None)
            _kill(silence.place)
        elif silence.seconds - self._told.get(key, 0.0) >= patience.notice:
            self._told[key] = silence.seconds
            self._scheduler.tell_silence(silence.task, self._sentence(silence))

    def _sentence(self, silence: Silence) -> str:
        said = self._store.last_line(silence.place.log)
        last = f"; last line of its log: {said}" if said else ""
        return f"no progress for {_minutes(silence.seconds)}: {silence.place}{last}"

    def _lost(self) -> str:
        """Why the cluster is lost, a sentence; "" while it is there."""
        now = time.monotonic()
        if self._answers():
            self._answered = now
        else:
            self._living = now  # Nobody knows.
        if now - self._answered > self._patience.cluster:
            return "Ray has died: its control store does not answer"
        if now - self._living > self._patience.cluster:
            return "The cluster has no living machine"
        return ""

    def _count_machines(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with contextlib.suppress(Exception):
                if any(node["Alive"] for node in ray.nodes()):
                    self._living = time.monotonic()

    def _answers(self) -> bool:
        """Whether the control store's port takes connections; asking Ray would block, and end this process."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            return False
        return True

    def _end(self, reason: str) -> None:
        self._scheduler.cluster_lost = reason  # Raised where Tune asks for the next task.
        if self._ended.wait(FULL_STOP_SECONDS / 4) or not self._in_main_thread:
            return
        os.kill(os.getpid(), signal.SIGINT)  # Its handler raises in the main thread.
        if not self._ended.wait(FULL_STOP_SECONDS):
            # Ray's own code holds the main thread.
            os.write(2, f"Error: {ClusterLostError(reason).sentence}\n".encode())
            os._exit(ClusterLostError.EXIT_CODE)


def _kill(place: WorkerStarted) -> None:
    """Ends a process, on whatever machine of the cluster it is."""
    node = NodeAffinitySchedulingStrategy(place.node, soft=False)
    if place.node == ray.get_runtime_context().get_node_id():
        with contextlib.suppress(ProcessLookupError):
            os.kill(place.pid, signal.SIGKILL)
    else:
        ray.remote(os.kill).options(num_cpus=0, scheduling_strategy=node).remote(place.pid, signal.SIGKILL)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
