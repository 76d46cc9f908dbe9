"""A cohort that would not fit in a GPU's memory is divided before it starts, and trains what it would have trained."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from safetensors.torch import load_file

from orchestrator.execution import worker
from orchestrator.execution.cluster import Resources
from orchestrator.execution.cohort import train_and_publish
from orchestrator.execution.failures import parts_needed as pieces_told
from orchestrator.execution.failures import understand
from orchestrator.execution.messages import FailureKind, TaskFailed
from orchestrator.execution.scheduler import Scheduler
from orchestrator.planning.plan import Task
from orchestrator.storage.store import Store
from trainables.distributed import DistributedContext
from trainables.features import KEPT_LIMIT
from trainables.input.data import ImageSet
from trainables.loop import Trained, train_cohort
from trainables.memory import budget as memory
from trainables.memory.budget import HEADROOM, CohortTooLarge, Demand, Phase, available_bytes, parts_needed
from trainables.memory.probe import ensure_fits, measured_demand
from trainables.partition import branch_layers, partition
from trainables.spec import TrainingSpec
from trainables.trunk import Branch, layers_of

GIB = 2**30


class FakeMemory:
    """A device of which so much is available, and on which everything takes `step` bytes."""

    def __init__(self, available: int, step: int = 0) -> None:
        self._available, self._step = available, step

    def start(self) -> None: ...

    def peak(self) -> int:
        return self._step

    def available(self) -> int:
        return self._available


def members_at(base: TrainingSpec, depths: Any) -> list[TrainingSpec]:
    return [replace(base, source=base, frozen_layers=depth) for depth in depths]


def test_parts_train_about_as_many_layers(base_spec: TrainingSpec) -> None:
    every = members_at(base_spec, range(1, 18))
    for parts, sizes in ((1, [17]), (2, [5, 12]), (3, [3, 5, 9]), (17, [1] * 17), (40, [1] * 17)):
        assert [len(part) for part in partition(every, parts, branch_layers)] == sizes
        assert [spec for part in partition(every[::-1], parts, branch_layers) for spec in part] == every


def test_what_is_available_is_a_share_of_the_device_less_what_is_held() -> None:
    assert available_bytes(80, free=80, reserved=0, allocated=0, share=1.0) == 80
    assert available_bytes(80, free=30, reserved=40, allocated=10, share=1.0) == 60  # 10 are held by others.
    assert available_bytes(80, free=80, reserved=0, allocated=0, share=0.5) == 40
    assert available_bytes(80, free=20, reserved=0, allocated=0, share=0.5) == 20
    assert available_bytes(80, free=40, reserved=40, allocated=35, share=0.25) == 0


def test_cudas_meter_reads_the_peak_above_what_was_held_and_the_share_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = {"memory_allocated": 30, "memory_reserved": 40, "max_memory_allocated": 75}
    for name, value in held.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (50, 100))
    meter = memory.meter_of(torch.device("cuda"), 0.8)
    assert meter is not None
    meter.start()
    assert meter.peak() == 45
    assert meter.available() == 80 - 30
    assert memory.meter_of(torch.device("cpu")) is None


def demand(kept: int, branch: dict[int, int], evaluation: int = 0, features: int = 0) -> Demand:
    depths = range(1, 18)
    training = Phase(10, 30, dict.fromkeys(depths, 1), branch)
    other = Phase(0, evaluation, dict.fromkeys(depths, 2), {1: 0})
    trunk, keeps = {depth: depth for depth in depths}, dict.fromkeys(depths, kept)
    return Demand(trunk, keeps, dict.fromkeys(depths, features), (training, other))


def test_the_peak_is_what_lasts_and_the_most_that_is_held_on_top(base_spec: TrainingSpec) -> None:
    pair = members_at(base_spec, (4, 16))
    # Trunk up to 16, two branches, views, two activations, and the larger of the trunk's pass and a branch's step.
    assert demand(100, {1: 20}).peak(pair) == 16 + 200 + 10 + 2 + 30
    assert demand(100, {1: 50}).peak(pair) == 16 + 200 + 10 + 2 + 50
    assert demand(100, {1: 90, 3: 50, 9: 5}).peak(pair) == 16 + 200 + 10 + 2 + 50
    assert demand(100, {1: 20}, evaluation=70).peak(pair) == 16 + 200 + 4 + 70
    assert demand(100, {1: 20}, features=5).peak(pair) == 16 + 200 + 10 + 2 + 30 + 10
    assert demand(100, {1: 20}, features=KEPT_LIMIT).peak(pair) == 16 + 200 + 10 + 2 + 30  # They are not kept.


@pytest.mark.parametrize(("available", "pieces"), [(10_000, 1), (2_000, 1), (1_400, 2), (1_000, 3), (300, 15)])
def test_a_cohort_is_divided_into_as_few_pieces_as_fit(available: int, pieces: int, base_spec: TrainingSpec) -> None:
    every, need = members_at(base_spec, range(1, 18)), demand(100, {1: 50})
    room = int(available / HEADROOM)
    assert parts_needed(every, need, room) == pieces
    largest = max(need.peak(part) for part in partition(every, pieces, branch_layers) if len(part) > 1)
    assert largest <= available


def test_a_training_that_fits_nowhere_gets_a_piece_of_its_own(base_spec: TrainingSpec) -> None:
    every = members_at(base_spec, range(14, 18))
    parts = partition(every, parts_needed(every, demand(100, {1: 10**9, 15: 20}), 1000), branch_layers)
    assert [spec.frozen_layers for spec in parts[0]] == [14]
    assert parts_needed(every, demand(100, {1: 2**62}), 1000) == len(every)


def test_the_number_of_pieces_survives_processes_and_wrapping() -> None:
    error: Exception = pickle.loads(pickle.dumps(CohortTooLarge(3, "it would take 9.1 GiB")))
    try:
        raise RuntimeError("of Ray's") from error
    except RuntimeError as wrapped:
        assert understand(wrapped) == (FailureKind.MEMORY, "it would take 9.1 GiB", "")
        assert pieces_told(wrapped) == 3
    assert pieces_told(torch.OutOfMemoryError("CUDA out of memory")) == 2


def test_the_probe_counts_weights_and_momentum_exactly(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    members = members_at(replace(base_spec, augmentation="none"), (9, 17))
    found = measured_demand(members, [9], train_images, validation_images, DistributedContext(), FakeMemory(0, step=7))
    above = layers_of(members[0], first=9)
    parameters = sum(value.nbytes for value in above.parameters())
    buffers = sum(value.nbytes for value in above.buffers())
    assert found.kept[9] == 2 * parameters + buffers
    assert found.trunk[9] == sum(value.nbytes for value in layers_of(members[0], last=9).state_dict().values())
    training, evaluation = found.phases
    # Batches of 16, and all 21 validation images.
    assert (training.activations[9], evaluation.activations[9]) == (
        16 * 4 * values_after(9, members),
        21 * 4 * values_after(9, members),
    )
    assert training.branch == {9: 7}
    assert found.features[17] == 48 * 4 * values_after(17, members)


def values_after(cut: int, members: list[TrainingSpec]) -> int:
    """Of one image's activation."""
    layers = layers_of(members[0]).eval()
    return int(layers.after_layers(torch.zeros(1, 3, 32, 32), [cut])[cut].numel())


