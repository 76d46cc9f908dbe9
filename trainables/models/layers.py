"""The layers of each network, as the papers count them: names of modules in timm's model, in forward order.

Freeze depth N counts these layers from the input. The papers count 18 for ResNet-50 (stem, 16 bottlenecks, head;
Mind the Gap, section 4.2) and 18 for TinyViT-5M (Fine-Tuning Role, appendix). No torch here, so that a plan can be
made without loading it. Of any other timm classifier a `TrainingSpec` names the `layers`, the linear classifier as the
last module of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datagen.core.errors import InputError

CHANNELS_LAST, CHANNELS_FIRST = "@channels_last", "@channels_first"
FIRST_TOKEN, MEAN_TOKEN = "@first_token", "@mean_token"
ADD, PREPEND = "@add:", "@prepend:"


@dataclass(frozen=True)
class Layer:
    """One layer: `modules` are applied one after the other.

    A name with "@" stands for what a network does between its modules:

    - `@channels_last`: [batch, channels, height, width] to [batch, height, width, channels]; `@channels_first`: back.
    - `@add:pos_embed`: adds a parameter that no module of the network holds.
    - `@prepend:cls_token`: puts a parameter [1, n, channels] before the tokens [batch, tokens, channels].
    - `@first_token`: [batch, tokens, channels] to the first token [batch, channels]; `@mean_token`: to the mean of all,
      also of [batch, height, width, channels].
    """

    name: str
    modules: tuple[str, ...]


def _resnet(blocks: tuple[int, ...]) -> tuple[Layer, ...]:
    bottlenecks = [f"layer{stage}.{block}" for stage, count in enumerate(blocks, 1) for block in range(count)]
    return (
        Layer("stem", ("conv1", "bn1", "act1", "maxpool")),
        *(Layer(name, (name,)) for name in bottlenecks),
        Layer("head", ("global_pool", "fc")),
    )


def _tiny_vit(depths: tuple[int, ...]) -> tuple[Layer, ...]:
    layers = [Layer("patch_embed", ("patch_embed",))]
    for stage, depth in enumerate(depths):
        blocks = [f"stages.{stage}.blocks.{block}" for block in range(depth)]
        if stage == 0:
            layers += [Layer(name, (name,)) for name in blocks]
            continue
        # From the second stage on timm's blocks are attention and want channels last.
        downsample = f"stages.{stage}.downsample"
        layers.append(Layer(downsample, (downsample, CHANNELS_LAST)))
        layers += [Layer(name, (name,)) for name in blocks[:-1]]
        layers.append(Layer(blocks[-1], (blocks[-1], CHANNELS_FIRST)))
    # The papers' layer 17 is the last norm, after pooling; layer 18 the classifier alone.
    layers.append(Layer("head.norm", ("head.global_pool", "head.norm")))
    layers.append(Layer("head", ("head.flatten", "head.pre_logits", "head.drop", "head.fc")))
    return tuple(layers)


LAYERS: dict[str, tuple[Layer, ...]] = {
    "resnet50": _resnet((3, 4, 6, 3)),
    "resnet50_slim": _resnet((3, 4, 6, 3)),
    "tiny_vit_5m_224": _tiny_vit((2, 2, 6, 2)),
}
"""Every network that can be cut, by the name used in a `TrainingSpec`."""


def layers_of_network(model: str, own: Sequence[str] = ()) -> tuple[Layer, ...]:
    """The layers of a network, head included.

    Args:
        model: a key of `LAYERS`, or with `own` any name of timm's.
        own: the layers of another network, each "name=module module ..." or the name of its one module.

    Raises:
        InputError: the network is not known and `own` is empty, or a layer of `own` names no module.
    """
    if own:
        return tuple(_listed(model, text) for text in own)
    if model not in LAYERS:
        raise InputError(
            f"model must be one of {', '.join(LAYERS)}, not {model!r}; of another network of timm's name the layers."
        )
    return LAYERS[model]


def _listed(model: str, text: str) -> Layer:
    name, _, modules = text.partition("=")
    if not (modules or name).split():
        raise InputError(f"The layer {text!r} of {model} names no module. Write it as name=module module.")
    return Layer(name, tuple((modules or name).split()))


def classifier_name(layers: Sequence[Layer]) -> str:
    """The name of a network's classifier, the last module of its last layer."""
    return layers[-1].modules[-1]
