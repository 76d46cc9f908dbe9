"""Stops the poorer points of a search early: asynchronous successive halving (ASHA; Li et al., 2020), by Ray Tune.

Points compete only with those that use as many labelled images. Against all others, a point with few images would
always lose, and the cheap end of the Pareto front would be stopped away.
"""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from orchestrator.study import Search

TIME, METRIC = "epoch", "top1"
"""Keys of a report that the halving reads; only a single training reports them."""


class HalvingByBudget(FIFOScheduler):
    """A Tune scheduler: one ASHA for each number of training images; works that are not the search's pass untouched."""

    def __init__(self, search: Search, searched: set[str]) -> None:
        super().__init__()
        self._search, self._searched = search, searched
        self._by_budget: dict[tuple[int, int], AsyncHyperBandScheduler] = {}
        self.stopped: set[str] = set()
        """Ids of the trials that were stopped."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP for a trial that is not among the best 1 / reduction at a rung."""
        halving = self._halving(trial)
        if halving is None or METRIC not in result:
            return str(TrialScheduler.CONTINUE)
        if trial.trial_id not in halving._trial_info:
            halving.on_trial_add(tune_controller, trial)
        action = str(halving.on_trial_result(tune_controller, trial, result))
        if action == TrialScheduler.STOP:
            self.stopped.add(trial.trial_id)
        return action

    def _halving(self, trial: Any) -> AsyncHyperBandScheduler | None:
        work = trial.config.get("work")
        if work is None or len(work.members) != 1 or work.members[0].fingerprint not in self._searched:
            return None
        spec = work.members[0]
        budget = (spec.train_images, spec.epochs)
        if budget not in self._by_budget:
            self._by_budget[budget] = AsyncHyperBandScheduler(
                time_attr=TIME,
                metric=METRIC,
                mode="max",
                max_t=spec.epochs,
                grace_period=min(self._search.first_rung, spec.epochs),
                reduction_factor=self._search.reduction,
                stop_last_trials=False,
            )
        return self._by_budget[budget]
