"""Imports images that exist: python -m datagen.import_images --name imagenet100 --train DIR --val DIR.

The folders are laid out as torchvision's ImageFolder expects: one sub-folder for each class; or they hold Parquet
files with a column of images and one of labels, as Hugging Face's `datasets` writes them, whose classes are matched by
WordNet id or name, never by their number; --hub OWNER/NAME streams such a set from the Hugging Face hub. Oxford-IIIT
Pet is taken as downloaded (--pets DIR), and validation images in one folder with a list of their classes (--val-labels
FILE).

Plain pictures (8-bit RGB or grey JPEG or PNG) are stored as they are, byte for byte; others become 8-bit RGB PNG as
PIL's `convert("RGB")` makes them, which drops transparency. Pictures that lie on their side by an EXIF tag are turned
upright. Exit codes: 0 all there; 1 Ray failed; 2 wrong usage or input; 130 interrupted, resumable.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import click

from datagen.core.command import errors_in_a_sentence
from datagen.core.errors import InputError
from datagen.core.files import read_text
from datagen.core.progress import ImageProgress
from datagen.core.terminal import console_for_output
from datagen.hub.downloading import fetch_all
from datagen.hub.images import HubImages, find_images
from datagen.hub.repository import Reference
from datagen.importing.from_hub import HubImport
from datagen.importing.importer import DUPLICATES, import_images
from datagen.importing.parquet import is_parquet, parquet_images
from datagen.importing.picture_lists import Pictures, labelled_list, oxford_pets_lists
from datagen.recipes.class_lists import CLASS_LISTS


@click.command(context_settings={"max_content_width": 110})
@click.option("--name", required=True, help="imagenet100 or oxford_pets, whose classes are checked, or any other name.")
@click.option("--train", type=click.Path(path_type=Path), help="Folder of the training images, or of Parquet files.")
@click.option("--val", type=click.Path(path_type=Path), help="Likewise, of the validation images.")
@click.option(
    "--val-labels", type=click.Path(path_type=Path), help="WordNet ids, if all validation images lie in --val."
)
@click.option(
    "--pets", type=click.Path(path_type=Path), help="Oxford-IIIT Pet as downloaded, in place of both folders."
)
@click.option(
    "--hub", metavar="OWNER/NAME[@REVISION]", help="A data set of the Hugging Face hub, in place of both folders."
)
@click.option("--config", default="", help="Of a hub's set, where it has several.")
@click.option("--train-split", help="Of a hub's set.  [default: train]")
@click.option("--val-split", help="Of a hub's set.  [default: validation, else test, else none]")
@click.option("--yes", is_flag=True, help="Fetch from the hub without a question.")
@click.option(
    "--image-column", default="", help="Of Parquet files and the hub's.  [default: found by its name or kind]"
)
@click.option("--label-column", default="", help="Likewise.  [default: found by its name]")
@click.option("--label-names", type=click.Path(path_type=Path), help="Names of the classes by number, one a line.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.  [default: store/imported/NAME]")
@click.option("--rows-per-shard", default=1024, show_default=True, type=click.IntRange(1))
@click.option("--limit-corrupt", default=0.001, show_default=True, type=click.FloatRange(0, 1), help="Share allowed.")
@click.option("--resize", type=click.IntRange(1), help="Make larger pictures this many pixels on the shorter side.")
@click.option(
    "--duplicates",
    default="keep",
    show_default=True,
    type=click.Choice(DUPLICATES),
    help="Pictures that are the same in several splits or classes.",
)
@click.option("--address", help="Join a running Ray cluster, for example auto or ray://host:10001.")
@errors_in_a_sentence
def main(
    name: str,
    train: Path | None,
    val: Path | None,
    val_labels: Path | None,
    pets: Path | None,
    hub: str | None,
    config: str,
    train_split: str | None,
    val_split: str | None,
    yes: bool,
    image_column: str,
    label_column: str,
    label_names: Path | None,
    out: Path | None,
    rows_per_shard: int,
    limit_corrupt: float,
    resize: int | None,
    duplicates: str,
    address: str | None,
) -> None:
    """Imports pictures, from a folder for each class, from Parquet files or from the hub, into shards, in parallel."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"--name {name!r} is no name: use letters, digits, hyphens and underscores.")
    console = console_for_output()
    if name not in CLASS_LISTS:
        known = ", ".join(CLASS_LISTS)
        console.print(f"No class list is known for {name} (only for {known}): the folders are the classes.")
    columns, into = _Columns(image_column, label_column, label_names), out or Path("store") / "imported" / name
    how = _How(rows_per_shard, limit_corrupt, resize, duplicates, address)
    if hub is not None:
        if train or val or val_labels or pets:
            raise InputError("--hub stands for all splits: leave out --train, --val, --val-labels and --pets.")
        with console.status("Asking the hub") if console.is_terminal else nullcontext():
            found = columns.on_the_hub(hub, config, train_split, val_split)
        fetch_all([HubImport(name=name, images=found, out=into, **vars(how))], yes, console)
        return
    if config or train_split or val_split:
        raise InputError("--config, --train-split and --val-split are of a hub's set: name it with --hub.")
    with ImageProgress(console, "looking for the files") as progress:
        splits = _splits(train, val, val_labels, pets, columns)
        import_images(name, splits, into, **vars(how), on_progress=progress, say=console.print)


@dataclass(frozen=True)
class _How:
    """How pictures become shards, wherever they come from."""

    rows_per_shard: int
    limit_corrupt: float
    resize: int | None
    duplicates: str
    address: str | None


@dataclass(frozen=True)
class _Columns:
    """Where Parquet files have their images and labels, from the options; "" and None: as such files usually have."""

    image: str
    label: str
    names: Path | None

    def pictures(self, path: Path) -> Pictures:
        """A split's pictures: Parquet files, or a folder of class folders."""
        if not is_parquet(path):
            return path
        return parquet_images(path, self.image, self.label, self._names())

    def on_the_hub(self, name: str, config: str, train: str | None, validation: str | None) -> HubImages:
        """A set of the hub."""
        given = {"train": train, "validation": validation}
        splits = {ours: theirs for ours, theirs in given.items() if theirs}
        reference = Reference.parse(name)
        return find_images(reference, config, splits or None, self.image, self.label, self._names())

    def _names(self) -> list[str]:
        try:
            names = read_text(self.names).splitlines() if self.names else []
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Cannot read {self.names} as text: {error}.") from None
        return [name.strip() for name in names if name.strip()]


def _splits(
    train: Path | None, val: Path | None, val_labels: Path | None, pets: Path | None, columns: _Columns
) -> dict[str, Pictures]:
    """Where each split's pictures are, from the options."""
    if pets is not None:
        if train or val or val_labels:
            raise InputError("--pets stands for both splits: leave out --train, --val and --val-labels.")
        return dict(oxford_pets_lists(pets))
    if train is None and val is None:
        raise InputError(
            "Name the folders of the splits with --train and --val, a set of the hub with --hub, or Oxford-IIIT Pet's "
            "with --pets."
        )
    if val is None and val_labels is not None:
        raise InputError("--val-labels says the classes of --val: name the folder of the validation images, too.")
    found: dict[str, Pictures] = {} if train is None else {"train": columns.pictures(train)}
    if val is not None:
        found["validation"] = labelled_list(val, val_labels) if val_labels else columns.pictures(val)
    return found


if __name__ == "__main__":
    main()
