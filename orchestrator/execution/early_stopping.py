"""Stops the poorer points of a search early: asynchronous successive halving (ASHA; Li et al., 2020), by Ray Tune.

Points compete only with those that use as many labelled images. Against all others, a point with few images would
always lose, and the cheap end of the Pareto front would be stopped away.
"""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from orchestrator.study import Search
from trainables.spec import TrainingSpec

TIME, METRIC = "epoch", "top1"


class HalvingByBudget:
    """One ASHA of Tune's for each number of training images."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._by_budget: dict[tuple[int, int], AsyncHyperBandScheduler] = {}
        self._added: set[str] = set()

    def stops(self, trial: Any, spec: TrainingSpec, epoch: int, top1: float) -> bool:
        """Whether a trial of Tune's is not among the best 1 / reduction at a rung.

        Args:
            trial: Tune's trial.
            spec: what it trains.
            epoch: from 1.
            top1: after that epoch, percent.
        """
        halving = self._halving(spec)
        if trial.trial_id not in self._added:
            self._added.add(trial.trial_id)
            halving.on_trial_add(None, trial)
        return bool(halving.on_trial_result(None, trial, {TIME: epoch, METRIC: top1}) == TrialScheduler.STOP)

    def _halving(self, spec: TrainingSpec) -> AsyncHyperBandScheduler:
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
