"""Trunk and branches: the frozen first layers that a cohort shares, and what each of its trials trains above them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from datagen.core.device import precision_on
from trainables.models.compilation import compile_layers
from trainables.models.networks import Layers, build_layers, load_initial_weights
from trainables.models.synchronization import batchnorm_layers
from trainables.recipe import build_loss, build_optimizer
from trainables.spec import TrainingSpec
from trainables.timers import Timers

WORTH_COMPILING = 5_000_000
"""Views of 224 px that a training sees in all: half an hour of an A100 (2,470 a second). Compiling ResNet-50's eight
kinds of layers takes minutes."""


def layers_of(spec: TrainingSpec, *, first: int = 0, last: int | None = None) -> Layers:
    """Layers `first` + 1 to `last` of the spec's network, initialized from its seed or, but for the head, from a file.

    Raises:
        InputError: the file is not the one that the spec names, or does not fit the network.
    """
    layers = build_layers(
        spec.model,
        len(spec.train.class_names),
        spec.seed,
        network=spec.network,
        head=spec.head,
        temperature=spec.temperature,
        first=first,
        last=last,
        image_size=spec.image_size,
        sources=spec.own_sources,
    )
    if spec.initial_weights:
        load_initial_weights(layers, spec.network, spec.initial_weights_file, spec.initial_weights)
    return layers


def compiles(spec: TrainingSpec, device: torch.device) -> bool:
    """Whether a training's layers are compiled: as the spec says, else on a GPU where it pays for its length."""
    if spec.compile is not None:
        return spec.compile
    views = spec.epochs * spec.train_images * (spec.image_size / 224) ** 2
    return device.type == "cuda" and views >= WORTH_COMPILING


def mixed_precision(device: torch.device, precision: str) -> torch.autocast:
    """Autocast to `precision`, or none for "float32"; evaluation is always in float32, as in t-ReX."""
    chosen = precision_on(device, precision)
    return torch.autocast(device.type, getattr(torch, chosen), enabled=chosen != "float32")


class Trunk:
    """The frozen first layers of a source network, up to the deepest cut of a cohort.

    Gives the activation at every cut in one forward pass without gradient. With `batchnorm` "eval" nothing in it ever
    changes; with "train" its BatchNorm layers use batch statistics and their running statistics drift.
    """

    def __init__(self, layers: Layers, cuts: Sequence[int], batchnorm: str, precision: str = "float32") -> None:
        self.layers = layers.requires_grad_(False).eval()
        self.cuts = sorted(set(cuts))
        self._batchnorm, self._precision = batchnorm, precision

    def __call__(self, images: Tensor, *, training: bool) -> dict[int, Tensor]:
        """Images [batch, 3, size, size] to {cut: activation after so many layers}; cut 0 gives the images."""
        if training:
            self.layers.train(self._batchnorm == "train")
        with torch.no_grad(), mixed_precision(images.device, self._precision if training else "float32"):
            return self.layers.after_layers(images, self.cuts)


