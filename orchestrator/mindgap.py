"""The console script `mindgap`: one door to every command, each loaded only when it is used.

`mindgap sweep ...` is `python -m orchestrator.sweep ...`, and so for the others.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from datagen.core.settings import nearest
from datagen.core.terminal import lasting_streams


class Entry(NamedTuple):
    """The module whose `main` is the command, and what it does, in a line."""

    module: str
    does: str


COMMANDS = {
    "sweep": Entry("orchestrator.sweep", "Run a study; without one, list the studies."),
    "report": Entry("orchestrator.report", "Write a study's report from what is stored."),
    "representations": Entry("orchestrator.representations", "Compare the stored bases layer by layer."),
    "generate": Entry("datagen.generate", "Make a synthetic data set; without one, list the recipes."),
    "import": Entry("datagen.import_images", "Import pictures from folders, Parquet files or the hub."),
    "fetch": Entry("datagen.fetch", "Fetch a model from the Hugging Face hub."),
    "prompts": Entry("datagen.prompts", "Show the prompts of a data set."),
    "preview": Entry("datagen.preview", "Summarize a data set and draw a contact sheet."),
    "measure": Entry("datagen.measure", "Measure a data set, alone or against another."),
    "models": Entry("trainables.models.__main__", "List the layers of a network."),
    "clean": Entry("orchestrator.clean", "Remove unfinished work from a store."),
}


class Door(click.Group):
    """A group that imports a command when it is called, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name].module).main
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that is meant; an unknown one is refused with the nearest."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command {args[0]!r}. {nearest(args[0], list(COMMANDS))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.does) for name, entry in COMMANDS.items()])


@click.command(cls=Door, context_settings={"max_content_width": 110})
def door() -> None:
    """Ablations on the gap between synthetic and real training images.

    `mindgap COMMAND --help` says more of each command.
    """


def main() -> None:
    """The entry point."""
    with lasting_streams():
        door(prog_name="mindgap")
