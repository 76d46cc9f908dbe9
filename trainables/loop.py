"""The training loop: one pass over the data trains every branch of a cohort on its shared, frozen trunk.

A single training is a cohort of one, by the same code. A branch never sees its neighbours, so a cohort trains exactly
what its members would have trained alone.
"""

from __future__ import annotations

import functools
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trainables.augmentations.apply import Augmenter
from trainables.augmentations.batch_mixing import BatchMixing
from trainables.checkpoint import CohortCheckpoint
from trainables.distributed import DistributedContext
from trainables.evaluation.evaluation_set import EvaluationSet, evaluates_by_batch, in_halves
from trainables.features import KeptFeatures, may_keep
from trainables.input.data import (
    BatchPart,
    ImageSet,
    epoch_batches,
    fraction_subset,
    parts_of,
    steps_per_epoch,
)
from trainables.input.pixel_statistics import IMAGENET, PixelStatistics, statistics_of
from trainables.input.prefetch import Inputs, one_ahead, to_device
from trainables.memory.budget import MemoryMeter
from trainables.memory.probe import ensure_fits
from trainables.models.compilation import compile_layers, uncompiled
from trainables.recipe import learning_rates
from trainables.report import EpochReport
from trainables.spec import TrainingSpec
from trainables.timers import Timers
from trainables.trunk import Branch, Trunk, compiles, evaluation_mode, layers_of


@dataclass(frozen=True)
class Trained:
    """The result of one training: the whole network's state under timm's names, and its metrics by epoch.

    `normalization` is that of the training images, `evaluation_normalization` of the validation images; `history` has
    the rows of `EpochReport.trials`. `logits` are those of the validation images in their order, less each image's
    largest, [n, classes] float16, after the last epoch; None of a training that failed.
    """

    spec: TrainingSpec
    state: dict[str, Tensor]
    history: list[dict[str, float]]
    normalization: PixelStatistics
    evaluation_normalization: PixelStatistics
    failure: str | None = None
    logits: Tensor | None = None


def train_cohort(
    members: Sequence[TrainingSpec],
    train: ImageSet,
    validation: ImageSet,
    source: dict[str, Tensor] | None = None,
    *,
    context: DistributedContext | None = None,
    folders: Mapping[str, Path] | None = None,
    checkpoint: CohortCheckpoint | None = None,
    report: Callable[[EpochReport], None] = lambda report: None,
    meter: MemoryMeter | None = None,
) -> list[Trained]:
    """Trains all members of a cohort over one stream of batches.

    Args:
        members: specs that differ in `frozen_layers` only.
        train: the training images, of which each epoch uses the spec's fraction.
        validation: the images to evaluate on after every epoch.
        source: the state of the network whose first layers are taken over; None from scratch.
        context: this worker among its peers; alone on the CPU by default.
        folders: where the sets "train" and "validation" are, for the statistics that are stored with them.
        checkpoint: where to continue from and to save to after every epoch.
        report: called after every epoch.
        meter: of the device's memory, by which a cohort that does not fit is refused before it starts.

    A member whose loss is not finite is given up at the end of its epoch, one that raises at once; both are marked as
    failed, and the others go on.

    Raises:
        BranchError: a member has raised and there are several workers.
        CohortTooLarge: it does not fit in the device's memory.
        ValueError: the members are not of one cohort.
    """
    if len({member.cohort for member in members}) != 1:
        raise ValueError("All members of a cohort must be alike but for their freeze depth.")
    context = context or DistributedContext()
    if meter is not None and len(members) > 1:
        ensure_fits(members, train, validation, context, meter)
    cohort = Cohort(members, train, validation, source, context, folders or {})
    first = checkpoint.restore(cohort.trunk, cohort.branches) if checkpoint else 0
    for epoch in range(first + 1, members[0].epochs + 1):
        started = time.perf_counter()
        cohort.timers.start()
        cohort.train_epoch(epoch)
        cohort.evaluate(epoch, started)
        if checkpoint and context.rank == 0:
            checkpoint.save(epoch, cohort.trunk, cohort.branches)
        report(cohort.report(epoch))
        if not cohort.running:
            break
    return [cohort.result(branch) for branch in cohort.branches]


class BranchError(RuntimeError):
    """A branch has raised where several workers train it: the cohort can go on without the trial at fault."""

    def __init__(self, fingerprint_at_fault: str, reason: str) -> None:
        super().__init__(reason)
        self.fingerprint_at_fault = fingerprint_at_fault

    def __reduce__(self) -> tuple[type[BranchError], tuple[str, str]]:
        return type(self), (self.fingerprint_at_fault, str(self))


_DEVICE = re.compile("OutOfMemoryError|CUDA|CUDNN|CUBLAS")
"""Errors of a GPU and its libraries, which torch mostly raises as RuntimeError."""


