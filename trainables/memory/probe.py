"""A short probe of what a cohort takes of its device's memory, before any of it is trained.

Weights and momentum are counted; what a pass of the trunk, a branch's step and an evaluation take on top is measured,
on networks of the probe's own that are thrown away. So nothing of the cohort has to be put back, and no bit of it
changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from trainables.augmentations.apply import Augmenter, evaluation_images
from trainables.distributed import DistributedContext
from trainables.features import may_keep
from trainables.input.data import EVALUATION_BATCH, ImageSet, epoch_batches, parts_of
from trainables.input.pixel_statistics import IMAGENET
from trainables.memory.budget import CohortTooLarge, Demand, MemoryMeter, Phase, parts_needed
from trainables.spec import OPTIMIZERS, TrainingSpec
from trainables.timers import Timers
from trainables.trunk import Branch, Trunk, layers_of

BATCHES_AT_ONCE = 3
"""Views on the device: those in use, those that come next, and those whose last use is still in the device's queue."""
NEVER_FITS = 2**62
"""Bytes that stand for what ended as an error of the device."""


def ensure_fits(
    members: Sequence[TrainingSpec],
    train: ImageSet,
    validation: ImageSet,
    context: DistributedContext,
    meter: MemoryMeter,
) -> None:
    """Checks that a cohort fits in the memory that `meter` reads.

    First only the branch with the most layers is measured, in whose place the others count; if by this the cohort does
    not fit, every branch is.

    Raises:
        CohortTooLarge: it does not; the error says how many pieces do.
    """
    cuts = sorted({member.frozen_layers for member in members})
    devices = [context.device] if context.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        demand = measured_demand(members, cuts[:1], train, validation, context, meter)
        pieces = context.most(parts_needed(members, demand, meter.available()))
        if pieces > 1:
            demand = measured_demand(members, cuts, train, validation, context, meter)
            pieces = context.most(parts_needed(members, demand, meter.available()))
    if pieces > 1:
        need, may = demand.peak(members) / 2**30, meter.available() / 2**30
        raise CohortTooLarge(pieces, f"it would take {need:.1f} GiB of the GPU's memory, of which it may use {may:.1f}")


