"""Lists the layers of a network: python -m trainables.models NAME."""

from __future__ import annotations

import click
from rich.table import Table

from datagen.core.command import errors_in_a_sentence
from datagen.core.own_code import is_own, name_of, taken
from datagen.core.terminal import console_for_output
from trainables.models.automatic import automatic_layers
from trainables.models.checks import check_network
from trainables.models.layers import LAYERS, Layer, layers_of_network
from trainables.models.networks import build_layers


def layer_table(
    model: str, network: tuple[Layer, ...], classes: int, image_size: int, sources: tuple[str, ...]
) -> Table:
    """A network's layers with their modules and number of parameters (the head for `classes` classes, cosine)."""
    layers = build_layers(model, classes, 0, network=network, image_size=image_size, sources=sources)
    table = Table(title=f"{name_of(model)}, {classes} classes", title_justify="left", box=None, pad_edge=False)
    for heading, justify in (("N", "right"), ("layer", "left"), ("modules", "left"), ("parameters", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    parts = dict(zip(layers.names, layers.parts, strict=True))
    for number, layer in enumerate(network, 1):
        count = sum(parameter.numel() for name in layer.modules for parameter in parts[name].parameters())
        table.add_row(str(number), layer.name, ", ".join(layer.modules), f"{count:,}")
    return table


@click.command()
@click.argument("model")
@click.option("--classes", default=1000, show_default=True, help="Classes of the head.")
@click.option("--image-size", default=224, show_default=True, help="Side of the square that the network sees, pixels.")
@click.option("--setting", is_flag=True, help="Print the list as the value of layers=, to change and give back.")
@errors_in_a_sentence
def main(model: str, classes: int, image_size: int, setting: bool) -> None:
    """Lists the layers of MODEL, of timm's or your own FILE.py:NAME, as freeze depth counts them.

    Those of resnet50 and tiny_vit_5m_224 are as the papers count them, all others are found.
    """
    sources: tuple[str, ...] = ()
    if is_own(model):
        model, sources = taken(model, ())
    found = () if model in LAYERS else automatic_layers(model, image_size, sources)
    network = layers_of_network(model, found)
    if found:
        check_network(model, network, image_size, sources)
    if setting:
        click.echo(";".join(found or (f"{layer.name}={' '.join(layer.modules)}" for layer in network)))
        return
    console_for_output().print(layer_table(model, network, classes, image_size, sources))


if __name__ == "__main__":
    main()