class Cohort:
    """A cohort in training: trunk, branches, and the data stream they share. The arguments are `train_cohort`'s."""

    def __init__(
        self,
        members: Sequence[TrainingSpec],
        train: ImageSet,
        validation: ImageSet,
        source: dict[str, Tensor] | None,
        context: DistributedContext,
        folders: Mapping[str, Path],
    ) -> None:
        self.spec, self.context, self.timers = members[0], context, Timers(context.device)
        self.trunk = _build_trunk(members, source, context)
        wrap = functools.partial(_replica, context=context, synchronized=self.spec.sync_batchnorm)
        self.branches = [Branch(member, wrap, context.device) for member in members]
        self._train = train
        self._positions = fraction_subset(
            train.labels, self.spec.fraction, self.spec.seed, balanced=self.spec.fraction_sampling == "balanced"
        )
        self._statistics = self._validation_statistics = IMAGENET
        if self.spec.normalization == "exact":
            self._statistics = statistics_of(train, self._positions, folders.get("train"))
            self._validation_statistics = self._statistics
            if self.spec.exact_statistics == "own":
                everything = torch.arange(len(validation))
                self._validation_statistics = statistics_of(validation, everything, folders.get("validation"))
        self._augmenter = Augmenter(self.spec, len(train), self._statistics, context.device)
        self._mixing = BatchMixing(self.spec) if self.spec.mixes else None
        self._steps = steps_per_epoch(len(self._positions), self.spec.batch_size)
        self._rates = learning_rates(self.spec, self._steps)
        self._features = KeptFeatures(len(train)) if may_keep(self.spec) else None
        on_gpu = context.device.type == "cuda"
        self._prefetches = on_gpu if self.spec.prefetch == "auto" else self.spec.prefetch == "on"
        self._evaluated = EvaluationSet(
            self.spec, validation, self._validation_statistics, context, prefetches=self._prefetches
        )
        self._logits: dict[str, Tensor] = {}
        self._timings: dict[str, float] = {}

    @property
    def running(self) -> list[Branch]:
        """The branches that have not failed."""
        return [branch for branch in self.branches if branch.failure is None]

    def train_epoch(self, epoch: int) -> None:
        """One pass over the training images (`epoch` from 1)."""
        rates = self._rates[(epoch - 1) * self._steps :]
        batches = epoch_batches(self._positions, self.spec.batch_size, self.spec.seed, epoch)
        parts = parts_of(batches, self.spec.accumulate, self.context.size)
        step = 0
        inputs_of = functools.partial(self._inputs, epoch)
        ready = one_ahead(inputs_of, parts, self.context.device) if self._prefetches else map(inputs_of, parts)
        for inputs in ready:
            self.timers.lap("data" if self._prefetches else "views")
            if self._mixing:
                # Not ahead in a thread: torchvision draws from torch's own generator.
                inputs = self._mixing(inputs, epoch)
            activations = self._activations(inputs)
            self.timers.lap("trunk")
            for branch in self.running:
                cut = [group[branch.spec.frozen_layers] for group in activations]
                with self._its_own_failure(branch, epoch):
                    branch.step(cut, inputs.labels, rates[step], self.timers, inputs.weight, inputs.completes)
            step += inputs.completes

    def _inputs(self, epoch: int, part: BatchPart) -> Inputs:
        """This worker's share of a part of a batch of training images, augmented as in an epoch."""
        positions = self.context.share(part.positions)
        crops: list[Tensor] = []
        if not (self._features and self._features.knows(positions)):
            images = self._train.images[positions]
            if not self._prefetches:  # Of a thread that works ahead only the waiting for it counts.
                self.timers.lap("data")
            augmented = self._augmenter(images, positions, epoch)
            crops = [to_device(group, self.context.device) for group in augmented]
        labels = to_device(self._train.labels[positions], self.context.device)
        weight = self.context.weight(positions, part.batch)
        return Inputs(positions, labels, crops, weight, part.completes)

    @contextmanager
    def _its_own_failure(self, branch: Branch, epoch: int) -> Iterator[None]:
        """What a branch raises fails that branch; what its device or a file raises is the matter of all."""
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError | torch.AcceleratorError) or _DEVICE.search(f"{type(error)} {error}"):
                raise
            reason = f"{type(error).__name__} in epoch {epoch}: {error}".splitlines()[0]
            if self.context.size > 1:
                # The other workers may wait for this branch's gradients: nobody can go on.
                raise BranchError(branch.spec.fingerprint, reason) from error
            logging.getLogger(__name__).warning("%s failed", branch.spec.title, exc_info=error)
            branch.failure = reason

    def _activations(self, inputs: Inputs) -> list[dict[int, Tensor]]:
        """What the trunk makes of the crops of a batch, for each resolution."""
        if self._features and not inputs.crops:
            return [self._features.get(inputs.positions)]
        # Each resolution is a pass of its own, so that BatchNorm sees them apart, as in t-ReX.
        activations = [self.trunk(crops, training=True) for crops in inputs.crops]
        if self._features:
            self._features.keep(inputs.positions, activations[0])
        return activations

    def evaluate(self, epoch: int, started: float) -> None:
        """Evaluates every running branch on each validation image once, and writes the epoch into its history."""
        running = self.running
        classes = len(self.spec.train.class_names)
        accuracies = [_Accuracy(classes, self.context.device) for _ in running]
        modules = [self.trunk.layers, *(branch.evaluated for branch in running)]
        if not self.spec.sync_batchnorm:
            for module in modules:
                self.context.align(module)
        by_batch = evaluates_by_batch(self.spec, epoch)
        drifting = self.spec.batchnorm_evaluation_statistics == "drifting"
        positions: list[Tensor] = []
        kept: list[list[Tensor]] = [[] for _ in running]
        with (
            uncompiled(compiles(self.spec, self.context.device)),
            evaluation_mode(modules, by_batch=by_batch, drifting=drifting),
        ):
            for inputs in self._evaluated.inputs(by_batch=by_batch):
                positions.append(inputs.positions)
                with torch.inference_mode():
                    activations = self.trunk(inputs.crops[0], training=False)
                    for branch, accuracy, own in zip(running, accuracies, kept, strict=True):
                        logits = branch.logits(activations[branch.spec.frozen_layers])
                        accuracy.update(logits, inputs.labels)
                        own += [in_halves(logits)] if epoch == self.spec.epochs else []
        if epoch == self.spec.epochs:
            for branch, own in zip(running, kept, strict=True):
                self._logits[branch.spec.fingerprint] = self._evaluated.whole(positions, own)
        measured = [accuracy.compute(self.context) for accuracy in accuracies]
        self.timers.lap("evaluation")
        seconds = time.perf_counter() - started
        for branch, metrics in zip(running, measured, strict=True):
            loss = float(self.context.mean(branch.take_mean_loss()))
            if not math.isfinite(loss):
                branch.failure = f"the training loss was {loss} in epoch {epoch}"
                continue
            rate = self._rates[epoch * self._steps - 1]
            branch.history.append({"epoch": epoch, **metrics, "train_loss": loss, "learning_rate": rate})
        timings = self.timers.take()
        for branch, share in _shares(self.running):
            parts = {f"seconds_{part}": spent * share for part, spent in timings.items()}
            branch.history[-1].update({"seconds": seconds * share, **parts})
        self._timings = timings

    def report(self, epoch: int) -> EpochReport:
        """Closes the epoch's account of time and tells what is known after it."""
        # Not in the history that a checkpoint holds: it cannot know how long it takes.
        self.timers.lap("checkpoint")
        self._timings["checkpoint"] = self.timers.take()["checkpoint"]
        for branch, share in _shares(self.running):
            branch.history[-1]["seconds_checkpoint"] = self._timings["checkpoint"] * share
        trials = {branch.spec.fingerprint: branch.history[-1] for branch in self.running}
        failures = {b.spec.fingerprint: b.failure for b in self.branches if b.failure is not None}
        return EpochReport(epoch, self.spec.epochs, trials, failures, self._timings)

    def result(self, branch: Branch) -> Trained:
        """The whole network: the trunk's values below the cut, the branch's above."""
        state = self.trunk.layers.timm_state() | branch.evaluated.timm_state()
        own = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
        statistics = self._statistics, self._validation_statistics
        logits = None if branch.failure else self._logits.get(branch.spec.fingerprint)
        return Trained(branch.spec, own, branch.history, *statistics, branch.failure, logits)


