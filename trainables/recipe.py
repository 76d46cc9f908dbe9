"""Learning rates and optimizers; the papers': SGD, weight decay on matrices, linear warm-up, cosine decay per step."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from datagen.core.own_code import is_own, loaded
from trainables.spec import REFERENCE_BATCH, TrainingSpec


def learning_rates(spec: TrainingSpec, steps_per_epoch: int) -> list[float]:
    """The learning rate of every step.

    The peak is `learning_rate` x batch / 256, or `learning_rate` itself (`learning_rate_scaling`). Warm-up is linear
    from 0 to the peak, both ends included; then min + (peak - min)(1 + cos(pi i / n)) / 2 for i = 0..n-1 (Fine-Tuning
    Role, Eq. 3; t-ReX's schedule). The schedule "step" multiplies the peak by `decay_rate` every `decay_epochs` epochs,
    counted from the first epoch as in timm; "constant" stays at the peak.
    """
    peak = spec.learning_rate * (spec.batch_size / REFERENCE_BATCH if spec.learning_rate_scaling == "batch" else 1)
    warmup = spec.warmup_epochs * steps_per_epoch
    decay = spec.epochs * steps_per_epoch - warmup
    rising = [peak * step / max(1, warmup - 1) for step in range(warmup)]
    if spec.schedule != "cosine":
        epochs = [(warmup + step) // steps_per_epoch for step in range(decay)]
        rate = spec.decay_rate if spec.schedule == "step" else 1.0
        return rising + [peak * rate ** (epoch // spec.decay_epochs) for epoch in epochs]
    low = spec.final_learning_rate
    falling = [low + (peak - low) * (1 + math.cos(math.pi * step / decay)) / 2 for step in range(decay)]
    return rising + falling


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float, *, attention_biases: bool = True
) -> list[dict[str, Any]]:
    """Two groups for the optimizer: weight decay for parameters of more than one dimension, none for others (t-ReX).

    TinyViT's `attention_biases` have two dimensions: t-ReX's rule decays them, timm lists them as not to be decayed.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in named:
        exempt = parameter.ndim <= 1 or name.endswith(".bias")
        exempt |= name.endswith("attention_biases") and not attention_biases
        (plain if exempt else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


Loss = Callable[[Tensor, Tensor], Tensor]
"""Of logits [n, classes] and targets, [n] int64 or [n, classes] float32, the mean loss: a scalar."""


def build_loss(spec: TrainingSpec) -> Loss:
    """The spec's loss, with AugMix's consistency between three crops of each image where it is asked for."""
    loss = _loss(spec)
    return functools.partial(_consistent, loss, spec.jensen_shannon) if spec.jensen_shannon else loss


def _consistent(loss: Loss, weight: float, logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of the plain crops, the first third, and the Jensen-Shannon divergence of all three (AugMix, Eq. 1)."""
    chances = logits.softmax(1).chunk(3)
    mean = (sum(chances) / 3).clamp(1e-7, 1).log()  # type: ignore[union-attr]
    divergence = sum(functional.kl_div(mean, one, reduction="batchmean") for one in chances) / 3
    return loss(logits.chunk(3)[0], targets.chunk(3)[0]) + weight * divergence


def _loss(spec: TrainingSpec) -> Loss:
    """A user's own is a function, or a class or module that is called without arguments for one."""
    if is_own(spec.loss):
        made = loaded(spec.loss, spec.own_sources)
        own: Loss = made() if isinstance(made, type) else made
        return own
    if spec.loss == "binary_cross_entropy":
        from timm.loss import BinaryCrossEntropy

        return BinaryCrossEntropy(smoothing=spec.label_smoothing)
    return functools.partial(functional.cross_entropy, label_smoothing=spec.label_smoothing)


def build_optimizer(module: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    """The spec's optimizer. "sgd" is torch's fused one, a single call for all parameters; the others are as in timm."""
    groups = parameter_groups(
        module.named_parameters(), spec.weight_decay, attention_biases=spec.decay_attention_biases
    )
    if spec.weight_decay_on == "all":
        groups = [{"params": list(module.parameters()), "weight_decay": spec.weight_decay}]
    if spec.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=spec.momentum, fused=True)
    from timm.optim import create_optimizer_v2, get_optimizer_info

    own = get_optimizer_info(spec.optimizer)
    betas: dict[str, Any] = {}
    if own.has_betas:
        _, second = inspect.signature(own.opt_class).parameters["betas"].default
        betas["betas"] = (spec.momentum, second if spec.second_momentum is None else spec.second_momentum)
    return create_optimizer_v2(groups, spec.optimizer, lr=0.0, momentum=spec.momentum, **betas)
