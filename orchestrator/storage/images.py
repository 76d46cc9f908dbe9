"""The images of a set in this process, as trainings and predictions read them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError
from datagen.datasets.shards import damaged_files, read_manifest
from datagen.datasets.spec import DatasetSpec
from datagen.datasets.virtual import MixedDataset, SubsetDataset, TransformedDataset, VirtualDataset
from orchestrator.storage.store import Store


def images_of(store: Store, spec: DatasetSpec) -> Any:
    """A `trainables.input.data.ImageSet`: of a set that the store has, or put together from such sets."""
    if not isinstance(spec, VirtualDataset):
        return _decoded(store.folder(spec))
    from trainables.input.mixtures import mixture, subset, union
    from trainables.input.transformed import transformed

    if isinstance(spec, SubsetDataset):
        return subset(images_of(store, spec.whole), spec.per_class, spec.dataset_seed)
    if isinstance(spec, TransformedDataset):
        return transformed(images_of(store, spec.whole), spec.transformation, spec.dataset_seed)
    first, second = (images_of(store, part) for part in spec.made_from)
    if isinstance(spec, MixedDataset):
        return mixture(first, second, spec.share, spec.dataset_seed)
    return union(first, second)


def folder_of(store: Store, spec: DatasetSpec) -> Path | None:
    """Where statistics of a whole set are stored; one that is put together has no place of its own."""
    return None if isinstance(spec, VirtualDataset) else store.folder(spec)


@functools.lru_cache(maxsize=4)
def _decoded(folder: Path) -> Any:
    """Images decoded once in a process; Tune reuses its processes from work to work."""
    from trainables.input.data import load_images

    return load_images(folder, check_shards)


def check_shards(folder: Path) -> None:
    """Compares every byte of a data set's shards with their checksums, as the first process of a node does.

    Raises:
        InputError: one differs.
    """
    if complaints := damaged_files(folder, read_manifest(folder).shards, checksums=True):
        raise InputError(f"{complaints[0]}. Run the same command with --repair to have it made again.")