def test_a_cohort_that_fits_trains_the_same_bit_for_bit_after_the_probe(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, drawn = Branch.step, []

    def with_noise(self: Branch, groups: list[torch.Tensor], *arguments: Any) -> None:
        """As of a network with dropout, which draws from torch's own generator."""
        drawn.append(self.spec.frozen_layers)
        step(self, [group + 0.01 * torch.randn_like(group) for group in groups], *arguments)

    monkeypatch.setattr(Branch, "step", with_noise)
    members, source = members_at(base_spec, (16, 17)), layers_of(base_spec).timm_state()

    def trained(meter: FakeMemory | None) -> list[Trained]:
        torch.manual_seed(5)
        return train_cohort(members, train_images, validation_images, source, meter=meter)

    plain, steps = trained(None), len(drawn)
    probed = trained(FakeMemory(GIB))
    assert drawn[steps:] == [16, 16, *drawn[:steps]]  # The branch with the most layers, twice, and then all.
    for one, other in zip(plain, probed, strict=True):
        assert all(torch.equal(value, other.state[key]) for key, value in one.state.items())


def test_an_error_of_the_device_in_the_probe_is_a_training_that_does_not_fit(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Branch.step

    def limited(self: Branch, *arguments: Any) -> None:
        if self.spec.frozen_layers < 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        step(self, *arguments)

    monkeypatch.setattr(Branch, "step", limited)
    members = members_at(base_spec, (15, 16, 17))
    with pytest.raises(CohortTooLarge) as caught:
        ensure_fits(members, train_images, validation_images, DistributedContext(), FakeMemory(GIB))
    parts = partition(members, caught.value.parts_needed, branch_layers)
    assert len(parts[0]) == 1


def test_a_cohort_that_does_not_fit_goes_on_in_three_pieces_with_equal_results(
    base_spec: TrainingSpec,
    train_images: ImageSet,
    validation_images: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(tmp_path / "store").create()
    train_and_publish((base_spec,), store, lambda report: None)
    members = members_at(base_spec, (14, 15, 16, 17))
    need = measured_demand(
        members, [14], train_images, validation_images, DistributedContext(), FakeMemory(0, step=1000)
    )
    limit = max(need.peak(part) for part in partition(members, 3, branch_layers))
    monkeypatch.setattr(memory, "meter_of", lambda device, share: FakeMemory(int(limit / HEADROOM) + 1, step=1000))
    reports: list[Any] = []
    monkeypatch.setattr(tune, "report", lambda told: reports.append(told["report"]))
    scheduler = Scheduler([Task("the cohort", tuple(members), frozenset(), 1.0)], 1, [])
    for number in range(10):
        task = scheduler.next_ready(str(number))
        if task is None:
            break
        reports.clear()
        try:
            worker.mindgap_task({"task": task, "resources": Resources(store.location, 1)})
        except CohortTooLarge:
            _, failure = reports  # The first says where it runs.
            assert isinstance(failure, TaskFailed)
            scheduler.failed(str(number), failure)
        else:
            scheduler.done(str(number))
    (split,) = scheduler.outcome.splits
    assert len(split.pieces) == 3
    assert "GiB of the GPU's memory, of which it may use" in split.reason
    assert len(scheduler.outcome.done) == 3
    assert not scheduler.outcome.failed
    source = load_file(store.read_model(base_spec).weights)  # type: ignore[arg-type]
    for whole in train_cohort(members, train_images, validation_images, source):
        state = load_file(store.read_model(whole.spec).weights)  # type: ignore[arg-type]
        assert all(torch.equal(value, state[key]) for key, value in whole.state.items())