def measured_demand(
    members: Sequence[TrainingSpec],
    measured_cuts: Sequence[int],
    train: ImageSet,
    validation: ImageSet,
    context: DistributedContext,
    meter: MemoryMeter,
) -> Demand:
    """What a cohort takes: one batch through the trunk, and through a branch at each of the cuts to be measured."""
    # Compiled code takes no more, and to compile takes minutes.
    spec = replace(members[0], compile=False)
    cuts = sorted({member.frozen_layers for member in members})
    probe = _Probe(spec, cuts, measured_cuts, context.device, meter)
    crops, labels = _training_inputs(spec, train, context)
    phases = (
        probe.phase(crops, labels, training=True),
        probe.phase(*_evaluation_inputs(spec, validation, context), training=False),
    )
    buckets = 1 if context.size > 1 else 0
    weights = {cut: probe.trunk_bytes(cut) for cut in cuts}
    # Every branch keeps its gradients from one part of a batch to the next.
    copies = 1 + OPTIMIZERS[spec.optimizer] + (spec.weights_average > 0) + buckets + (spec.accumulate > 1)
    kept = {cut: probe.branch_bytes(cut, copies) for cut in cuts}
    features = {cut: phases[0].activations[cut] * len(train) // len(labels) for cut in cuts}
    return Demand(weights, kept, features if may_keep(members[0]) else {}, phases)


def _training_inputs(spec: TrainingSpec, images: ImageSet, context: DistributedContext) -> tuple[list[Tensor], Tensor]:
    """Views and labels of this worker's part of a batch."""
    batches = epoch_batches(torch.arange(len(images)), spec.batch_size, spec.seed, 1)
    share = context.share(next(parts_of(batches, spec.accumulate, context.size)).positions)
    crops = Augmenter(spec, len(images), IMAGENET, context.device)(images.images[share], share, 1)
    return [group.to(context.device) for group in crops], images.labels[share].to(context.device)


def _evaluation_inputs(
    spec: TrainingSpec, images: ImageSet, context: DistributedContext
) -> tuple[list[Tensor], Tensor]:
    count = max(EVALUATION_BATCH, spec.batch_size if spec.normalization == "batchnorm_train" else 0)
    share = torch.arange(min(count, len(images)))
    crops = evaluation_images(images.images[share], spec, IMAGENET, context.device)
    return [crops], images.labels[share].to(context.device)


class _Probe:
    """Networks to measure on, one at a time on the device."""

    def __init__(
        self,
        spec: TrainingSpec,
        cuts: Sequence[int],
        measured_cuts: Sequence[int],
        device: torch.device,
        meter: MemoryMeter,
    ) -> None:
        self._spec, self._cuts, self._measured = spec, cuts, measured_cuts
        self._device, self._meter = device, meter
        self._network = layers_of(spec)

    def trunk_bytes(self, cut: int) -> int:
        """Of the weights and buffers below a cut."""
        return _bytes_of(self._parts(0, cut))

    def branch_bytes(self, cut: int, copies: int) -> int:
        """Of what a branch keeps above a cut: buffers, and parameters so many times."""
        parts = self._parts(cut, self._spec.depth)
        return _bytes_of(parts) + (copies - 1) * sum(p.nbytes for part in parts for p in part.parameters())

    def _parts(self, first: int, last: int) -> list[nn.Module]:
        names = {name for layer in self._spec.network[first:last] for name in layer.modules}
        return [part for name, part in zip(self._network.names, self._network.parts, strict=True) if name in names]

    def phase(self, groups: list[Tensor], labels: Tensor, *, training: bool) -> Phase:
        """What training on, or evaluating, the crops of a batch takes."""
        few = [group[:2] for group in groups]
        given = [self._trunk(self._cuts)(crops, training=training) for crops in few]
        triples = list(zip(given, few, groups, strict=True))
        activations = {
            cut: sum(by_cut[cut].nbytes // len(two) * len(all_) for by_cut, two, all_ in triples) for cut in self._cuts
        }
        trunk = self._peak_of_trunk(groups, training)
        branch = {cut: self._peak_of_branch(cut, groups, labels, training) for cut in self._measured}
        inputs = BATCHES_AT_ONCE * (sum(group.nbytes for group in groups) + labels.nbytes)
        return Phase(inputs, trunk, activations, branch)

    def _trunk(self, cuts: Sequence[int]) -> Trunk:
        layers = layers_of(self._spec, last=max(cuts)).to(self._device)
        return Trunk(layers, cuts, self._spec.frozen_batchnorm, self._spec.precision)

    def _peak_of_trunk(self, groups: list[Tensor], training: bool) -> int:
        """The peak of a pass that gives the deepest activation only."""
        trunk = self._trunk(self._cuts[-1:])
        return self._peak_of(lambda: [trunk(group, training=training) for group in groups])

    def _peak_of_branch(self, cut: int, groups: list[Tensor], labels: Tensor, training: bool) -> int:
        """The peak of a branch's step, once it has its momentum, or of its evaluation."""
        trunk = self._trunk([cut])
        branch = Branch(self._spec.at_depth(cut), lambda module: module, self._device)
        timers = Timers(self._device)

        def act() -> None:
            if training:
                branch.step(inputs, labels, 0.0, timers)
            else:
                branch.layers.eval()
                branch.logits(inputs[0])

        try:
            inputs = [trunk(group, training=training)[cut] for group in groups]
            act()
        except torch.OutOfMemoryError:
            return NEVER_FITS
        return self._peak_of(act)

    def _peak_of(self, action: Callable[[], object]) -> int:
        self._meter.start()
        try:
            action()
        except torch.OutOfMemoryError:
            return NEVER_FITS
        return self._meter.peak()


def _bytes_of(parts: Sequence[nn.Module]) -> int:
    return sum(value.nbytes for part in parts for value in part.state_dict().values())
