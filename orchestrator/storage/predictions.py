"""Predictions in the store: predictions/<fingerprint>/ with predictions.parquet, a row an image, and prediction.json.

The columns are the image's path in its set, its label, and the logits in float16, less the image's largest. Images of
classes that the training does not know are left out. The sidecar has the measures that are asked most, so that a report
need not read the rows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.core.errors import InputError
from datagen.core.files import write_json
from datagen.datasets.shards import read_manifest
from datagen.datasets.spec import DatasetSpec
from datagen.datasets.virtual import MixedDataset, SubsetDataset, UnionDataset, stored_parts
from orchestrator.evaluation.metrics import summary
from orchestrator.storage.store import Store
from trainables.evaluation.prediction_spec import PredictionSpec

ROWS, SIDECAR = "predictions.parquet", "prediction.json"


@dataclass(frozen=True)
class Predictions:
    """What a network says of a set's images of classes that it knows.

    Attributes:
        keys: of each image, its path in the set.
        labels: [n] int64, in the training's numbering.
        logits: [n, classes] float32, of all of the training's classes; the largest is 0.
        shared: the classes that the set has, of which alone a prediction is taken.
    """

    keys: list[str]
    labels: np.ndarray
    logits: np.ndarray
    shared: tuple[int, ...]


def publish_predictions(store: Store, spec: PredictionSpec, logits: np.ndarray, labels: np.ndarray) -> None:
    """Publishes the logits [n, classes] float16 of a set's images, with their labels [n] in the set's numbering."""
    if store.find(spec):
        return
    keys = keys_of(store, spec.images)
    if spec.labels:
        labels = np.asarray(spec.labels)[labels]
        kept = labels >= 0
        keys, labels, logits = [key for key, keep in zip(keys, kept, strict=True) if keep], labels[kept], logits[kept]
    names = spec.training.train.class_names
    table = pa.table(
        {
            "key": keys,
            "label": pa.array(labels, pa.int64()),
            "logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), len(names)),
        }
    )
    made = Predictions(keys, labels, logits.astype(np.float32), spec.shared_classes)
    sidecar = {
        "title": spec.title,
        "training": spec.training.fingerprint,
        "spec": spec.described(),
        "class_names": list(names),
        "shared_classes": list(spec.shared_classes),
        "metrics": summary(made.logits, made.labels, made.shared),
    }

    def write(folder: Path) -> None:
        pq.write_table(table, folder / ROWS, compression="zstd")
        write_json(folder / SIDECAR, sidecar)

    store.publish_files(spec, write)


def keys_of(store: Store, spec: DatasetSpec) -> list[str]:
    """The path of each image in its set, in the set's order.

    Raises:
        InputError: the set is put together from others and keeps neither's order.
    """
    if isinstance(spec, MixedDataset | SubsetDataset | UnionDataset):
        raise InputError(f"{spec.title} is a choice of other sets' images. Evaluate on those.")
    (stored,) = stored_parts(spec)
    return list(_paths_in(store.folder(stored)))


@functools.lru_cache(maxsize=4)
def _paths_in(folder: Path) -> tuple[str, ...]:
    """Read once for all members of a cohort."""
    paths: list[str] = []
    for shard in read_manifest(folder).shards:
        column = pq.ParquetFile(folder / shard.file).read(columns=["image.path"])["image"].combine_chunks()
        paths += column.field("path").to_pylist()
    return tuple(paths)


def read_predictions(store: Store, spec: PredictionSpec) -> Predictions:
    """The rows of published predictions.

    Raises:
        InputError: they are not published, or damaged.
    """
    folder = store.open(spec, checked=True)
    table = pq.read_table(folder / ROWS)
    logits = table["logits"].combine_chunks()
    values = logits.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1).astype(np.float32)
    return Predictions(table["key"].to_pylist(), table["label"].to_numpy(), values, spec.shared_classes)


def read_metrics(store: Store, spec: PredictionSpec) -> dict[str, Any]:
    """The measures in a sidecar; see `orchestrator.evaluation.metrics.summary`.

    Raises:
        InputError: it is damaged.
    """
    with store.sidecar(spec, SIDECAR) as values:
        found: dict[str, Any] = values["metrics"]
    return found
