"""The layers of each network, as the papers count them: names of modules in timm's model, in forward order.

Freeze depth N counts these layers from the input. Both papers count 18 for ResNet-50: the stem, 16 bottlenecks and
the head (Mind the Gap, section 4.2). No torch here, so that a plan can be made without loading it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One layer: `modules` are applied one after the other."""

    name: str
    modules: tuple[str, ...]


def _resnet(blocks: tuple[int, ...]) -> tuple[Layer, ...]:
    bottlenecks = [f"layer{stage}.{block}" for stage, count in enumerate(blocks, 1) for block in range(count)]
    return (
        Layer("stem", ("conv1", "bn1", "act1", "maxpool")),
        *(Layer(name, (name,)) for name in bottlenecks),
        Layer("head", ("global_pool", "fc")),
    )


LAYERS: dict[str, tuple[Layer, ...]] = {
    "resnet50": _resnet((3, 4, 6, 3)),
    "resnet50_slim": _resnet((3, 4, 6, 3)),
}
"""Every network that can be cut, by the name used in a `TrainingSpec`."""


def layer_count(model: str) -> int:
    """Number of layers of a network, head included."""
    return len(LAYERS[model])
