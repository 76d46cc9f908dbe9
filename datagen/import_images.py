"""Imports images that exist: python -m datagen.import_images --name imagenet100 --train DIR --val DIR.

The folders are laid out as torchvision's ImageFolder expects: one sub-folder for each class; or they hold Parquet
files with a column of images and one of labels, as Hugging Face's `datasets` writes them, whose classes are matched by
WordNet id or name, never by their number. Oxford-IIIT Pet is taken as downloaded (--pets DIR), and validation images in
one folder with a list of their classes (--val-labels FILE).

Plain pictures (8-bit RGB or grey JPEG or PNG) are stored as they are, byte for byte; others become 8-bit RGB PNG as
PIL's `convert("RGB")` makes them, which drops transparency. Pictures that lie on their side by an EXIF tag are turned
upright. Exit codes: 0 all there; 1 Ray failed; 2 wrong usage or input; 130 interrupted, resumable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import click

from datagen.core.command import errors_in_a_sentence
from datagen.core.errors import InputError
from datagen.core.files import read_text
from datagen.core.progress import ImageProgress
from datagen.core.terminal import console_for_output
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
@click.option("--image-column", default="", help="Of Parquet files.  [default: found by its name or kind]")
@click.option("--label-column", default="", help="Of Parquet files.  [default: found by its name]")
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
    """Imports pictures, from a folder for each class or from Parquet files, into shards, in parallel."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"--name {name!r} is no name: use letters, digits, hyphens and underscores.")
    console = console_for_output()
    if name not in CLASS_LISTS:
        known = ", ".join(CLASS_LISTS)
        console.print(f"No class list is known for {name} (only for {known}): the folders are the classes.")
    with ImageProgress(console, "looking for the files") as progress:
        import_images(
            name,
            _splits(train, val, val_labels, pets, _Columns(image_column, label_column, label_names)),
            out or Path("store") / "imported" / name,
            rows_per_shard=rows_per_shard,
            limit_corrupt=limit_corrupt,
            resize=resize,
            duplicates=duplicates,
            address=address,
            on_progress=progress,
            say=console.print,
        )


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
        try:
            names = read_text(self.names).splitlines() if self.names else []
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Cannot read {self.names} as text: {error}.") from None
        return parquet_images(path, self.image, self.label, [name.strip() for name in names if name.strip()])


def _splits(
    train: Path | None, val: Path | None, val_labels: Path | None, pets: Path | None, columns: _Columns
) -> dict[str, Pictures]:
    """Where each split's pictures are, from the options."""
    if pets is not None:
        if train or val or val_labels:
            raise InputError("--pets stands for both splits: leave out --train, --val and --val-labels.")
        return dict(oxford_pets_lists(pets))
    if train is None and val is None:
        raise InputError("Name the folders of the splits with --train and --val, or Oxford-IIIT Pet's with --pets.")
    if val is None and val_labels is not None:
        raise InputError("--val-labels says the classes of --val: name the folder of the validation images, too.")
    found: dict[str, Pictures] = {} if train is None else {"train": columns.pictures(train)}
    if val is not None:
        found["validation"] = labelled_list(val, val_labels) if val_labels else columns.pictures(val)
    return found


if __name__ == "__main__":
    main()
