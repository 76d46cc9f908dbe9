"""Imports a data set of the hub: streamed into Parquet files, then into shards, as any other Parquet files are."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from datagen.core.errors import InputError, said_of
from datagen.core.identity import Allowed
from datagen.core.progress import ImageProgress
from datagen.core.settings import Setting, take
from datagen.datasets.shards import MANIFEST, read_manifest
from datagen.hub.downloading import Wanted
from datagen.hub.images import IMAGE, LABEL, HubImages, find_images, stream_images
from datagen.hub.repository import Reference
from datagen.importing.importer import import_images
from datagen.importing.parquet import parquet_images

STREAMED = ".hub"
"""Sub-folder of the set with what has come from the hub; gone once the set is published."""


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """Where the hub has a set, and how it is imported, written down before anybody asks the hub.

    Attributes:
        name: what the set is called, as `datagen.import_images` takes it.
        repository: OWNER/NAME or OWNER/NAME@REVISION.
        config: one of its configurations, if it has several.
        resize: pixels of the shorter side that larger pictures get; 0 leaves them.
        validation: the split of its validation images; "": the one that is called so.
        label: the column of labels; "": the one that is called so.
        bytes: how much there is to fetch, about, for a plan; the hub is asked before it is fetched. 0: not known.

    Raises:
        InputError: a value is not allowed.
    """

    name: str
    repository: str
    config: str = ""
    resize: int = 0
    validation: str = ""
    label: str = ""
    bytes: int = 0

    def __post_init__(self) -> None:
        with said_of("The set of the hub"):
            take(self, _SOURCE)
            Reference.parse(self.repository)

    @property
    def how_to_get(self) -> str:
        """A sentence that says how to import it."""
        options = {"config": self.config, "val-split": self.validation, "label-column": self.label}
        options |= {"resize": str(self.resize or "")}
        said = "".join(f" --{name} {value}" for name, value in options.items() if value)
        command = f"python -m datagen.import_images --name {self.name} --hub {self.repository}{said}"
        return f"Fetch them: {command}; or give --yes."

    def find(self, out: Path, address: str | None = None) -> HubImport:
        """Asks the hub for it; `out` is where the splits go.

        Raises:
            InputError: as `datagen.hub.images.find_images` does.
        """
        splits = {"train": "train", "validation": self.validation} if self.validation else None
        found = find_images(Reference.parse(self.repository), self.config, splits, label=self.label)
        return HubImport(name=self.name, images=found, out=out, resize=self.resize or None, address=address)


_SOURCE = (
    *(Setting(name, str) for name in ("name", "repository", "config", "validation", "label")),
    Setting("resize", int, Allowed(minimum=0, maximum=4096)),
    Setting("bytes", int, Allowed(minimum=0)),
)


@dataclass(frozen=True, kw_only=True)
class HubImport:
    """The import of a set of the hub.

    Attributes:
        name: what the set is called; "imagenet100" and others have their classes checked against a list.
        images: where the hub has it.
        out: where the splits go.
        resize: pixels of the shorter side that larger pictures get; None leaves them.
        rows_per_shard: images of a shard.
        limit_corrupt: the share (0..1) of a split's images that may be corrupt.
        duplicates: as `import_images` takes it.
        address: of a running Ray cluster; None starts one here.
    """

    name: str
    images: HubImages
    out: Path
    resize: int | None = None
    rows_per_shard: int = 1024
    limit_corrupt: float = 0.001
    duplicates: str = "keep"
    address: str | None = None

    @property
    def wanted(self) -> Wanted:
        """What the user is asked."""
        about, config = self.images.repository, self.images.config
        source = f"{about.reference.name}{':' if config else ''}{config}@{about.commit[:12]}"
        return Wanted("images", source, self.images.bytes, about.licence, self.out)

    def fetch(self, console: Console) -> None:
        """Streams and imports the set, unless it is there; what an interruption leaves is gone on with.

        Raises:
            InputError: the hub, the network or the disk refuses, or the images are no data set; nothing is published.
        """
        if self._is_there():
            console.print(f"Already there: {self.out}")
            return
        folders = stream_images(self.images, self.out / STREAMED, console)
        with ImageProgress(console, "looking for the images", self.name) as progress:
            import_images(
                self.name,
                {split: parquet_images(folder, IMAGE, LABEL) for split, folder in folders.items()},
                self.out,
                rows_per_shard=self.rows_per_shard,
                limit_corrupt=self.limit_corrupt,
                resize=self.resize,
                duplicates=self.duplicates,
                origin=self.images.origin,
                address=self.address,
                on_progress=progress,
                say=console.print,
            )
        shutil.rmtree(self.out / STREAMED, ignore_errors=True)

    def _is_there(self) -> bool:
        manifests = [self.out / split / MANIFEST for split in self.images.splits]
        if not all(path.is_file() for path in manifests):
            return False
        origin = read_manifest(manifests[0].parent).description.get("origin", {})
        if (origin.get("hub"), origin.get("config")) != (self.images.repository.reference.name, self.images.config):
            raise InputError(f"{self.out} holds images of another source. Remove it, or choose another --out.")
        return True
