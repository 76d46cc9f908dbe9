"""Faults that end something: the sweep, one of its processes, a node."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

from benchmarks.faults.processes import RayNodes, children, send, title
from benchmarks.faults.study import Row, Running
from benchmarks.faults.suite import Suite


def driver_killed(suite: Suite) -> Iterator[Row]:
    """The sweep is killed at random moments, again and again until its study is done; then a new study is begun."""
    killed, number, usual = 0, 0, suite.usual_seconds
    while killed < suite.kills:
        study, here = suite.study(f"killed{number}"), 0
        while killed < suite.kills:
            after = suite.moments.uniform(1.0, 0.75 * usual)
            attempt = study.run(lambda running, after=after: _kill(running, after))  # type: ignore[misc]
            if attempt.code == 0:
                break
            killed, here = killed + 1, here + 1
        if not here:
            usual = min(usual, study.attempts[-1].seconds)  # The machine has become faster.
        study.finish()
        yield suite.row("sweep killed (SIGKILL)", study, here)
        number += 1


def _kill(running: Running, after: float) -> None:
    send(running.process, after, signal.SIGKILL)


def worker_killed(suite: Suite) -> Iterator[Row]:
    """A process that trains is killed; the run itself goes on."""
    study, victims = suite.study("worker"), []
    epochs, pause = suite.some_epochs(), suite.moments.uniform(0.0, 0.5)

    def kill(running: Running) -> None:
        if running.wait_for_epochs(epochs):
            time.sleep(pause)
            workers = [child for child in children(running.process) if "ray::ImplicitFunc" in title(child)]
            for worker in workers[:1]:
                worker.kill()
                victims.append(worker.pid)

    study.run(kill)
    if not victims:
        study.wrong.append("there was nothing to kill")
    study.finish()
    yield suite.row("worker killed (SIGKILL)", study, len(victims))


def node_removed(suite: Suite) -> Iterator[Row]:
    """The node that does all the task is killed, and another one added; the run itself goes on."""
    epochs = suite.some_epochs()
    suite.display.begin("node, Ray's nodes start")
    with RayNodes(suite.root / "nodes") as nodes:
        first = nodes.add(2)
        study = suite.study("node", options=("--address", nodes.address), environment=nodes.environment)

        def replace(running: Running) -> None:
            if running.wait_for_epochs(epochs):
                nodes.remove(first)
                nodes.add(2)

        attempt = study.run(replace)
        if not attempt.said("goes on in"):
            study.wrong.append("no task was lost")
        study.finish()
        yield suite.row("node removed, another added", study)


def ctrl_c_once(suite: Suite) -> Iterator[Row]:
    """Ctrl-C, of which Ray's processes in the same terminal hear too."""
    yield _interrupted(suite, "Ctrl-C once", [0.0])


def ctrl_c_twice(suite: Suite) -> Iterator[Row]:
    """Ctrl-C, and again before the running epochs are done."""
    yield _interrupted(suite, "Ctrl-C twice", [0.0, 0.1])


def _interrupted(suite: Suite, fault: str, pauses: list[float]) -> Row:
    study, epochs = suite.study(fault.lower().replace(" ", "_")), suite.some_epochs()

    def interrupt(running: Running) -> None:
        if running.wait_for_epochs(epochs):
            for pause in pauses:
                send(running.process, pause, signal.SIGINT, group=True)

    if (code := study.run(interrupt).code) != 130:
        study.wrong.append(f"exit code {code} instead of 130")
    study.finish()
    return suite.row(fault, study)
