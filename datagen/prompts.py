"""The command `python -m datagen.prompts`: prints the prompts of a recipe's data set."""

from __future__ import annotations

import csv
import sys

import click
from rich.table import Table

from datagen.core.command import errors_in_a_sentence
from datagen.core.terminal import console_for_output
from datagen.recipes.load import load_recipe, make_spec


@click.command(context_settings={"max_content_width": 110})
@click.argument("recipe", metavar="SPEC")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV that prompts_file=FILE reads again.")
@click.option("--most", default=3, show_default=True, type=click.IntRange(1), help="Prompts of a class in the table.")
@errors_in_a_sentence
def main(recipe: str, settings: tuple[str, ...], as_csv: bool, most: int) -> None:
    r"""Prints the prompts of SPEC, a name in experiments/datasets/ or a Python file.

    \b
    python -m datagen.prompts imagenet100_sd14 'prompt_style=c, h_c'
    """
    spec = make_spec(load_recipe(recipe), settings)
    prompts: tuple[tuple[str, ...], ...] = getattr(spec, "prompts", ())
    if as_csv:
        if not sys.stdout.isatty() and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # A file, which is read as UTF-8 again.
        writer = csv.writer(sys.stdout)
        writer.writerow(["class", "prompt"])
        writer.writerows((n, p) for n, ps in zip(spec.class_names, prompts, strict=True) for p in ps)
        return
    console = console_for_output()
    if not prompts:
        console.print(f"{recipe} has no prompts: its images are made of others.")
        return
    table = Table("label", "class", "prompts", "prompt")
    for label, (name, of_class) in enumerate(zip(spec.class_names, prompts, strict=True)):
        for number, prompt in enumerate(of_class[:most]):
            table.add_row(
                *((str(label), name, str(len(of_class))) if number == 0 else ("", "", "")), prompt or "(none)"
            )
    console.print(table)


if __name__ == "__main__":
    main()
