"""Runs a plan on Ray: one Tune run keeps the whole cluster busy, handing out each work as soon as what it needs exists.

Tune is the executor, not the record: what is finished is what the store has published. There is no barrier between
generating, training bases and training cohorts.
"""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.search import Searcher

from datagen.errors import InputError
from orchestrator.messages import WorkFailed
from orchestrator.plan import Work
from orchestrator.store import Store
from orchestrator.worker import Resources, run_work

RETRIES = 2
"""How often a work is started again after its process died or raised; it goes on from its last epoch or shard."""


class Watcher(Protocol):
    """Is told what happens while a plan runs: the progress display and the MLflow tracker."""

    def work_started(self, work: Work) -> None:
        """A worker has taken up `work` (again, after a retry)."""

    def work_progressed(self, work: Work, progress: Any) -> None:
        """`work` has reported an `EpochReport` or `ImagesDrawn`."""

    def work_ended(self, work: Work, failure: str | None) -> None:
        """`work` is done, or has failed for the reason given."""


@dataclass
class Cluster:
    """A Ray cluster that this process has joined or started."""

    dashboard: str
    cpus: int
    gpus: int
    started_here: bool

    @property
    def slots(self) -> int:
        """How many one-worker trainings run at once."""
        return max(1, self.gpus or self.cpus)


@dataclass
class Outcome:
    """What became of a plan's work; `interrupted` if some was neither done nor failed."""

    done: list[Work] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def join_cluster(address: str | None) -> Cluster:
    """Joins the Ray cluster at `address`, or starts one on this machine. Call `ray_environment.prepare` before.

    Raises:
        InputError: there is no cluster at that address.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    if address not in (None, "auto"):
        _check_reachable(str(address))
    local = {} if address else {"include_dashboard": True}
    try:
        context = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"No Ray cluster can be reached at {address or 'this machine'}: {reason}") from error
    resources = ray.cluster_resources()
    dashboard = getattr(context, "dashboard_url", "") or ""
    return Cluster(
        dashboard=f"http://{dashboard}" if dashboard else "",
        cpus=int(resources.get("CPU", 1)),
        gpus=int(resources.get("GPU", 0)),
        started_here=address is None,
    )


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes, in silence, to reach a cluster that is not there."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise InputError(f"--address {address!r} is neither auto, host:port nor ray://host:port.")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise InputError(f"No Ray cluster can be reached at {address}: {error.strerror or error}.") from error


def run_plan(work: Sequence[Work], store: Store, cluster: Cluster, watchers: Sequence[Watcher]) -> Outcome:
    """Runs all `work`, each as soon as what it needs is there; what the longest chain hangs on goes first.

    Raises:
        InputError: a training asks for more workers than the cluster has room for.
    """
    if (most := max((item.workers for item in work), default=1)) > cluster.slots:
        kind = "GPUs" if cluster.gpus else "CPUs"
        raise InputError(f"workers={most} needs {most} {kind}, but the cluster has {cluster.slots}.")
    outcome = Outcome()
    resources = Resources(store.root, cluster.slots, 1.0 if cluster.gpus else 0.0)
    board = _Board(work, resources, cluster.slots, outcome, watchers)
    tuner = tune.Tuner(
        tune.with_resources(run_work, lambda config: _placement(config["work"], cluster)),
        tune_config=tune.TuneConfig(
            search_alg=_ReadyWork(board), num_samples=-1, reuse_actors=True, trial_dirname_creator=_short_name
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(store.root / "partial"),
            verbose=0,
            callbacks=[_Relay(board)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    tuner.fit()
    outcome.interrupted = len(outcome.done) + len(outcome.failed) < len(work)
    return outcome


def seconds_to_the_end(first: Work, work: Sequence[Work]) -> float:
    """The cost of a work and of the longest chain of works that wait for it.

    By this a base goes before the cohorts of another base: those can fill the cluster later, its own cannot yet start.
    """
    makes = {spec.fingerprint for spec in first.makes}
    followers = (seconds_to_the_end(item, work) for item in work if item.needs & makes)
    return first.seconds + max(followers, default=0.0)


class _Board:
    """Which works wait, run, are done or have failed."""

    def __init__(
        self, work: Sequence[Work], resources: Resources, slots: int, outcome: Outcome, watchers: Sequence[Watcher]
    ) -> None:
        self.waiting = sorted(work, key=lambda item: -seconds_to_the_end(item, work))
        self.slots = slots
        self.resources, self.outcome, self.watchers = resources, outcome, watchers
        self.running: dict[str, Work] = {}
        self._made: set[str] = set()
        self._lost: dict[str, str] = {}

    def next_ready(self, trial_id: str) -> Work | None:
        """Takes the first work whose needs are met."""
        for work in self.waiting:
            if work.needs <= self._made and self._has_room(work):
                self.waiting.remove(work)
                self.running[trial_id] = work
                return work
        return None

    def _has_room(self, work: Work) -> bool:
        """Whether the workers that `work` starts itself will fit; one that trains in Tune's process is Tune's care.

        Two distributed trainings that each hold a part of the cluster would wait for each other for ever.
        """
        if work.workers == 1:
            return True
        busy = sum(other.workers for other in self.running.values() if other.workers > 1)
        return busy + work.workers <= self.slots

    def done(self, trial_id: str) -> None:
        work = self.running.pop(trial_id, None)
        if work is not None:
            self._made |= {spec.fingerprint for spec in work.makes}
            self.outcome.done.append(work)
            self._tell_ended(work, None)

    def failed(self, trial_id: str, reason: str) -> None:
        work = self.running.pop(trial_id, None)
        if work is not None:
            self._give_up(work, reason)

    def _give_up(self, work: Work, reason: str) -> None:
        self.outcome.failed[work.title] = reason
        self._tell_ended(work, reason)
        lost = {spec.fingerprint for spec in work.makes}
        for dependent in [item for item in self.waiting if item.needs & lost]:
            if dependent in self.waiting:
                self.waiting.remove(dependent)
                self._give_up(dependent, f"It needs {work.title!r}, which failed.")

    def _tell_ended(self, work: Work, failure: str | None) -> None:
        for watcher in self.watchers:
            watcher.work_ended(work, failure)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Board:
        return self  # Tune copies what it is configured with; there is one board.

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Board, ((), self.resources, 1, Outcome(), ()))  # Tune writes its state to disk, which nobody reads.


class _ReadyWork(Searcher):
    """Hands Tune the next work that is ready; None makes Tune ask again later."""

    def __init__(self, board: _Board) -> None:
        super().__init__()
        self._board = board

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next Tune trial."""
        work = self._board.next_ready(trial_id)
        if work is not None:
            return {"work": work, "resources": self._board.resources}
        return None if self._board.waiting else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Frees the works that waited for this one."""
        if not error:
            self._board.done(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the record."""


