"""The papers' recipe: SGD, weight decay on matrices only, linear warm-up and cosine decay per step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trainables.spec import REFERENCE_BATCH, TrainingSpec


def learning_rates(spec: TrainingSpec, steps_per_epoch: int) -> list[float]:
    """The learning rate of every step.

    The peak is `learning_rate` x batch / 256, or `learning_rate` itself (`learning_rate_scaling`). Warm-up is linear
    from 0 to the peak, both ends included; then min + (peak - min)(1 + cos(pi i / n)) / 2 for i = 0..n-1 (Fine-Tuning
    Role, Eq. 3; t-ReX's schedule).
    """
    peak = spec.learning_rate * (spec.batch_size / REFERENCE_BATCH if spec.learning_rate_scaling == "batch" else 1)
    warmup = spec.warmup_epochs * steps_per_epoch
    decay = spec.epochs * steps_per_epoch - warmup
    rising = [peak * step / max(1, warmup - 1) for step in range(warmup)]
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


def build_optimizer(module: nn.Module, spec: TrainingSpec) -> torch.optim.SGD:
    """SGD with momentum, without Nesterov; the fused implementation, one call for all parameters."""
    groups = parameter_groups(
        module.named_parameters(), spec.weight_decay, attention_biases=spec.decay_attention_biases
    )
    return torch.optim.SGD(groups, lr=0.0, momentum=spec.momentum, fused=True)
