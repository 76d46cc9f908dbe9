"""What a training reports after each epoch. No torch here: the sweep process reads it without."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EpochReport:
    """What is known after an epoch (from 1 to `epochs`).

    `trials` has, for each trial's fingerprint, epoch, top1 and top5 (percent), train_loss, learning_rate, seconds (this
    trial's share of the epoch's time up to its evaluation) and that share by part: `seconds_data`, `seconds_views`, ...
    for each of `trainables.timers.PARTS`. A cohort's shares add up to `timings`: the seconds of the whole cohort by
    part, on the first worker. `failures` has the reason of each trial that has failed.
    """

    epoch: int
    epochs: int
    trials: dict[str, dict[str, float]]
    failures: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
