"""Makes a data set with Ray Data.

Shards are drawn by a pool of actors, each holding one generator (`datagen.generation.generators`): the same code for
images from text, from other images, and in the style of paintings. The unit of task is a shard: an actor draws its
images, encodes them and writes the file, which gets its final name only when complete. Pixels never pass through Ray.
Started again after a kill, the job draws the missing shards only.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from datagen.core.device import CHOSEN
from datagen.core.errors import InputError, UnfinishedError
from datagen.core.files import write_json
from datagen.core.wording import listed
from datagen.datasets.shards import (
    Manifest,
    ShardRecord,
    damaged_files,
    read_manifest,
    record_name,
    shard_name,
    write_manifest,
)
from datagen.datasets.spec import DatasetSpec, DerivedDataset, RealDataset
from datagen.generation.shard_generator import ATTEMPTS, NOTES, SPLIT, ShardGenerator, shard_count, shard_positions
from datagen.generation.shared_folder import SharedFolder
from datagen.storage.store import DatasetStore


class GenerationFailedError(UnfinishedError):
    """Some images could not be made; the message names them. All other shards are kept, so the same command goes on."""


def generate(
    spec: DerivedDataset,
    folder: Path,
    *,
    workers: int,
    gpus_per_worker: float = 0,
    sources: Mapping[str, Path] | None = None,
    shared: SharedFolder | None = None,
    on_progress: Callable[[int], None] = lambda images: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Manifest:
    """Makes the data set in `folder`, skipping the shards that are there, and writes the manifest last.

    Args:
        spec: what to make.
        folder: where; made if missing. Every node must see it, or have `shared`.
        workers: the most actors to run at once; each takes one CPU, or `gpus_per_worker` GPUs.
        gpus_per_worker: GPUs of one actor, 1/2 for two actors on each; 0 draws on the CPU.
        sources: folders of the sets that this one is made of, by fingerprint; real ones say theirs themselves.
        shared: how nodes that do not see `folder` come by its shards.
        on_progress: called with the number of images that exist, after every shard.
        say: called with a sentence for each shard that is there and damaged, and is drawn again.

    Raises:
        GenerationFailedError: images could not be drawn in three attempts, or workers died again and again.
        InputError: networks or a source are missing or damaged, the folder cannot be written, or another process makes
            this set there.
    """
    folder = folder.absolute()
    with owned(folder):
        source = source_folder(spec, sources)
        return _generate(spec, folder, workers, gpus_per_worker, source, on_progress, say, shared)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Holds the lock on an unfinished data set, which the system frees if the owner dies.

    Raises:
        InputError: another process holds it, or the folder cannot be made.
    """
    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"Another process is making the data set in {folder}. Wait until it ends: it need not be made twice."
        ) from None
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}. Free space or choose another --store.") from error
    try:
        yield
    finally:
        lock.release()


def source_folder(spec: DerivedDataset, sources: Mapping[str, Path] | None) -> Path | None:
    """The folder of the set that `spec` is made of, None if of none.

    Raises:
        InputError: the source is not there, or is another set than the spec says.
    """
    if not spec.made_from:
        return None
    (source,) = spec.made_from
    folder = _folder_of(source, sources or {})
    rows = read_manifest(folder).rows
    if rows != source.images:
        raise InputError(f"{folder} has {rows} images instead of {source.images}. Make or import it again.")
    return folder.absolute()


def _folder_of(source: DatasetSpec, sources: Mapping[str, Path]) -> Path:
    if source.fingerprint in sources:
        return sources[source.fingerprint]
    if isinstance(source, RealDataset):
        return source.folder
    raise InputError(f"The images of {source.title or 'the source'} are not made yet. Make them first.")


def _generate(
    spec: DerivedDataset,
    folder: Path,
    workers: int,
    gpus: float,
    source: Path | None,
    on_progress: Callable[[int], None],
    say: Callable[[str], None],
    shared: SharedFolder | None = None,
) -> Manifest:
    shards = shard_count(spec)
    names = [shard_name(SPLIT, shard, shards) for shard in range(shards)]
    _keep_records(folder)
    _clear(folder, keep={*names, *map(record_name, names)})
    sizes = [len(shard_positions(spec, shard)) for shard in range(shards)]
    records = {shard: r for shard, name in enumerate(names) if (r := _existing(folder / name, sizes[shard], say))}
    missing = [shard for shard in range(shards) if shard not in records]
    on_progress(sum(record.rows for record in records.values()))
    failed: dict[int, list[str]] = {}
    seconds, left_out = 0.0 if not records else math.nan, dict[str, str]()
    for _ in range(ATTEMPTS):
        failed = {}
        for shard, result in _draw_missing(spec, folder, missing, workers, gpus, source, shared):
            seconds, left_out = seconds + result.get("seconds", 0.0), left_out | result.get("left_out", {})
            if "failed" in result:
                failed[shard] = result["failed"]
                continue
            records[shard] = ShardRecord(**result["record"])
            if shared:
                shared.bring(folder / records[shard].file)
            on_progress(sum(record.rows for record in records.values()))
        if not (missing := sorted(failed)):
            break
    if failed:
        named = [complaint for complaints in failed.values() for complaint in complaints]
        raise GenerationFailedError(
            f"{len(named)} of {spec.images:,} images could not be made in {ATTEMPTS} attempts: {listed(named)}. "
            f"The {len(records)} of {shards} shards without them are kept"
        )
    _check_rows(spec, folder, [records[shard] for shard in range(shards)])
    shutil.rmtree(folder / NOTES, ignore_errors=True)
    about = {**spec.described(), "fingerprint": spec.fingerprint, **({"left_out": left_out} if left_out else {})}
    if math.isfinite(seconds):  # A set that was continued does not know what its first shards took.
        about["seconds"] = round(seconds, 1)
    manifest = Manifest(SPLIT, spec.class_names, tuple(records[shard] for shard in range(shards)), about)
    write_manifest(folder, manifest)
    for name in names:  # After the manifest: at any time there is something to compare the shards with.
        (folder / record_name(name)).unlink(missing_ok=True)
    return manifest


