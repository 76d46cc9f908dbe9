"""Generates a data set with Ray Data: shards drawn by a pool of actors, each holding one diffusion pipeline.

The unit of work is a shard: an actor draws its images, encodes them and writes the file, which gets its final name only
when complete. Pixels never pass through Ray. Started again after a kill, the job draws the missing shards only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray.data

from datagen.shards import Manifest, ShardRecord, file_sha256, shard_name, write_manifest, write_shard
from datagen.spec import GeneratedDataset

SPLIT = "train"


def shard_positions(spec: GeneratedDataset, shard: int) -> list[tuple[int, int]]:
    """The (label, index within the class) of each image in a shard; classes are interleaved, so every shard has all."""
    first = shard * spec.rows_per_shard
    last = min(first + spec.rows_per_shard, spec.images)
    return [(row % len(spec.class_names), row // len(spec.class_names)) for row in range(first, last)]


def shard_count(spec: GeneratedDataset) -> int:
    """How many shards the data set has."""
    return -(-spec.images // spec.rows_per_shard)


def generate(
    spec: GeneratedDataset,
    folder: Path,
    *,
    workers: int,
    gpus_per_worker: float = 0,
    on_progress: Callable[[int], None] = lambda images: None,
) -> Manifest:
    """Makes the data set in `folder`, skipping the shards that are there, and writes the manifest last.

    Args:
        spec: what to generate.
        folder: where; made if missing. Every node must see it.
        workers: the most actors to run at once; each takes one CPU, or `gpus_per_worker` GPUs.
        gpus_per_worker: GPUs of one actor; 0 draws on the CPU.
        on_progress: called with the number of images that exist, after every shard.

    Raises:
        InputError: the pipeline cannot be loaded or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = shard_count(spec)
    names = [shard_name(SPLIT, shard, shards) for shard in range(shards)]
    records = {shard: _existing(folder / name) for shard, name in enumerate(names) if (folder / name).exists()}
    missing = [shard for shard in range(shards) if shard not in records]
    on_progress(sum(record.rows for record in records.values()))
    for row in _draw_missing(spec, folder, missing, workers, gpus_per_worker):
        shard = row.pop("shard")
        records[shard] = ShardRecord(**row)
        on_progress(sum(record.rows for record in records.values()))
    manifest = Manifest(SPLIT, spec.class_names, tuple(records[shard] for shard in range(shards)), spec.described())
    write_manifest(folder, manifest)
    return manifest


def _draw_missing(spec: GeneratedDataset, folder: Path, missing: list[int], workers: int, gpus: float) -> Any:
    if not missing:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # One block a shard: small inputs otherwise collapse into one block, and one actor does all the work.
    tasks = ray.data.from_items([{"shard": shard} for shard in missing], override_num_blocks=len(missing))
    drawn = tasks.map_batches(
        ShardPainter,
        batch_size=1,
        # A fixed size: the pool starts with the actors that find room, and the others join when room is made. One that
        # grows by itself stayed at a single actor for a whole pocket data set.
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(missing)), max_tasks_in_flight_per_actor=2),
        num_cpus=0 if gpus else 1,
        num_gpus=gpus or None,
        fn_constructor_kwargs={"spec": spec, "folder": folder, "device": "cuda" if gpus else "cpu"},
    )
    yield from drawn.iter_rows()


class ShardPainter:
    """A Ray Data actor that turns shard numbers into shard files; returns the manifest's record of each."""

    def __init__(self, spec: GeneratedDataset, folder: Path, device: str) -> None:
        import torch

        from datagen.generators import TextToImage

        if device == "cpu":
            # One process a core with one thread each is faster than threads that share cores.
            torch.set_num_threads(1)
        self._spec, self._folder = spec, folder
        self._painter = TextToImage(spec, device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Draws and writes the shard `batch["shard"]` (one row)."""
        shard = int(batch["shard"][0])
        rows = self._painter.draw(shard_positions(self._spec, shard))
        path = self._folder / shard_name(SPLIT, shard, shard_count(self._spec))
        record = write_shard(path, rows, self._spec.class_names)
        return {
            "shard": [shard],
            "file": [record.file],
            "rows": [record.rows],
            "bytes": [record.bytes],
            "sha256": [record.sha256],
        }


def _existing(path: Path) -> ShardRecord:
    """The record of a shard that an earlier run finished: a shard under its final name is whole."""
    return ShardRecord(path.name, pq.read_metadata(path).num_rows, path.stat().st_size, file_sha256(path))
