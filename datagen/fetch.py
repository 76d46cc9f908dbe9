"""Fetches a model of the Hugging Face hub: python -m datagen.fetch OWNER/NAME[@REVISION].

Only what is needed comes: of a diffusion pipeline its parts in one precision, as safetensors, without single-file
checkpoints. The folder says which revision it is, under which licence, and each file's sha256. Exit codes: 0 all there;
2 wrong usage or input, no access, or no agreement; 130 interrupted, resumable.
"""

from __future__ import annotations

from pathlib import Path

import click

from datagen.core.command import errors_in_a_sentence
from datagen.core.terminal import console_for_output
from datagen.hub.downloading import fetch_all
from datagen.hub.models import find_model, folder_of


@click.command(context_settings={"max_content_width": 110})
@click.argument("name", metavar="OWNER/NAME[@REVISION]")
@click.option("--into", type=click.Path(path_type=Path), help="Its folder.  [default: models/NAME]")
@click.option("--yes", is_flag=True, help="Fetch it without a question.")
@errors_in_a_sentence
def main(name: str, into: Path | None, yes: bool) -> None:
    """Fetches a diffusion pipeline, a LoRA or a network of timm's from the hub into a folder."""
    console = console_for_output()
    folder = into or folder_of(name)
    if folder.is_dir():
        console.print(f"Already there: {folder}")
        return
    model = find_model(name, folder)
    fetch_all([model], yes, console)
    console.print(f"{folder}: {len(model.files)} files")


if __name__ == "__main__":
    main()