def _clear(folder: Path, keep: set[str]) -> None:
    """Removes what an earlier run has left: half-written files, notes, and shards of another size."""
    notes = folder / NOTES
    notes.mkdir(exist_ok=True)
    for path in (*folder.iterdir(), *notes.iterdir()):
        if path.is_file() and path.name not in keep:
            path.unlink(missing_ok=True)


def _keep_records(folder: Path) -> None:
    """Writes the records of a set that was finished, but not moved to its place, beside its shards again."""
    try:
        records = read_manifest(folder).shards
    except InputError:
        return
    for record in records:
        write_json(folder / record_name(record.file), asdict(record))


def _existing(path: Path, rows: int, say: Callable[[str], None]) -> ShardRecord | None:
    """The record of a shard that an earlier run finished, if it is still what that run wrote."""
    if not path.is_file():
        return None
    try:
        record = ShardRecord(**json.loads(path.with_name(record_name(path.name)).read_text(encoding="utf-8")))
        complaints = damaged_files(path.parent, [record], checksums=True)
    except (OSError, ValueError, TypeError):
        complaints = [f"{path} has no record of what was written"]
    if not complaints and (record.file, record.rows) == (path.name, rows):
        return record
    say(f"{complaints[0] if complaints else f'{path} has other images'}; it is drawn again.")
    path.unlink()
    return None


def _check_rows(spec: DerivedDataset, folder: Path, records: Sequence[ShardRecord]) -> None:
    """Refuses a set that has not exactly the promised rows, each once."""
    rows: Counter[tuple[int, int]] = Counter()
    for record in records:
        if complaints := damaged_files(folder, [record], checksums=True):
            raise InputError(f"{complaints[0]}. Give the same command again to have it drawn again.")
        table = pq.read_table(folder / record.file, columns=["label", "index"])
        rows.update(zip(table["label"].to_pylist(), table["index"].to_pylist(), strict=True))
    if len(rows) != spec.images or rows.total() != spec.images:
        raise InputError(
            f"{folder} has {rows.total()} images, {len(rows)} of them different, instead of {spec.images}. "
            "Remove the folder and make the set again."
        )


def _draw_missing(
    spec: DerivedDataset,
    folder: Path,
    missing: Sequence[int],
    workers: int,
    gpus: float,
    source: Path | None,
    shared: SharedFolder | None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Draws shards on Ray, and yields each with its result, as `ShardGenerator` gives it."""
    if not missing:
        return
    import ray.data
    import ray.exceptions

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # One block a shard: small inputs otherwise collapse into one block, and one actor does all the task.
    tasks = ray.data.from_items([{"shard": shard} for shard in missing], override_num_blocks=len(missing))
    tasks.set_name(f"{spec.title} images")  # As the dashboard shows the job.
    drawn = tasks.map_batches(
        ShardGenerator,
        batch_size=1,
        # A fixed size: the pool starts with the actors that find room, and the others join when room is made. One that
        # grows by itself stayed at a single actor for a whole pocket data set.
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(missing)), max_tasks_in_flight_per_actor=2),
        num_cpus=0 if gpus else 1,
        num_gpus=gpus or None,
        # Ray starts a dead actor anew, where there is room, and gives it its shards again.
        fn_constructor_kwargs={
            "spec": spec,
            "folder": folder,
            "device": "cuda" if gpus else "mps" if os.environ.get(CHOSEN) == "mps" else "cpu",
            "source": source,
            "shared": shared,
        },
    )
    try:
        for row in drawn.iter_rows():
            result = json.loads(row["result"])
            if "refused" in result:
                raise InputError(result["refused"])
            yield row["shard"], result
    except ray.exceptions.RayError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise GenerationFailedError(f"A worker failed for good: {reason}") from error


def make_dataset(
    spec: DerivedDataset,
    store: DatasetStore,
    *,
    workers: int,
    gpus_per_worker: float = 0,
    on_progress: Callable[[int], None] = lambda images: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Makes a data set in a store, where every sweep finds it, unless it is there; returns its folder.

    What it is made of must be there. Unfinished work is kept, and gone on from.

    Raises:
        GenerationFailedError: as `generate` does.
        InputError: as `generate` does.
    """
    from datagen.datasets.pixel_statistics import dataset_statistics
    from datagen.datasets.summary import store_summary

    if there := store.find(spec):
        return there
    with store.unfinished(spec.fingerprint) as work, owned(work.folder):
        if store.find(spec) is None:
            source = source_folder(spec, {part.fingerprint: store.open(part) for part in spec.made_from})
            shared = store.shared_folder(spec.fingerprint)
            _generate(spec, work.folder, workers, gpus_per_worker, source, on_progress, say, shared)
            dataset_statistics(work.folder)
            store_summary(work.folder)
            store.publish_dataset(spec)
    return store.folder(spec)
