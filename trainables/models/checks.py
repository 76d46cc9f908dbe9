"""Whether layers that a user lists compute what timm's network does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datagen.core.errors import InputError
from datagen.core.wording import first_line
from trainables.models.layers import Layer
from trainables.models.networks import Layers, build_layers, timm_network

RELATIVE_TOLERANCE = 1e-4
"""Of the largest logit. The same modules in the same order differ by rounding alone, 1e-6 at most."""
BATCH = 4


def check_network(model: str, network: tuple[Layer, ...], image_size: int) -> None:
    """Checks that layers listed by a user, applied in order, compute what timm's network computes.

    A list may name every parameter and yet lack an activation or a pooling, or have two modules in another order. In
    a fresh network, whose BatchNorm is all but the identity and whose residual blocks add all but nothing, that need
    not show: every value is random here. Where BatchNorm takes its statistics from the batch, modules may not change
    places that may in evaluation: both are compared.

    Raises:
        InputError: they do not, or the list is wrong, or the network cannot be built or applied.
    """
    layers = build_layers(model, 2, 0, network=network, head="linear")
    whole = timm_network(model, 2)
    generator = torch.Generator().manual_seed(0)
    _randomize(layers, generator)
    own = layers.timm_state()
    if unlisted := sorted(whole.state_dict().keys() - own.keys()):
        raise InputError(f"The layer list of {model} misses {unlisted[0]}.")
    whole.load_state_dict(own)
    images = torch.randn(BATCH, 3, image_size, image_size, generator=generator)
    theirs = f"timm's {model} cannot be applied to images of {image_size} px"
    ours = f"The layers listed for {model} cannot be applied one after the other"
    for training in (False, True):
        expected = _logits(whole.train(training), images, theirs)
        found = _logits(layers.train(training), images, ours)
        if found.shape != expected.shape or not _close(found, expected):
            raise InputError(
                f"The layers listed for {model}, one after the other, do not compute what timm's network computes. "
                "A module without parameters may be missing, such as an activation or a pooling, or two may have "
                "changed places."
            )


def _randomize(layers: Layers, generator: torch.Generator) -> None:
    """Gives every value a size at which it matters.

    BatchNorm's weights are of either sign: with positive ones it could change places with a maximum.
    """
    with torch.no_grad():
        for key, value in layers.timm_state().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            if key.endswith("running_var"):
                value.copy_(noise.exp())
            elif value.ndim > 1:
                value.copy_(noise / value[0].numel() ** 0.5)
            else:
                value.copy_(noise)


def _logits(network: nn.Module, images: Tensor, failure: str) -> Tensor:
    """[batch, classes], with the random numbers of dropout always the same."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            logits = network(images)
        except Exception as error:
            raise InputError(f"{failure}: {first_line(error)}") from error
    if not isinstance(logits, Tensor):
        raise InputError(f"{failure}: they give a {type(logits).__name__} where logits are expected.")
    return logits


def _close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= RELATIVE_TOLERANCE * expected.abs().max())
