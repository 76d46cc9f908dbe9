"""Streams a data set of images from the hub, through `datasets`, into Parquet files from which it is imported.

A file holds some hundred images with their classes' names, never numbers: labels of the hub's sets are in an order of
their own. With every file goes the place in the stream, so that a later attempt goes on behind it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from datagen.core.errors import InputError
from datagen.core.files import write_json, written_whole
from datagen.core.progress import ImageProgress
from datagen.core.wording import as_utf8, listed
from datagen.datasets.columns import class_name, image_column, label_column
from datagen.hub.downloading import check_room
from datagen.hub.repository import Reference, Repository, look, refusals_in_a_sentence

EXPORT = "refs/convert/parquet"
"""The branch in which the hub keeps Parquet files of sets that come as a script, which is never run."""
VALIDATION_SPLITS = ("validation", "val", "valid", "test")
"""What validation images go by, in this order."""
ROWS_AT_ONCE = 256
"""Images of one file: 30 MB of ImageNet's."""
RETRIES, PAUSE = 5, 3.0
"""How often a broken connection is taken up again, and after how many seconds."""
STATE = "state.json"
IMAGE, LABEL = "image", "label"
"""The columns of the files."""


@dataclass(frozen=True)
class HubImages:
    """A set of labelled images on the hub.

    Attributes:
        repository: where it is, and its licence.
        config: one of its configurations; "": its only one, or its default.
        splits: the set's split, by ours: "train", and "validation" where it has one.
        counts: how many images a split has, as far as the hub says so.
        bytes: of all its splits' files.
        columns: of images and of labels.
        names: of the classes by number; none where labels are names.
        exported: whether the repository is the hub's own export, read in place of a script.
    """

    repository: Repository
    config: str
    splits: Mapping[str, str]
    counts: Mapping[str, int]
    bytes: int
    columns: tuple[str, str]
    names: tuple[str, ...]
    exported: bool = False

    @property
    def origin(self) -> dict[str, str]:
        """What a manifest says of where its images come from."""
        about = self.repository
        known = {"hub": about.reference.name, "config": self.config, "revision": about.commit}
        return {**known, "licence": about.licence}


def find_images(
    reference: Reference,
    config: str = "",
    splits: Mapping[str, str] | None = None,
    image: str = "",
    label: str = "",
    names: Sequence[str] = (),
) -> HubImages:
    """Asks the hub for a set of labelled images.

    Args:
        reference: its repository.
        config: one of its configurations; "" where it has only one or a default.
        splits: the set's split by ours; None: "train", and the first of `VALIDATION_SPLITS` that it has.
        image: the column of images; "": one that is called as such columns are, or the only one.
        label: the column of labels, likewise.
        names: of the classes by number, if the hub does not have them.

    Raises:
        InputError: the hub has no such set or does not give it; or it has no images, no labels, or no such split.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise InputError(
            f"HF_HUB_OFFLINE is set, so the data set {reference} cannot be fetched. Unset it, or fetch it elsewhere "
            f"(hf download {reference.name} --repo-type dataset --local-dir DIR) and import the folder: --train DIR."
        )
    repository = look(reference, "dataset")
    exported = f"{reference.name.split('/')[1]}.py" in repository.files
    if exported:
        licence = repository.licence
        repository = replace(look(Reference(reference.name, EXPORT), "dataset"), licence=licence)
    with refusals_in_a_sentence(reference, "dataset"):
        builder = _builder(repository, config, exported)
        there = list(builder.config.data_files or ())
        chosen = _chosen_splits(there, splits, reference)
        files = [str(file) for split in chosen.values() for file in builder.config.data_files[split]]
        stream = builder.as_streaming_dataset(
            split=chosen["train"] if "train" in chosen else next(iter(chosen.values()))
        )
        features = stream._resolve_features().features
    counted = builder.info.splits or {}
    columns = _columns(features, image, label, reference)
    known = tuple(as_utf8(str(name)) for name in getattr(features[columns[1]], "names", None) or names)
    if not known and str(getattr(features[columns[1]], "dtype", "")).startswith(("int", "uint")):
        raise InputError(f"The labels of {reference} are numbers without names. Give --label-names FILE.")
    return HubImages(
        repository,
        config,
        chosen,
        {ours: counted[theirs].num_examples for ours, theirs in chosen.items() if theirs in counted},
        sum(_size_of(file, repository) for file in files),
        columns,
        known,
        exported,
    )


def _builder(repository: Repository, config: str, exported: bool) -> Any:
    """The builder of `datasets`; the hub's export has a folder for each configuration."""
    import datasets

    _set_up(datasets)
    name = repository.reference.name
    if exported:
        return datasets.load_dataset_builder(name, data_dir=config or "default", revision=repository.commit)
    try:
        return datasets.load_dataset_builder(name, name=config or None, revision=repository.commit)
    except ValueError as error:
        if "BuilderConfig" in str(error) or "Config name" in str(error):
            raise InputError(f"{name} has other configurations than {config or 'a default'}: {error}") from error
        raise