class AllCrops(nn.Module):
    """Layers applied to each resolution of crops in turn; the logits of all crops in one tensor.

    One module, so that data-parallel training sees one forward pass for one backward pass.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, groups: list[Tensor]) -> Tensor:
        """Activations of each resolution, [crops x batch, ...], to logits [all crops x batch, classes]."""
        return torch.cat([self.layers(group) for group in groups])


class Branch:
    """What one trial trains: the layers above its cut, its optimizer, and the losses of the current epoch.

    A cut above the last layer leaves nothing to train: the source is only evaluated.
    """

    def __init__(self, spec: TrainingSpec, wrap: Callable[[nn.Module], nn.Module], device: torch.device) -> None:
        self.spec = spec
        self.layers = layers_of(spec, first=spec.frozen_layers).to(device)
        self.trains = any(True for _ in self.layers.parameters())
        self.average = ModelEmaV3(self.layers, decay=spec.weights_average) if self._averages else None
        self.module = wrap(AllCrops(self.layers)) if self.trains else AllCrops(self.layers)
        if self.trains and compiles(spec, device):
            compile_layers(self.layers, device)
        self.optimizer = build_optimizer(self.layers, spec) if self.trains else None
        is_half = precision_on(device, spec.precision) == "float16"
        if is_half and spec.optimizer == "sgd":
            self._start_momentum()
        self.scaler = torch.amp.GradScaler(device.type, enabled=is_half)
        self._loss = build_loss(spec)
        self.history: list[dict[str, float]] = []
        self.failure: str | None = None
        # Apple's GPUs have no float64.
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._loss_sum = torch.zeros((), dtype=exact, device=device)
        self._steps = 0

    @property
    def _averages(self) -> bool:
        return self.trains and self.spec.weights_average > 0

    @property
    def evaluated(self) -> Layers:
        """The layers that are evaluated and kept: those that train, or their average over the steps."""
        return self.average.module if self.average is not None else self.layers  # type: ignore[return-value]

    def step(
        self,
        groups: list[Tensor],
        labels: Tensor,
        learning_rate: float,
        timers: Timers,
        weight: float = 1.0,
        completes: bool = True,
    ) -> None:
        """One step of the optimizer on the activations at the cut, one tensor for each resolution of crops.

        Where these images do not complete their batch, their gradients are kept for the step that does.

        The loss is the plain mean over all crops of all images, each with its image's label of `labels` [batch] int64,
        or its own shares of the classes, [all crops x batch, classes] float32, times `weight` (of this worker's share,
        see `DistributedContext.weight`). It stays on the device, to be read once an epoch.
        """
        self.layers.train()
        with mixed_precision(labels.device, self.spec.precision):
            logits = self.module(groups)
            targets = labels.repeat(len(logits) // len(labels)) if labels.ndim == 1 else labels
            loss = self._loss(logits, targets) * weight
        timers.lap("forward")
        if self.optimizer is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.scaler.scale(loss).backward()
            timers.lap("backward")
            if not completes:
                self._loss_sum += loss.detach()
                return
            if self.spec.gradient_clipping:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.layers.parameters(), self.spec.gradient_clipping)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            # Here and not before the next step: while the other branches take theirs, nobody holds gradients.
            self.optimizer.zero_grad(set_to_none=True)
            if self.average is not None:
                self.average.update(self.layers)
        self._loss_sum += loss.detach()
        self._steps += 1
        timers.lap("step")

    def _start_momentum(self) -> None:
        """Momentum of zeros, which the first step turns into its gradient, as torch does without.

        The scaler skips a step whose gradients overflow, commonly the first: the fused optimizer has then made its
        momentum without a value, and the next step would read whatever was in memory (torch 2.15).
        """
        for parameter in self.layers.parameters() if self.optimizer is not None else ():
            self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)  # type: ignore[union-attr]

    def logits(self, activation: Tensor) -> Tensor:
        """Logits [batch, classes] of one resolution, without gradient, in the mode that the layers are in."""
        with torch.no_grad():
            result: Tensor = self.evaluated(activation)
        return result

    def take_mean_loss(self) -> Tensor:
        """The mean training loss since the last call (scalar float64), and starts anew."""
        mean = self._loss_sum / max(1, self._steps)
        self._loss_sum = torch.zeros_like(self._loss_sum)
        self._steps = 0
        return mean

    def optimizer_state(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """What the optimizer has to go on from: tensors and numbers, as KEY/PARAMETER; empty before the first step."""
        tensors: dict[str, Tensor] = {}
        numbers: dict[str, float] = {}
        if self.optimizer is None:
            return tensors, numbers
        held = {
            f"{key}/{name}": value
            for name, parameter in self.layers.named_parameters()
            for key, value in self.optimizer.state.get(parameter, {}).items()
            if value is not None
        }
        for number, group in enumerate(self.optimizer.param_groups):  # Some of timm's count their steps here.
            held |= {f"step/{number}": group["step"]} if "step" in group else {}
        for path, value in held.items():
            if isinstance(value, Tensor):
                tensors[path] = value
            else:
                numbers[path] = value
        return tensors, numbers

    def load_optimizer_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, float]) -> None:
        """Puts back what `optimizer_state` gave."""
        if self.optimizer is None:
            return
        parameters = dict(self.layers.named_parameters())
        for path, value in (*tensors.items(), *numbers.items()):
            key, _, name = path.partition("/")
            if name.isdigit():
                self.optimizer.param_groups[int(name)][key] = value
                continue
            parameter = parameters[name]
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # In the parameter's memory layout: the fused optimizer walks both buffers side by side.
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            self.optimizer.state[parameter][key] = value


@contextmanager
def evaluation_mode(modules: Sequence[nn.Module], *, by_batch: bool, drifting: bool = False) -> Iterator[None]:
    """Puts modules in evaluation mode; `by_batch`, their BatchNorm layers normalize by the batch instead.

    Those layers then move their running statistics with every batch. Afterwards these are put back to what they were,
    unless `drifting`.
    """
    for module in modules:
        module.eval()
    layers = batchnorm_layers(*modules) if by_batch else []
    kept = [] if drifting else [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers()]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
        for buffer, value in kept:
            buffer.copy_(value)
