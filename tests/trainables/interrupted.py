"""A cohort that is stopped after an epoch and goes on, beside its first member trained alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import Tensor

from trainables.checkpoint import CohortCheckpoint
from trainables.input.data import ImageSet
from trainables.loop import Trained, train_cohort
from trainables.report import EpochReport
from trainables.spec import TrainingSpec


def alone_and_resumed(
    members: Sequence[TrainingSpec], train: ImageSet, validation: ImageSet, source: dict[str, Tensor], folder: Path
) -> tuple[Trained, Trained]:
    """The first member as it trains alone, and as it ends in a cohort that was interrupted."""

    class Interrupted(Exception):
        pass

    def stop(report: EpochReport) -> None:
        raise Interrupted

    checkpoint = CohortCheckpoint(folder)
    with pytest.raises(Interrupted):
        train_cohort(members, train, validation, source, checkpoint=checkpoint, report=stop)
    resumed = train_cohort(members, train, validation, source, checkpoint=checkpoint)
    (alone,) = train_cohort(members[:1], train, validation, source)
    return alone, resumed[0]