class _Accuracy:
    """Top-1 and top-5 over the validation images of all workers, in percent; to the bit what torchmetrics computes.

    torchmetrics itself, which imports its measures of text and sound too, takes 2.4 of the 6 seconds of a core that a
    process needs to start.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self._among = min(5, classes)
        self._counts = torch.zeros(3, dtype=torch.int64, device=device)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Counts the images of a batch: logits [batch, classes], labels [batch] int64."""
        first = (logits.argmax(1) == labels).sum()
        among = (logits.topk(self._among, 1).indices == labels[:, None]).sum()
        self._counts += torch.stack([first, among, torch.full_like(first, len(labels))])

    def compute(self, context: DistributedContext) -> dict[str, float]:
        """The two percentages."""
        first, among, seen = context.total(self._counts).float()
        return {"top1": float(first / seen) * 100, "top5": float(among / seen) * 100}


def _build_trunk(
    members: Sequence[TrainingSpec], source: dict[str, Tensor] | None, context: DistributedContext
) -> Trunk:
    spec = members[0]
    cuts = [member.frozen_layers for member in members]
    layers = layers_of(spec, last=max(cuts))
    if source is not None:
        with torch.no_grad():
            layers.load_timm_state(source)
    trunk = Trunk(layers.to(context.device), cuts, spec.frozen_batchnorm, spec.precision)
    if spec.sync_batchnorm:
        context.synchronized(layers)
    if compiles(spec, context.device):
        compile_layers(layers, context.device)
    return trunk


def _replica(module: nn.Module, *, context: DistributedContext, synchronized: bool) -> nn.Module:
    return context.wrap(context.synchronized(module) if synchronized else module)


def _shares(branches: Sequence[Branch]) -> list[tuple[Branch, float]]:
    """Each branch's share of a cohort's time, roughly: the layers it trains, and one for what all do."""
    weights = [1.0 + branch.spec.depth - branch.spec.frozen_layers for branch in branches]
    return [(branch, weight / sum(weights)) for branch, weight in zip(branches, weights, strict=True)]
