"""Networks as a sequence of layers that can be cut anywhere, built on timm, with the papers' cosine classifier."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torch
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn import functional

from datagen.identity import derived_seed
from trainables.layers import LAYERS, Layer

SLIM_WIDTH = 8
"""Channels of the slim ResNet-50's first stage (64 in the full one): 0.38 M parameters, 1.3 MMAC at 32 px."""


class CosineClassifier(nn.Module):
    """logits = cos(x, w) / temperature: features and class weights are L2-normalized, no bias.

    The head of t-ReX (`ClfLayer`, temperature 0.1), which both papers use (Mind the Gap, section 4.1).
    """

    def __init__(self, features: int, classes: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        # nn.Linear's own initialization (Kaiming uniform, a = sqrt 5), as in t-ReX.
        self.weight = nn.Parameter(nn.Linear(features, classes, bias=False).weight.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """[batch, features] float to [batch, classes] logits in -1/temperature..1/temperature."""
        cosine = functional.linear(functional.normalize(features), functional.normalize(self.weight))
        return cosine / self.temperature


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution of stride 1 without bias, computed as the matrix product that it is.

    For slim layers on a CPU this is 1.7 times as fast as oneDNN's convolution, forward and backward
    (`benchmarks/README.md`); the parameter and its name stay the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[batch, inputs, height, width] to [batch, outputs, height, width], channels last."""
        return functional.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1)).permute(0, 3, 1, 2)


class Layers(nn.Module):
    """Consecutive layers of a network; its state keeps timm's key names ("layer1.0.conv1.weight")."""

    def __init__(self, model: nn.Module, layers: tuple[Layer, ...]) -> None:
        super().__init__()
        self.names = [name for layer in layers for name in layer.modules]
        self.parts = nn.ModuleList(model.get_submodule(name) for name in self.names)
        self.ends = _ends(layers)

    def forward(self, activation: Tensor) -> Tensor:
        """The activation after the last layer."""
        for part in self.parts:
            activation = part(activation)
        return activation

    def after_each_layer(self, activation: Tensor) -> list[Tensor]:
        """The input, then the activation after each layer: `count + 1` tensors."""
        activations = [activation]
        for position, part in enumerate(self.parts, 1):
            activation = part(activation)
            if position in self.ends:
                activations.append(activation)
        return activations

    def timm_state(self) -> dict[str, Tensor]:
        """Parameters and buffers under timm's names; the tensors are the layers' own, not copies."""
        return {
            f"{name}.{key}": value
            for name, part in zip(self.names, self.parts, strict=True)
            for key, value in part.state_dict().items()
        }

    def load_timm_state(self, state: dict[str, Tensor]) -> None:
        """Loads these layers' values out of a whole network's state.

        Raises:
            KeyError: a value is missing.
        """
        for key, value in self.timm_state().items():
            value.copy_(state[key])


def build_layers(
    model: str, classes: int, temperature: float, seed: int, *, first: int = 0, last: int | None = None
) -> Layers:
    """Layers `first` + 1 to `last` of a freshly initialized network; by default all of them.

    A layer's initial values depend on `seed` alone, not on `first`, so branches of different depth start out alike.

    Raises:
        ValueError: the model's layer list misses a parameter or names one twice.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "initialization"))
        network = _BUILDERS[model](classes)
        network.fc = CosineClassifier(int(network.num_features), classes, temperature)
    _check_layers(model, network)
    layers = Layers(network, LAYERS[model][first:last])
    # 1.3 times faster than the default layout on CPUs (31.8 against 41.6 ms a step of 64 slim images), more on GPUs.
    return layers.to(memory_format=torch.channels_last)


def _resnet50(classes: int) -> ResNet:
    # t-ReX keeps the last BatchNorm of each block at weight 1 (papers.md, section 1, initialization).
    network: ResNet = timm.create_model("resnet50", num_classes=classes, zero_init_last=False)
    return network


def _resnet50_slim(classes: int) -> ResNet:
    """ResNet-50's topology at an eighth of its width, its 7x7 stem convolution replaced by 3x3 for 32-px images."""
    width = SLIM_WIDTH
    network = ResNet(
        Bottleneck,
        (3, 4, 6, 3),
        num_classes=classes,
        stem_type="deep",
        stem_width=width // 2,
        channels=(width, 2 * width, 4 * width, 8 * width),
        # timm's default; without it, as the papers train, 8 epochs on the pocket data reach 70 % instead of 76 %.
        zero_init_last=True,
    )
    network.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride == (1, 1):
            module.__class__ = PointwiseConv2d
    return network


_BUILDERS: dict[str, Callable[[int], ResNet]] = {"resnet50": _resnet50, "resnet50_slim": _resnet50_slim}


def _check_layers(model: str, network: nn.Module) -> None:
    listed = [
        f"{name}.{key}"
        for layer in LAYERS[model]
        for name in layer.modules
        for key, _ in network.get_submodule(name).named_parameters()
    ]
    actual = {key for key, _ in network.named_parameters()}
    if missing := actual - set(listed):
        raise ValueError(f"The layer list of {model} misses {min(missing)}.")
    if len(listed) != len(set(listed)):
        raise ValueError(f"The layer list of {model} names a parameter twice.")


def _ends(layers: tuple[Layer, ...]) -> set[int]:
    ends, position = set(), 0
    for layer in layers:
        position += len(layer.modules)
        ends.add(position)
    return ends
