"""A list of layers that a user gives is the network, or is refused in a sentence."""

from __future__ import annotations

import re

import pytest
import timm
import torch

from datagen.core.errors import InputError
from trainables.models.checks import check_network
from trainables.models.layers import layers_of_network
from trainables.models.networks import build_layers

RESNET18 = ("stem=conv1 bn1 act1 maxpool", "layer1", "layer2", "layer3", "layer4", "head=global_pool fc")
EFFICIENTNET = (
    "stem=conv_stem bn1",
    *("blocks.0", "blocks.1", "blocks.2.0", "blocks.2.1", "blocks.3", "blocks.4.0", "blocks.4.1", "blocks.4.2"),
    *("blocks.5.0", "blocks.5.1", "blocks.5.2", "blocks.5.3", "blocks.6"),
    "head=conv_head bn2 global_pool classifier",
)
VIT = (
    "embed=patch_embed @prepend:cls_token @add:pos_embed pos_drop patch_drop norm_pre",
    *(f"blocks.{block}" for block in range(12)),
    "head=norm @first_token fc_norm head_drop head",
)


def exchanged(layers: tuple[str, ...], one: str, other: str) -> tuple[str, ...]:
    places = {one: other, other: one}
    return tuple(places.get(layer, layer) for layer in layers)


@pytest.mark.parametrize(
    ("model", "layers", "size"),
    [
        ("resnet18", RESNET18, 32),
        ("efficientnet_b0", EFFICIENTNET, 64),
        ("vit_tiny_patch16_224", VIT, 32),
        ("mixer_s32_224", ("stem", "blocks", "head=norm @mean_token head_drop head"), 224),
    ],
)
def test_any_timm_network_can_be_cut_by_naming_its_layers(model: str, layers: tuple[str, ...], size: int) -> None:
    network = layers_of_network(model, layers)
    check_network(model, network, size)
    built = build_layers(model, 3, 0, network=network, image_size=size)
    count = len(layers) + 1
    assert [len(a) for a in built.after_layers(torch.randn(2, 3, size, size), range(count)).values()] == [2] * count


@pytest.mark.parametrize(
    ("model", "layers", "size"),
    [
        ("resnet18", ("stem=conv1 bn1 maxpool", *RESNET18[1:]), 32),
        # A fresh BatchNorm is all but the identity.
        ("resnet18", ("stem=conv1 act1 bn1 maxpool", *RESNET18[1:]), 32),
        # Equal where BatchNorm's weights are positive, and never in training.
        ("resnet18", ("stem=conv1 maxpool bn1 act1", *RESNET18[1:]), 32),
        # Residual blocks of one shape, which add almost nothing when fresh.
        ("efficientnet_b0", exchanged(EFFICIENTNET, "blocks.5.1", "blocks.5.2"), 32),
        ("efficientnet_b0", exchanged(EFFICIENTNET, "blocks.4.1", "blocks.4.2"), 64),
        ("vit_tiny_patch16_224", exchanged(VIT, "blocks.3", "blocks.4"), 224),
        ("vit_tiny_patch16_224", (*VIT[:-1], "head=norm @mean_token fc_norm head_drop head"), 224),
    ],
)
def test_layers_that_compute_something_else_are_refused(model: str, layers: tuple[str, ...], size: int) -> None:
    with pytest.raises(InputError, match="do not compute what the network computes"):
        check_network(model, layers_of_network(model, layers), size)


@pytest.mark.parametrize(
    ("model", "layers", "sentence"),
    [
        ("resnet18", RESNET18[1:], "misses bn1"),
        ("resnet18", (*RESNET18[:-1], "head=global_pool classifier"), "names classifier, which the network"),
        ("resnet18", ("stem=@channels conv1", *RESNET18[1:]), "names @channels, which the network"),
        ("resnet18", ("stem=@add:cls_token", *RESNET18[1:]), "names @add:cls_token, which the network"),
        ("resnet18", ("stem=", "=", *RESNET18[1:]), "The layer '=' of resnet18 names no module"),
        ("resnet18", (*RESNET18[:-1], "head=fc"), "cannot be applied one after the other"),
        ("resnet18", (*RESNET18[:-1], "head=global_pool fc @channels_last"), "@channels_last, is no linear classifier"),
        ("resnet18", ("fc", *RESNET18[:-1], "pool=global_pool"), "is no linear classifier"),
        ("resnet_18", RESNET18, "timm has no network 'resnet_18'. Did you mean"),
        (
            "vit_tiny_patch16_224",
            ("embed=patch_embed @add:pos_embed", *VIT[1:]),
            "misses cls_token. It is listed as @add:cls_token or, a token before the others, @prepend:cls_token.",
        ),
    ],
)
def test_a_layer_list_with_a_mistake_is_told(model: str, layers: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        check_network(model, layers_of_network(model, layers), 32)


@pytest.mark.parametrize("error", [RuntimeError("no such size\nlater lines"), AssertionError(), KeyError("x")])
def test_whatever_a_network_raises_is_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise error

    network = layers_of_network("resnet18", RESNET18)
    with monkeypatch.context() as patched:
        patched.setattr(timm.models.resnet.BasicBlock, "forward", broken)
        with pytest.raises(InputError, match=r"^The network resnet18 cannot be applied to images of 32 px: [^\n]+$"):
            check_network("resnet18", network, 32)
    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(InputError, match=r"^timm cannot build resnet18 for 2 classes: [^\n]+$"):
        check_network("resnet18", network, 32)
