"""What a cohort takes of its device's memory, and in how many parts it fits. Pure arithmetic, and meters to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from trainables.features import KEPT_LIMIT
from trainables.partition import branch_layers, partition
from trainables.spec import TrainingSpec

HEADROOM = 0.92
"""Share of the memory that is planned with: what is free lies in gaps between what is not, and those differ in size.
A guess; what it does not cover ends as an error of the device, after which the cohort is halved."""


class CohortTooLarge(RuntimeError):
    """The cohort does not fit in the device's memory; in `parts_needed` parts it does."""

    def __init__(self, parts_needed: int, reason: str) -> None:
        super().__init__(reason)
        self.parts_needed = parts_needed

    def __reduce__(self) -> tuple[type[CohortTooLarge], tuple[int, str]]:
        return type(self), (self.parts_needed, str(self))


class MemoryMeter(Protocol):
    """Reads a device's memory, in bytes."""

    def start(self) -> None:
        """Begins to look for the peak."""

    def peak(self) -> int:
        """The most that was held since `start`, beyond what was held then."""

    def available(self) -> int:
        """What this process may still take."""


class CudaMemory:
    """The memory of a CUDA device, of which this process may use the part `share` (0..1) and no other's."""

    def __init__(self, device: torch.device, share: float = 1.0) -> None:
        self._device, self._share = device, share
        self._before = 0

    def start(self) -> None:
        """Begins to look for the peak."""
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        """The most that was held since `start`, beyond what was held then."""
        torch.cuda.synchronize(self._device)
        return torch.cuda.max_memory_allocated(self._device) - self._before

    def available(self) -> int:
        """What this process may still take; what torch's allocator keeps for it counts as free."""
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(self._device)
        reserved, allocated = torch.cuda.memory_reserved(self._device), torch.cuda.memory_allocated(self._device)
        return available_bytes(total, free, reserved, allocated, self._share)


def meter_of(device: torch.device, share: float = 1.0) -> MemoryMeter | None:
    """A meter for a CUDA device; None for others, on which nothing is planned."""
    return CudaMemory(device, share) if device.type == "cuda" else None


def available_bytes(total: int, free: int, reserved: int, allocated: int, share: float) -> int:
    """What a process may still take of a device of `total` bytes, `free` of which nobody holds.

    The process has `reserved` bytes, of which it uses `allocated`. Its share of the device is its limit even where
    others, who may come to claim theirs, hold less.
    """
    held_by_others = total - free - reserved
    return max(0, min(int(total * share), total - held_by_others) - allocated)


@dataclass(frozen=True)
class Phase:
    """What training or evaluating holds besides weights: bytes.

    Attributes:
        inputs: crops and labels.
        trunk: the peak of the trunk's pass.
        activations: by cut, what the trunk gives there; it is held until all branches are done.
        branch: by cut, the peak of what a branch does there; of cuts that were not measured, that of the one below.
    """

    inputs: int
    trunk: int
    activations: Mapping[int, int]
    branch: Mapping[int, int]

    def peak(self, cuts: Sequence[int]) -> int:
        """The most that is held when branches at `cuts` take turns."""
        held = self.inputs + sum(self.activations[cut] for cut in set(cuts))
        return held + max(self.trunk, *(self._of_branch(cut) for cut in cuts))

    def _of_branch(self, cut: int) -> int:
        # More layers above the cut never take less: the nearest cut below is an upper bound.
        return self.branch[max(known for known in self.branch if known <= cut)]


@dataclass(frozen=True)
class Demand:
    """What the branches of a cohort take: bytes.

    Attributes:
        trunk: by cut, the weights of the layers below.
        kept: by cut, what a branch keeps: weights, the optimizer's state, averages; of several workers also buckets.
        features: by cut, activations of all images, if those may be kept (`trainables.features`).
        phases: training and evaluation.
    """

    trunk: Mapping[int, int]
    kept: Mapping[int, int]
    features: Mapping[int, int]
    phases: tuple[Phase, ...]

    def peak(self, members: Sequence[TrainingSpec]) -> int:
        """The most that a cohort of `members` holds at once."""
        cuts = [member.frozen_layers for member in members]
        features = sum(self.features.get(cut, 0) for cut in set(cuts))
        lasting = self.trunk[max(cuts)] + sum(self.kept[cut] for cut in cuts)
        lasting += features if features <= KEPT_LIMIT else 0
        return lasting + max(phase.peak(cuts) for phase in self.phases)


def parts_needed(members: Sequence[TrainingSpec], demand: Demand, available: int) -> int:
    """The smallest number of parts, as `partition` makes them, of which each fits in `available` bytes.

    A training that does not fit alone gets a piece of its own: its failure is not to be the others'.
    """
    for parts in range(1, len(members)):
        pieces = partition(members, parts, branch_layers)
        if all(len(piece) == 1 or demand.peak(piece) <= available * HEADROOM for piece in pieces):
            return parts
    return len(members)
