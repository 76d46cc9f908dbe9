"""Lists the layers of a network: python -m trainables.models NAME."""

from __future__ import annotations

import click
from rich.table import Table

from datagen.core.command import errors_in_a_sentence
from datagen.core.terminal import console_for_output
from trainables.models.layers import LAYERS, layers_of_network
from trainables.models.networks import build_layers


def layer_table(model: str, classes: int = 1000) -> Table:
    """A network's layers with their modules and number of parameters (the head for `classes` classes, cosine)."""
    layers = build_layers(model, classes, seed=0)
    table = Table(title=f"{model}, {classes} classes", title_justify="left", box=None, pad_edge=False)
    for heading, justify in (("N", "right"), ("layer", "left"), ("modules", "left"), ("parameters", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    parts = dict(zip(layers.names, layers.parts, strict=True))
    for number, layer in enumerate(layers_of_network(model), 1):
        count = sum(parameter.numel() for name in layer.modules for parameter in parts[name].parameters())
        table.add_row(str(number), layer.name, ", ".join(layer.modules), f"{count:,}")
    return table


@click.command()
@click.argument("model", type=click.Choice(sorted(LAYERS)))
@click.option("--classes", default=1000, show_default=True, help="Classes of the head.")
@errors_in_a_sentence
def main(model: str, classes: int) -> None:
    """Lists the layers of MODEL as freeze depth counts them."""
    console_for_output().print(layer_table(model, classes))


if __name__ == "__main__":
    main()
