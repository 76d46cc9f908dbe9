"""Which data set a user means."""

from __future__ import annotations

from pathlib import Path

from datagen.core.errors import InputError
from datagen.datasets.shards import MANIFEST
from datagen.storage.store import DatasetStore


def find_dataset(name: str, location: str) -> Path:
    """The folder of a data set that is given as a folder, or as the first digits of a fingerprint in a store.

    One in an object store is brought to this machine.

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
    store = DatasetStore(location).look()
    known = store.published()
    matches = [fingerprint for fingerprint in known if fingerprint.startswith(name)]
    if len(matches) == 1:
        return store.open_published(matches[0])
    if matches:
        listing = ", ".join(fingerprint[: len(name) + 8] for fingerprint in matches[:5])
        raise InputError(f"{len(matches)} data sets in {location} begin with {name}: {listing}. Give more digits.")
    raise InputError(
        f"There is no folder {name}, and no data set in {location} begins with {name}. It has {len(known)} data sets"
        + (f", for example {known[0][:12]}." if known else "; choose another with --store.")
    )
