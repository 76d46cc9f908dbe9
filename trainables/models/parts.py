"""What a layer list names: modules of timm's network, and what the network does between them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainables.models.layers import ADD, CHANNELS_FIRST, CHANNELS_LAST, FIRST_TOKEN, MEAN_TOKEN, PREPEND


class Between(nn.Module):
    """A step without parameters between two modules of a network."""

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._step = step

    def forward(self, activation: Tensor) -> Tensor:
        """The activation after the step."""
        return self._step(activation)


class Added(nn.Module):
    """Adds a parameter that broadcasts over the batch, such as a position embedding."""

    def __init__(self, value: nn.Parameter) -> None:
        super().__init__()
        self.value = value

    def forward(self, activation: Tensor) -> Tensor:
        """The activation plus the parameter, of the activation's shape."""
        return activation + self.value


class Prepended(nn.Module):
    """Puts tokens that are a parameter [1, n, channels] before those of the images, such as a class token."""

    def __init__(self, value: nn.Parameter) -> None:
        super().__init__()
        self.value = value

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, tokens, channels] to [batch, n + tokens, channels]."""
        # Under autocast the tokens may be of lower precision than the parameter.
        return torch.cat([self.value.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], dim=1)


def _channels_last(activation: Tensor) -> Tensor:
    return activation.permute(0, 2, 3, 1)


def _channels_first(activation: Tensor) -> Tensor:
    return activation.permute(0, 3, 1, 2)


def _first_token(tokens: Tensor) -> Tensor:
    return tokens[:, 0]


def _mean_token(tokens: Tensor) -> Tensor:
    return tokens.flatten(1, -2).mean(1)


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    CHANNELS_LAST: _channels_last,
    CHANNELS_FIRST: _channels_first,
    MEAN_TOKEN: _mean_token,  # Before the first: of a single token, which is both, the mean is meant.
    FIRST_TOKEN: _first_token,
}
"""What a network does between its modules without a parameter."""


def part_of(network: nn.Module, name: str) -> nn.Module:
    """What a layer list names: a module of the network, or a name with "@" (`trainables.models.layers.Layer`).

    Raises:
        AttributeError: the network has no such module or parameter.
        ValueError: no step has this name.
    """
    if name in STEPS:
        return Between(STEPS[name])
    for prefix, kind in ((ADD, Added), (PREPEND, Prepended)):
        if name.startswith(prefix):
            return kind(network.get_parameter(name.removeprefix(prefix)))
    if name.startswith("@"):
        raise ValueError(f"A network has no step {name!r} between its modules.")
    return network.get_submodule(name)


def key_in_network(name: str, key: str) -> str:
    """Timm's name of a value of a part: of `name` in a layer list, `key` in its own state."""
    for prefix in (ADD, PREPEND):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return f"{name}.{key}"
