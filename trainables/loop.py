"""The training loop: one pass over the data trains every branch of a cohort on its shared, frozen trunk.

A single training is a cohort of one, by the same code. A branch never sees its neighbours, so a cohort trains exactly
what its members would have trained alone.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from datagen.identity import derived_seed
from trainables.checkpoint import CohortCheckpoint
from trainables.data import ImageSet, epoch_batches, fraction_subset, steps_per_epoch
from trainables.layers import layer_count
from trainables.recipe import learning_rates
from trainables.report import EpochReport
from trainables.spec import TrainingSpec
from trainables.statistics import IMAGENET, PixelStatistics, statistics_of
from trainables.trunk import Branch, Trunk, evaluation_mode, layers_of
from trainables.views import Views, evaluation_view
from trainables.world import World

EVALUATION_BATCH = 250
"""Images of one evaluation batch; the result does not depend on it (but see `_evaluation_batches`)."""


@dataclass(frozen=True)
class Trained:
    """The result of one training: the whole network's state under timm's names, and its metrics by epoch.

    `normalization` is that of the training images.
    """

    spec: TrainingSpec
    state: dict[str, Tensor]
    history: list[dict[str, float]]
    normalization: PixelStatistics
    failure: str | None = None


def train_cohort(
    members: Sequence[TrainingSpec],
    train: ImageSet,
    validation: ImageSet,
    source: dict[str, Tensor] | None = None,
    *,
    world: World | None = None,
    checkpoint: CohortCheckpoint | None = None,
    report: Callable[[EpochReport], None] = lambda report: None,
) -> list[Trained]:
    """Trains all members of a cohort over one stream of batches.

    Args:
        members: specs that differ in `frozen_layers` only.
        train: the training images, of which each epoch uses the spec's fraction.
        validation: the images to evaluate on after every epoch.
        source: the state of the network whose first layers are taken over; None from scratch.
        world: this worker among its peers; alone on the CPU by default.
        checkpoint: where to continue from and to save to after every epoch.
        report: called after every epoch.

    A member whose loss is not finite is given up at the end of its epoch, one that raises at once; both are marked as
    failed, and the others go on.

    Raises:
        BranchError: a member has raised and there are several workers.
        ValueError: the members are not of one cohort.
    """
    if len({member.cohort for member in members}) != 1:
        raise ValueError("All members of a cohort must be alike but for their freeze depth.")
    world = world or World()
    cohort = _Cohort(members, train, validation, source, world)
    first = checkpoint.restore(cohort.trunk, cohort.branches) if checkpoint else 0
    for epoch in range(first + 1, members[0].epochs + 1):
        started = time.perf_counter()
        cohort.train_epoch(epoch)
        cohort.evaluate(epoch, started)
        if checkpoint and world.rank == 0:
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


class _Cohort:
    """A cohort in training: trunk, branches, and the data stream they share."""

    def __init__(
        self,
        members: Sequence[TrainingSpec],
        train: ImageSet,
        validation: ImageSet,
        source: dict[str, Tensor] | None,
        world: World,
    ) -> None:
        self.spec, self.world = members[0], world
        self.trunk = _build_trunk(members, source, world.device)
        self.branches = [Branch(member, world.wrap, world.device) for member in members]
        self._train, self._validation = train, validation
        self._positions = fraction_subset(
            train.labels, self.spec.fraction, self.spec.seed, balanced=self.spec.fraction_sampling == "balanced"
        )
        exact = self.spec.normalization == "exact"
        # "Exact" is read as: each set by its own statistics, the training images that are used, the validation images.
        self._statistics = statistics_of(train, self._positions) if exact else IMAGENET
        everything = torch.arange(len(validation))
        self._validation_statistics = statistics_of(validation, everything) if exact else IMAGENET
        self._views = Views(self.spec, len(train), self._statistics)
        self._steps = steps_per_epoch(len(self._positions), self.spec.batch_size)
        self._rates = learning_rates(self.spec, self._steps)

    @property
    def running(self) -> list[Branch]:
        return [branch for branch in self.branches if branch.failure is None]

    def train_epoch(self, epoch: int) -> None:
        rates = self._rates[(epoch - 1) * self._steps :]
        batches = epoch_batches(self._positions, self.spec.batch_size, self.spec.seed, epoch)
        for rate, batch in zip(rates, batches, strict=False):
            positions = self.world.share(batch)
            groups = self._views(self._train.images[positions], positions, epoch)
            labels = self._train.labels[positions].to(self.world.device)
            # Each resolution is a pass of its own, so that BatchNorm sees them apart, as in t-ReX.
            activations = [self.trunk(views.to(self.world.device), training=True) for views in groups]
            for branch in self.running:
                with self._its_own_failure(branch, epoch):
                    branch.step([group[branch.spec.frozen_layers] for group in activations], labels, rate)

    @contextmanager
    def _its_own_failure(self, branch: Branch, epoch: int) -> Iterator[None]:
        """What a branch raises fails that branch; what its device or a file raises is the matter of all."""
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError | torch.AcceleratorError) or _DEVICE.search(f"{type(error)} {error}"):
                raise
            reason = f"{type(error).__name__} in epoch {epoch}: {error}".splitlines()[0]
            if self.world.size > 1:
                # The other workers may wait for this branch's gradients: nobody can go on.
                raise BranchError(branch.spec.fingerprint, reason) from error
            logging.getLogger(__name__).warning("%s failed", branch.spec.title, exc_info=error)
            branch.failure = reason

    def evaluate(self, epoch: int, started: float) -> None:
        """Evaluates every running branch on each validation image once, and writes the epoch into its history."""
        running = self.running
        classes = len(self.spec.train.class_names)
        accuracies = [_Accuracy(classes, self.world.device) for _ in running]
        modules = [self.trunk.layers, *(branch.layers for branch in running)]
        with evaluation_mode(modules, self.spec.normalization == "batchnorm_train"):
            for batch in self._evaluation_batches():
                images = self._validation.images[batch]
                views = evaluation_view(images, self.spec, self._validation_statistics).to(self.world.device)
                labels = self._validation.labels[batch].to(self.world.device)
                activations = self.trunk(views, training=False)
                for branch, accuracy in zip(running, accuracies, strict=True):
                    accuracy.update(branch.logits(activations[branch.spec.frozen_layers]), labels)
        weights = [_work(branch.spec) for branch in running]
        for branch, accuracy, weight in zip(running, accuracies, weights, strict=True):
            loss = float(self.world.mean(branch.take_mean_loss()))
            if not math.isfinite(loss):
                branch.failure = f"the training loss was {loss} in epoch {epoch}"
                continue
            seconds = (time.perf_counter() - started) * weight / sum(weights)
            branch.history.append(
                {
                    "epoch": epoch,
                    **accuracy.compute(),
                    "train_loss": loss,
                    "learning_rate": self._rates[epoch * self._steps - 1],
                    "seconds": seconds,
                }
            )

    def _evaluation_batches(self) -> tuple[Tensor, ...]:
        """This worker's validation images, each once.

        BatchNorm by the batch depends on who is in it: then batches are the training's size and shuffled, for in label
        order one batch would hold two or three classes.
        """
        if self.spec.normalization != "batchnorm_train":
            return self.world.share(torch.arange(len(self._validation))).split(EVALUATION_BATCH)
        generator = torch.Generator().manual_seed(derived_seed(self.spec.seed, "evaluation"))
        order = torch.randperm(len(self._validation), generator=generator)
        return self.world.share(order).split(self.spec.batch_size)

    def report(self, epoch: int) -> EpochReport:
        trials = {branch.spec.fingerprint: branch.history[-1] for branch in self.running}
        failures = {b.spec.fingerprint: b.failure for b in self.branches if b.failure is not None}
        return EpochReport(epoch, self.spec.epochs, trials, failures)

    def result(self, branch: Branch) -> Trained:
        """The whole network: the trunk's values below the cut, the branch's above."""
        state = self.trunk.layers.timm_state() | branch.layers.timm_state()
        own = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
        return Trained(branch.spec, own, branch.history, self._statistics, branch.failure)


class _Accuracy:
    """Top-1 and top-5 over the validation images, in percent; torchmetrics gathers them from all workers."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self._metrics = {
            name: MulticlassAccuracy(classes, top_k=min(k, classes), average="micro", validate_args=False).to(device)
            for name, k in (("top1", 1), ("top5", 5))
        }

    def update(self, logits: Tensor, labels: Tensor) -> None:
        for metric in self._metrics.values():
            metric.update(logits, labels)

    def compute(self) -> dict[str, float]:
        return {name: float(metric.compute()) * 100 for name, metric in self._metrics.items()}


def _build_trunk(members: Sequence[TrainingSpec], source: dict[str, Tensor] | None, device: torch.device) -> Trunk:
    spec = members[0]
    cuts = [member.frozen_layers for member in members]
    layers = layers_of(spec, last=max(cuts))
    if source is not None:
        with torch.no_grad():
            layers.load_timm_state(source)
    return Trunk(layers.to(device), cuts, spec.frozen_batchnorm, spec.precision)


def _work(spec: TrainingSpec) -> float:
    """A branch's share of a cohort's time, roughly: the layers it trains, and one for what all do."""
    return 1.0 + layer_count(spec.model) - spec.frozen_layers
