"""Whether layers that a user lists compute what timm's network does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datagen.core.errors import InputError
from datagen.core.own_code import name_of
from datagen.core.wording import first_line
from trainables.models.layers import Layer
from trainables.models.networks import build_layers, new_network, randomize

RELATIVE_TOLERANCE = 1e-4
"""Of the largest logit. The same modules in the same order differ by rounding alone, 1e-6 at most."""
BATCH = 4


def check_network(model: str, network: tuple[Layer, ...], image_size: int, sources: tuple[str, ...] = ()) -> None:
    """Checks that layers listed by a user, applied in order, compute what the whole network computes.

    A list may name every parameter and yet lack an activation or a pooling, or have two modules in another order. In
    a fresh network, whose BatchNorm is all but the identity and whose residual blocks add all but nothing, that need
    not show: every value is random here. Where BatchNorm takes its statistics from the batch, modules may not change
    places that may in evaluation: both are compared.

    Raises:
        InputError: they do not, or the list is wrong, or the network cannot be built or applied.
    """
    layers = build_layers(model, 2, 0, network=network, head="linear", image_size=image_size, sources=sources)
    whole = new_network(model, 2, image_size, sources)
    name = name_of(model)
    generator = torch.Generator().manual_seed(0)
    own = layers.timm_state()
    randomize(own, generator)
    if unlisted := sorted(whole.state_dict().keys() - own.keys()):
        raise InputError(f"The layer list of {name} misses {unlisted[0]}.")
    whole.load_state_dict(own)
    # In float64: where BatchNorm sees a map of one pixel, the rounding of float32 grows to a part in a hundred.
    layers, whole = layers.double(), whole.double()
    images = torch.randn(BATCH, 3, image_size, image_size, generator=generator).double()
    theirs = f"The network {name} cannot be applied to images of {image_size} px"
    ours = f"The layers listed for {name} cannot be applied one after the other"
    for training in (False, True):
        expected = _logits(whole.train(training), images, theirs)
        found = _logits(layers.train(training), images, ours)
        if found.shape != expected.shape or not _close(found, expected):
            raise InputError(
                f"The layers listed for {name}, one after the other, do not compute what the network computes. "
                "A module without parameters may be missing, such as an activation or a pooling, or two may have "
                "changed places."
            )


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
