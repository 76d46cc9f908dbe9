"""How machines that share no file system draw one data set together."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from datagen.datasets.spec import DatasetSpec


class SharedFolder(Protocol):
    """The shards of an unfinished data set, at a place that all machines reach. It can be pickled."""

    def here(self) -> Path:
        """The folder, on this machine, for the shards that this process draws; made if missing."""
        ...

    def send(self, shard: Path) -> None:
        """Moves a finished shard, or the record of one, from here to the common place."""
        ...

    def bring(self, shard: Path) -> None:
        """Brings a shard from the common place, if `shard` is not here."""
        ...

    def bring_dataset(self, spec: DatasetSpec) -> Path:
        """Brings the whole data set that this one is made of; returns its folder on this machine."""
        ...
