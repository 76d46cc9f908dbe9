"""Where time goes: each moment counts once, to the part it was spent on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainables import timers
from trainables.checkpoint import CohortCheckpoint
from trainables.input.data import ImageSet
from trainables.loop import train_cohort
from trainables.report import EpochReport
from trainables.spec import TrainingSpec
from trainables.timers import PARTS, Timers


class Device:
    """A queue that passes marks when told to, as a GPU does; each mark takes one second."""

    def __init__(self) -> None:
        self.recorded = self.passed = 0

    def mark(self, **_: bool) -> DeviceMark:
        return DeviceMark(self)


class DeviceMark:
    def __init__(self, device: Device) -> None:
        self._device = device

    def record(self) -> None:
        self._device.recorded += 1
        self._at = self._device.recorded

    def query(self) -> bool:
        return self._at <= self._device.passed

    def synchronize(self) -> None:
        self._device.passed = max(self._device.passed, self._at)

    def elapsed_time(self, later: DeviceMark) -> float:
        assert later.query(), "read before it has passed"
        return (later._at - self._at) * 1000.0


def test_a_lap_counts_from_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 100.0, 104.0, 104.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    watch = Timers(torch.device("cpu"))
    watch.start()
    watch.lap("data")
    watch.lap("views")
    watch.start()
    watch.lap("data")
    watch.lap("step")
    assert watch.take() == {**dict.fromkeys(PARTS, 0.0), "data": 5.0, "views": 2.0, "step": 0.5}
    assert watch.take() == dict.fromkeys(PARTS, 0.0)


def test_a_gpu_is_waited_for_only_when_the_times_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    monkeypatch.setattr(torch.cuda, "Event", device.mark)
    watch = Timers(torch.device("cuda"))
    watch.start()
    for _ in range(timers.UNREAD_MARKS):
        watch.lap("forward")
        watch.lap("backward")
    assert device.passed == 0
    device.passed = device.recorded - 10
    watch.lap("step")
    assert device.passed < device.recorded
    taken = watch.take()
    assert (taken["forward"], taken["backward"], taken["step"]) == (timers.UNREAD_MARKS, timers.UNREAD_MARKS, 1)


def test_every_part_of_an_epoch_is_reported_and_shared_among_the_trials(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet, tmp_path: Path
) -> None:
    (base,) = train_cohort([base_spec], train_images, validation_images)
    members = [replace(base_spec, source=base_spec, frozen_layers=depth) for depth in (14, 17)]
    reports: list[EpochReport] = []
    results = train_cohort(
        members,
        train_images,
        validation_images,
        base.state,
        checkpoint=CohortCheckpoint(tmp_path),
        report=reports.append,
    )
    for epoch, report in enumerate(reports):
        assert tuple(report.timings) == PARTS
        assert all(seconds > 0 for seconds in report.timings.values())
        rows = [result.history[epoch] for result in results]
        for part, seconds in report.timings.items():
            assert sum(row[f"seconds_{part}"] for row in rows) == pytest.approx(seconds)
        # What `seconds` covers ends with the evaluation.
        parts = sum(seconds for part, seconds in report.timings.items() if part != "checkpoint")
        assert sum(row["seconds"] for row in rows) == pytest.approx(parts, rel=0.05, abs=0.05)
