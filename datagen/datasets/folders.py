"""Where a data set lies in a store, and which one a user means."""

from __future__ import annotations

from pathlib import Path

from datagen.core.errors import InputError
from datagen.datasets.shards import MANIFEST
from datagen.datasets.spec import DatasetSpec, RealDataset


def stored_folder(spec: DatasetSpec, store: Path) -> Path:
    """Where a data set is, or will be."""
    return spec.folder if isinstance(spec, RealDataset) else store.absolute() / "datasets" / spec.fingerprint


def find_dataset(name: str, store: Path) -> Path:
    """The folder of a data set that is given as a folder, or as the first digits of a fingerprint in the store.

    Raises:
        InputError: there is none, or more than one.
    """
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        return folder
    if folder.is_dir():
        parts = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
        inside = f" It holds data sets: name one, for example {folder / parts[0]}." if parts else ""
        raise InputError(f"{folder} is not a data set: it has no {MANIFEST}.{inside}")
    known = sorted(path.parent for path in (store / "datasets").glob(f"*/{MANIFEST}"))
    matches = [path for path in known if path.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        listing = ", ".join(path.name[: len(name) + 8] for path in matches[:5])
        raise InputError(f"{len(matches)} data sets in {store} begin with {name}: {listing}. Give more digits.")
    raise InputError(
        f"There is no folder {name}, and no data set in {store} begins with {name}. It has {len(known)} data sets"
        + (f", for example {known[0].name[:12]}." if known else "; choose another with --store.")
    )
