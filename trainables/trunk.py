"""Trunk and branches: the frozen first layers that a cohort shares, and what each of its trials trains above them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.models import Layers, build_layers
from trainables.recipe import build_optimizer
from trainables.spec import TrainingSpec


class Trunk:
    """The frozen first layers of a source network, up to the deepest cut of a cohort.

    Gives the activation at every cut in one forward pass without gradient. With `batchnorm` "eval" nothing in it ever
    changes; with "train" its BatchNorm layers use batch statistics and their running statistics drift.
    """

    def __init__(self, layers: Layers, cuts: Sequence[int], batchnorm: str) -> None:
        self.layers = layers.requires_grad_(False).eval()
        self.cuts = sorted(set(cuts))
        self._batchnorm = batchnorm

    def __call__(self, views: Tensor, *, training: bool) -> dict[int, Tensor]:
        """Views [batch, 3, size, size] to {cut: activation after so many layers}; cut 0 gives the views themselves."""
        self.layers.train(training and self._batchnorm == "train")
        with torch.no_grad():
            activations = self.layers.after_each_layer(views)
        return {cut: activations[cut] for cut in self.cuts}


class Branch:
    """What one trial trains: the layers above its cut, its optimizer, and the losses of the current epoch."""

    def __init__(self, spec: TrainingSpec, wrap: Callable[[nn.Module], nn.Module], device: torch.device) -> None:
        self.spec = spec
        classes = len(spec.train.class_names)
        self.layers = build_layers(spec.model, classes, spec.temperature, spec.seed, first=spec.frozen_layers).to(
            device
        )
        self.module = wrap(self.layers)
        self.optimizer = build_optimizer(self.layers, spec)
        self.history: list[dict[str, float]] = []
        self.failure: str | None = None
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._steps = 0

    def step(self, activation: Tensor, labels: Tensor, learning_rate: float) -> None:
        """One step of SGD on the activation at the cut; the loss is kept on the device, to be read once an epoch."""
        self.layers.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        loss = functional.cross_entropy(self.module(activation), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self._loss_sum += loss.detach()
        self._steps += 1

    def logits(self, activation: Tensor) -> Tensor:
        """Evaluation-mode logits [batch, classes]."""
        self.layers.eval()
        with torch.no_grad():
            result: Tensor = self.layers(activation)
        return result

    def take_mean_loss(self) -> Tensor:
        """The mean training loss since the last call (scalar float64), and starts anew."""
        mean = self._loss_sum / max(1, self._steps)
        self._loss_sum = torch.zeros_like(self._loss_sum)
        self._steps = 0
        return mean

    def momentum(self) -> dict[str, Tensor]:
        """The optimizer's momentum by parameter name; empty before the first step."""
        return {
            name: self.optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self.layers.named_parameters()
            if "momentum_buffer" in self.optimizer.state.get(parameter, {})
        }

    def load_momentum(self, momentum: dict[str, Tensor]) -> None:
        """Puts back what `momentum` gave."""
        for name, parameter in self.layers.named_parameters():
            if name in momentum:
                # In the parameter's memory layout: the fused optimizer walks both buffers side by side.
                buffer = torch.empty_like(parameter, requires_grad=False).copy_(momentum[name])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