def _set_up(datasets: Any) -> None:
    """Quiet, and patient for seconds rather than for a quarter of an hour."""
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    for kind in ("READ", "OPEN"):
        setattr(datasets.config, f"STREAMING_{kind}_MAX_RETRIES", RETRIES)
        setattr(datasets.config, f"STREAMING_{kind}_RETRY_INTERVAL", PAUSE)
    datasets.config.STREAMING_READ_SERVER_UNAVAILABLE_RETRY_INTERVAL = PAUSE


def _chosen_splits(there: Sequence[str], wanted: Mapping[str, str] | None, reference: Reference) -> dict[str, str]:
    if wanted is None:
        chosen = {"train": "train"} if "train" in there else {}
        validation = next((split for split in VALIDATION_SPLITS if split in there), None)
        chosen |= {"validation": validation} if validation else {}
    else:
        chosen = dict(wanted)
    if absent := [split for split in chosen.values() if split not in there]:
        raise InputError(f"{reference} has no split {absent[0]!r}. It has: {listed(there)}.")
    if not chosen:
        raise InputError(f"{reference} has no split called train. It has: {listed(there)}. Give --train-split NAME.")
    return chosen


def _columns(features: Mapping[str, Any], image: str, label: str, reference: Reference) -> tuple[str, str]:
    import datasets

    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [
        name
        for name, feature in features.items()
        if isinstance(feature, datasets.ClassLabel)
        or str(getattr(feature, "dtype", "")) in ("string", "int64", "int32")
    ]
    return image_column(image, images, str(reference)), label_column(label, labels, str(reference))


def _size_of(file: str, repository: Repository) -> int:
    """Bytes of a file that `datasets` names as hf://datasets/OWNER/NAME@REVISION/PATH."""
    path = file.split("@", 1)[-1].partition("/")[2]
    return repository.files.get(path, 0)


def stream_images(images: HubImages, folder: Path, console: Console) -> dict[str, Path]:
    """Streams each split into Parquet files below `folder`, and returns the splits' folders.

    Files that an earlier attempt has left of the same revision are kept.

    Raises:
        InputError: the hub, the network or the disk refuses; the same call goes on.
    """
    place = folder / f"{images.repository.commit[:12]}{'-' if images.config else ''}{images.config}"
    place.mkdir(parents=True, exist_ok=True)
    reference = images.repository.reference
    check_room(place, images.bytes - sum(file.stat().st_size for file in place.rglob("*.parquet")), str(reference))
    done = {}
    with refusals_in_a_sentence(reference, "dataset"):
        builder = None
        for ours, theirs in images.splits.items():
            done[ours] = place / ours
            done[ours].mkdir(exist_ok=True)
            if _state(done[ours]).get("whole"):
                continue
            builder = builder or _builder(images.repository, images.config, images.exported)
            with ImageProgress(console, f"asking the hub for {reference}", f"{reference.name}, {ours}") as progress:
                for rows in _stream_split(builder.as_streaming_dataset(split=theirs), images, done[ours]):
                    progress(rows, max(rows, images.counts.get(ours, 0)))
    return done


def _stream_split(stream: Any, images: HubImages, folder: Path) -> Iterator[int]:
    """Writes what of a stream is not in the folder yet; yields how many images are."""
    import datasets

    state = _state(folder)
    rows, files = int(state.get("rows", 0)), int(state.get("files", 0))
    for file in folder.glob("part-*.parquet"):
        if int(file.stem.removeprefix("part-")) >= files:  # Written, but the place behind it was not noted.
            file.unlink()
    (image, label), where = images.columns, str(images.repository.reference)
    stream = stream.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    if state:
        stream.load_state_dict(state["stream"])
    yield rows
    for batch in stream.iter(batch_size=ROWS_AT_ONCE):
        encoded = [_bytes(value) for value in batch[image]]
        names = [class_name(value, images.names, where) for value in batch[label]]
        table = pa.table({IMAGE: pa.array(encoded, pa.large_binary()), LABEL: pa.array(names, pa.string())})
        with written_whole(folder / f"part-{files:06d}.parquet") as aside:
            pq.write_table(table, aside, compression="none")
        rows, files = rows + len(encoded), files + 1
        write_json(folder / STATE, {"rows": rows, "files": files, "stream": stream.state_dict()})
        yield rows
    write_json(folder / STATE, {"rows": rows, "files": files, "whole": True})


def _state(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return dict(found)
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _bytes(value: Any) -> bytes | None:
    """An image's encoded bytes; those that lie beside the rows, as in folders of pictures, are read there."""
    if value is None:
        return None
    if value.get("bytes") is not None:
        return bytes(value["bytes"])
    if not value.get("path"):
        return None
    from datasets.download.streaming_download_manager import xopen

    with xopen(value["path"], "rb") as file:
        return bytes(file.read())