class _Relay(tune.Callback):
    """Passes on what Tune's trials report."""

    def __init__(self, board: _Board) -> None:
        self._board = board

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tells the watchers."""
        if work := self._board.running.get(trial.trial_id):
            for watcher in self._board.watchers:
                watcher.work_started(work)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Tells the watchers, and notes a failure that the worker has understood."""
        work, progress = self._board.running.get(trial.trial_id), result.get("report")
        if work is None or progress is None:
            return
        if isinstance(progress, WorkFailed):
            self._board.failed(trial.trial_id, progress.reason)
            return
        for watcher in self._board.watchers:
            watcher.work_progressed(work, progress)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when the retries are used up."""
        error = trial.get_error()
        lines = str(error).strip().splitlines() if error else ["its process died"]
        self._board.failed(trial.trial_id, lines[-1])


def _placement(work: Work, cluster: Cluster) -> tune.PlacementGroupFactory:
    """A training takes a GPU and a share of the CPUs, or a CPU; a driver of other processes takes next to nothing."""
    if not work.members or work.workers > 1:
        # Tune refuses an empty request, and a fraction of a CPU could keep the actors it starts from fitting.
        return tune.PlacementGroupFactory([{"memory": 1024**2}])
    if cluster.gpus:
        return tune.PlacementGroupFactory([{"GPU": 1.0, "CPU": max(1.0, cluster.cpus // cluster.gpus / 2)}])
    return tune.PlacementGroupFactory([{"CPU": 1.0}])


def _short_name(trial: Any) -> str:
    name: str = trial.trial_id
    return name
