"""What is kept of unfinished work, file by file: whose it is, and whether what it led to is published by now.

A file of `partial/` is spent once everything that it could help to make is published. Which study began it does not
matter: one study's end must not cost another its epochs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from datagen.core.files import unsealed
from datagen.storage.object_store import Item

RAY_TRAIN = "ray_train"
ABANDONED_SECONDS = 3600.0
"""A file that is being written for longer has no writer any more."""

Read = Callable[[str, int, int], bytes]
"""Reads some bytes of a file of the store: its name, the first byte and how many (fewer at its end)."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint of a cohort holds: the epoch and the fingerprints of its trials; none if it is damaged."""

    epoch: int
    trials: frozenset[str]


def checkpoint_of(item: Item, read: Read) -> Checkpoint:
    """What a safetensors file says of itself; only its beginning is read.

    Raises:
        OSError: the store is away.
    """
    try:
        size = int.from_bytes(read(item.key, 0, 8), "little") if item.size > 8 else 0
        metadata = json.loads(read(item.key, 8, size))["__metadata__"] if 0 < size <= item.size - 8 else {}
        return Checkpoint(int(metadata["epoch"]), frozenset(json.loads(metadata["members"])))
    except (ValueError, KeyError, TypeError):
        return Checkpoint(0, frozenset())


def trials_of(item: Item, read: Read) -> frozenset[str]:
    """The trials that a checkpoint or a note of what trials have used is about; none if that cannot be known."""
    if item.key.endswith(".safetensors"):
        return checkpoint_of(item, read).trials
    if item.key.endswith(".usage.json") and item.size:
        try:
            values = unsealed(read(item.key, 0, item.size))
            return frozenset(values)
        except (ValueError, TypeError):
            pass
    return frozenset()


def is_spent(item: Item, is_published: Callable[[str], bool], read: Read) -> bool:
    """Whether no study can need a file of `partial/` any more; False if it cannot be known.

    Args:
        item: the file; its key begins with "partial/".
        is_published: whether there is an artifact with this fingerprint, be it a failure.
        read: reads it.
    """
    place = item.key.split("/")[1]
    if place == RAY_TRAIN or is_published(owner_of(place)):
        return True
    if item.key.rpartition("/")[2].startswith("."):  # Being written: `datagen.core.files.written_whole`.
        return time.time() - item.changed > ABANDONED_SECONDS
    trials = trials_of(item, read)
    return bool(trials) and all(is_published(trial) for trial in trials)


def owner_of(place: str) -> str:
    """The fingerprint of the artifact or cohort that a folder of `partial/`, or a file beside it, belongs to.

    <fingerprint>.lock is the lock of a data set, <fingerprint>.<process> a model on its way to its place.
    """
    return place.partition(".")[0]
