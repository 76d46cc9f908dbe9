"""Where a data set lies in a store."""

from __future__ import annotations

from pathlib import Path

from datagen.datasets.spec import DatasetSpec, RealDataset


def stored_folder(spec: DatasetSpec, store: Path) -> Path:
    """Where a data set is, or will be."""
    return spec.folder if isinstance(spec, RealDataset) else store.absolute() / "datasets" / spec.fingerprint
