"""Batches that a thread gets ready are the batches, in their order; no step on a GPU makes the host wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest
import torch

from trainables import loop
from trainables.distributed import DistributedContext
from trainables.input.data import BatchPart, ImageSet
from trainables.input.prefetch import Inputs, one_ahead
from trainables.loop import Cohort, Trained, train_cohort
from trainables.spec import TrainingSpec

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def inputs(number: int) -> Inputs:
    return Inputs(torch.tensor([number]), torch.tensor([0]), [])


def test_items_come_in_order_one_ahead_of_their_use() -> None:
    begun: list[int] = []
    second = threading.Event()

    def noted(number: int) -> Inputs:
        begun.append(number)
        if number == 1:
            second.set()
        return inputs(number)

    turns = one_ahead(noted, range(4), CPU)
    assert int(next(turns).positions) == 0
    assert second.wait(10)  # The second is computed while the first is in use.
    assert [int(one.positions) for one in turns] == [1, 2, 3]
    assert begun == [0, 1, 2, 3]
    assert list(one_ahead(noted, [], CPU)) == []


def test_an_error_is_raised_when_its_turn_comes_and_no_thread_stays() -> None:
    def fails(number: int) -> Inputs:
        if number == 1:
            raise ValueError("the second")
        return inputs(number)

    before = threading.active_count()
    turns = one_ahead(fails, range(3), CPU)
    assert int(next(turns).positions) == 0
    with pytest.raises(ValueError, match="the second"):
        next(turns)
    assert threading.active_count() == before


def endless() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def test_inputs_that_are_no_longer_wanted_end_the_thread() -> None:
    before = threading.active_count()
    turns = one_ahead(inputs, endless(), CPU)
    next(turns)
    turns.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "changes", [{"augmentation": "dino_multicrop", "local_size": 16, "local_crops": 1}, {"augmentation": "none"}]
)
def test_a_thread_that_works_ahead_changes_no_bit(
    changes: dict,
    base_spec: TrainingSpec,
    train_images: ImageSet,
    validation_images: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = replace(base_spec, **changes)
    source = Cohort([base], train_images, validation_images, None, DistributedContext(), {})
    members = [replace(base, source=base, frozen_layers=depth) for depth in (16, 17)]
    threads: list[str] = []
    inputs_of = Cohort._inputs

    def noted(self: Cohort, epoch: int, batch: BatchPart) -> Inputs:
        threads.append(threading.current_thread().name)
        return inputs_of(self, epoch, batch)

    monkeypatch.setattr(loop.Cohort, "_inputs", noted)

    def trained(prefetch: str) -> list[Trained]:
        threads.clear()
        specs = [replace(member, prefetch=prefetch) for member in members]
        return train_cohort(specs, train_images, validation_images, source.result(source.branches[0]).state)

    alone = trained("auto")
    assert set(threads) == {threading.current_thread().name}
    ahead = trained("on")
    assert all(name.startswith("prefetch") for name in threads)
    for one, other in zip(alone, ahead, strict=True):
        assert all(torch.equal(value, other.state[key]) for key, value in one.state.items())
        for mine, theirs in zip(one.history, other.history, strict=True):
            assert (mine["top1"], mine["train_loss"]) == (theirs["top1"], theirs["train_loss"])
            assert theirs["seconds_views"] == 0 < theirs["seconds_data"]


class Stream:
    """A stream of a GPU that notes what it is asked."""

    def __init__(self, notes: list[tuple[str, object]]) -> None:
        self._notes = notes

    def record_event(self) -> str:
        self._notes.append(("recorded", threading.current_thread().name[:8]))
        return "ready"

    def wait_event(self, event: str) -> None:
        self._notes.append(("waits for", event))


def test_on_a_gpu_the_step_waits_for_its_batch_and_keeps_its_memory_and_the_host_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes: list[tuple[str, object]] = []
    current, entered = Stream(notes), list[object]()

    def enter(stream: object) -> AbstractContextManager[None]:
        entered.append(stream)
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(notes))
    monkeypatch.setattr(torch.cuda, "stream", enter)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: notes.append(("kept for", stream)))

    def ready(number: int) -> Inputs:
        assert isinstance(entered[-1], Stream)
        return Inputs(torch.tensor([number]), torch.tensor([0]), [torch.ones(1)])

    (one,) = one_ahead(ready, [7], torch.device("cuda"))
    assert int(one.positions) == 7
    assert notes == [("recorded", "prefetch"), ("waits for", "ready"), ("kept for", current), ("kept for", current)]


@needs_gpu
def test_no_step_on_a_gpu_makes_the_host_wait(base_spec: TrainingSpec, train_images: ImageSet) -> None:
    cuda = torch.device("cuda")
    base = replace(base_spec, augmentation="dino_multicrop", local_size=16, local_crops=1, precision="bfloat16")
    members = [replace(base, source=base, frozen_layers=depth) for depth in (8, 17)]
    cohort = Cohort(members, train_images, train_images, None, DistributedContext(device=cuda), {})
    cohort.train_epoch(1)
    batch = cohort._inputs(2, BatchPart(torch.arange(16), torch.arange(16)))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for activations in [cohort._activations(batch)]:
            for branch in cohort.branches:
                cut = [group[branch.spec.frozen_layers] for group in activations]
                branch.step(cut, batch.labels, 0.1, cohort.timers)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_a_gpu_trains_the_same_with_batches_one_ahead(base_spec: TrainingSpec, train_images: ImageSet) -> None:
    losses = []
    for prefetch in ("on", "off"):
        spec = replace(base_spec, prefetch=prefetch)
        (result,) = train_cohort(
            [spec], train_images, train_images, context=DistributedContext(device=torch.device("cuda"))
        )
        losses.append([row["train_loss"] for row in result.history])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
