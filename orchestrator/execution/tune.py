"""Runs a plan on Ray: one Tune run keeps the whole cluster busy, handing out each work as soon as what it needs exists.

Tune is the executor, not the record: what is finished is what the store has published. There is no barrier between
generating, training bases and training cohorts. Tune never retries: the scheduler does, by cause.
"""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray.util
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from datagen.core.errors import ClusterLostError
from datagen.core.wording import file_safe
from orchestrator.execution.cluster import Cluster, Resources, join_cluster
from orchestrator.execution.early_stopping import HalvingByBudget
from orchestrator.execution.failures import describe
from orchestrator.execution.messages import FailureKind, TaskFailed, WorkersPlaced, WorkerStarted
from orchestrator.execution.scheduler import RETRY_PAUSES, Outcome, Scheduler, Watcher
from orchestrator.execution.waiting import longest_chains
from orchestrator.execution.watch import PATIENCE, Patience, watched
from orchestrator.execution.worker import mindgap_task
from orchestrator.planning.plan import Task
from orchestrator.planning.search import SearchRun
from orchestrator.storage.store import Store
from trainables.report import EpochReport

__all__ = ["Cluster", "Outcome", "Watcher", "join_cluster", "run_plan", "seconds_to_the_end"]


def run_plan(
    tasks: Sequence[Task],
    store: Store,
    cluster: Cluster,
    watchers: Sequence[Watcher],
    *,
    fail_fast: bool = False,
    pauses: Sequence[float] = RETRY_PAUSES,
    on_stop: Callable[[], None] = lambda: None,
    search: SearchRun | None = None,
    run: Callable[[dict[str, Any]], None] = mindgap_task,
    patience: Patience = PATIENCE,
) -> Outcome:
    """Runs all `tasks`, each as soon as what it needs is there; what the longest chain hangs on goes first.

    Ctrl-C (or SIGTERM) once lets what runs finish its epoch or shard; twice raises KeyboardInterrupt at once.

    Args:
        tasks: what to do.
        store: where the results go; every node must see it.
        cluster: where to run.
        watchers: are told what happens.
        fail_fast: whether the first failure ends the run, as the first Ctrl-C does.
        pauses: seconds before each retry of a lost task.
        on_stop: called at the first Ctrl-C.
        search: suggests further tasks, one by one, if the study is a search.
        run: does one task in a process of Ray's.
        patience: how long a silent task, or a cluster without a living machine, is waited for.

    Raises:
        InputError: a training asks for more workers than the cluster has room for.
        ClusterLostError: Ray has died, or its last machine.
    """
    for item in tasks:
        cluster.check_slots(item)
    scheduler = Scheduler(tasks, cluster.slots, watchers, fail_fast=fail_fast, pauses=pauses, search=search)
    resources = Resources(store.location, cluster.slots, cluster.worker_gpus, cluster.worker_cpus)
    # What Tune writes nobody reads: on a disk of this machine no full or absent store can stop it.
    scratch = tempfile.mkdtemp(prefix="mindgap-")
    tuner = tune.Tuner(
        tune.with_resources(run, lambda config: _placement(config["task"], cluster)),
        tune_config=tune.TuneConfig(
            search_alg=_ReadyTasks(scheduler, resources),
            scheduler=_StopAfterReport(scheduler, HalvingByBudget(search.search) if search else None),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_readable_name,
            trial_dirname_creator=_short_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=scratch,
            verbose=0,
            callbacks=[_Relay(scheduler)],
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        with _gentle_stop(scheduler, on_stop), watched(scheduler, store, patience):
            tuner.fit()
    except Exception as error:
        if scheduler.cluster_lost:  # Tune wraps what is raised within it.
            raise ClusterLostError(scheduler.cluster_lost) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    scheduler.outcome.interrupted = scheduler.left > 0
    return scheduler.outcome


def seconds_to_the_end(first: Task, tasks: Sequence[Task]) -> float:
    """The cost of a task and of the longest chain of tasks that wait for it."""
    return longest_chains([first, *tasks])[id(first)]


@contextmanager
def _gentle_stop(scheduler: Scheduler, on_stop: Callable[[], None]) -> Iterator[None]:
    """Makes the first SIGINT or SIGTERM stop the scheduler, and the second raise KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if scheduler.cluster_lost:
            raise ClusterLostError(scheduler.cluster_lost)
        if scheduler.stopping:
            raise KeyboardInterrupt
        scheduler.stop()
        # Not from here: what was interrupted may hold the terminal in the middle of a line.
        threading.Thread(target=on_stop, daemon=True).start()

    former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class _Shared:
    """Holds the scheduler. Tune copies and pickles what it is configured with; there is one board only."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __reduce__(self) -> Any:
        return (object, ())


class _ReadyTasks(_Shared, Searcher):
    """Hands Tune the next task that is ready; None makes Tune ask again later."""

    def __init__(self, scheduler: Scheduler, resources: Resources) -> None:
        super().__init__(scheduler)
        self._resources = resources

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next Tune trial."""
        if self._scheduler.cluster_lost:
            raise ClusterLostError(self._scheduler.cluster_lost)
        task = self._scheduler.next_ready(trial_id)
        if task is not None:
            return {"task": task, "resources": self._resources}
        return Searcher.FINISHED if self._scheduler.finished else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Frees the tasks that waited for this one."""
        if not error:
            self._scheduler.done(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the record."""


class _StopAfterReport(_Shared, FIFOScheduler):
    """Stops each trial at its next report once the scheduler stops: an epoch's checkpoint is written before its report.

    And stops the poorer points of a search.
    """

    def __init__(self, scheduler: Scheduler, halving: HalvingByBudget | None) -> None:
        super().__init__(scheduler)
        self._halving = halving
        self._new: deque[Any] = deque()
        self._pending: deque[Any] = deque()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Notes the order in which the scheduler gives works."""
        self._new.append(trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether the trial goes on."""
        progress = result.get("report")
        if progress is None:
            return TrialScheduler.CONTINUE
        last = getattr(progress, "epoch", 0) == getattr(progress, "epochs", 1)
        task = self._scheduler.running(trial.trial_id)
        if (
            self._halving
            and task
            and not last
            and isinstance(progress, EpochReport)
            and self._scheduler.is_searched(task)
        ):
            (spec,) = task.members
            top1 = progress.trials.get(spec.fingerprint, {}).get("top1")
            if top1 is not None and self._halving.stops(trial, spec, progress.epoch, top1):
                self._scheduler.progressed(trial.trial_id, progress)
                self._scheduler.stops_early(trial.trial_id, progress.epoch)
                return TrialScheduler.STOP
        if self._scheduler.stopping and not last and not isinstance(progress, TaskFailed) and not result.get("done"):
            if not isinstance(progress, WorkerStarted | WorkersPlaced):
                # Tune's callbacks come after this, when the scheduler knows nothing of the trial any more.
                self._scheduler.progressed(trial.trial_id, progress)
            self._scheduler.put_back(trial.trial_id)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The newest trial, else the one that waits longest. A stop takes those that wait back.

        To a trial that is chosen Tune gives a process that has just become free; had one been starting for it, that one
        is ended. So the newest goes first: with short tasks no second process would ever come up otherwise.
        """
        if self._scheduler.stopping:
            for trial in list(tune_controller.get_live_trials()):
                if trial.status == "PENDING":
                    self._scheduler.put_back(trial.trial_id)
                    tune_controller.stop_trial(trial)
        while self._new:
            self._pending.append(self._new.popleft())
            if self._pending[-1].status == "PENDING":
                return self._pending[-1]
        # Tune's own choice walks through all trials there ever were, at every step.
        while self._pending and self._pending[0].status != "PENDING":
            self._pending.popleft()
        return self._pending[0] if self._pending else None


class _Relay(_Shared, tune.Callback):
    """Passes on what Tune's trials report, and lets go of what ended ones hold: Tune keeps them all to the end."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self._taken: dict[str, Any] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tells the scheduler."""
        self._scheduler.started(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Tells the scheduler of progress, or of a failure that the worker has understood."""
        progress = result.get("report")
        if isinstance(progress, WorkerStarted):
            self._scheduler.placed(trial.trial_id, progress)
        elif isinstance(progress, WorkersPlaced):
            self._taken[trial.trial_id] = progress.group
        elif isinstance(progress, TaskFailed):
            self._free(trial)
            self._scheduler.failed(trial.trial_id, progress)
        elif progress is not None:
            self._scheduler.progressed(trial.trial_id, progress)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when the process died: whatever a task raises, its worker reports."""
        self._free(trial)
        error = trial.get_pickled_error()
        self._scheduler.failed(
            trial.trial_id, TaskFailed(FailureKind.LOST, describe(error) if error else "its process died")
        )
        _lighten(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The scheduler knows by now."""
        self._taken.pop(trial.trial_id, None)
        _lighten(trial)

    def _free(self, trial: Any) -> None:
        """Gives back the room of workers whose controller has died.

        Ray Train leaves that to an actor that asks the dashboard who lives: without one the room stays taken for ever,
        and the next attempt waits for it.
        """
        if group := self._taken.pop(trial.trial_id, None):
            ray.util.remove_placement_group(group)


def _lighten(trial: Any) -> None:
    """Frees what Tune keeps of an ended trial: its work twice, its last report and statistics of it, 20 kB in all."""
    trial.set_config({})
    trial.evaluated_params = {}
    told = trial.run_metadata
    told.metric_analysis.clear()
    told.metric_n_steps.clear()
    # Of a trial without any result of its own Tune prints a line.
    told.last_result = {key: value for key, value in trial.last_result.items() if key != "config"} | {"report": "told"}


def _placement(task: Task, cluster: Cluster) -> tune.PlacementGroupFactory:
    """A training takes a GPU and a share of the CPUs, or a CPU; a driver of other processes takes next to nothing."""
    if not task.computes or task.workers > 1:
        # Tune refuses an empty request, and a fraction of a CPU could keep the actors it starts from fitting.
        return tune.PlacementGroupFactory([{"memory": 1024**2}])
    gpu = {"GPU": cluster.worker_gpus} if cluster.gpus else {}
    return tune.PlacementGroupFactory([{**gpu, "CPU": cluster.worker_cpus}])


def _readable_name(trial: Any) -> str:
    return f"{file_safe(trial.config['task'].title)} {trial.trial_id}"


def _short_name(trial: Any) -> str:
    name: str = trial.trial_id
    return name
