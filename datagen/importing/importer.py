"""The import of real or synthetic images that exist: whole splits, published together.

The unit of work is a shard: a Ray Data task reads its files, decodes each to be sure of it, and writes the shard, which
gets its final name only when complete. Started again after a kill, the import makes the missing shards only. Nothing is
published unless every split is whole and has few enough corrupt files.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from datagen.core.errors import InputError, UnfinishedError
from datagen.core.ray_session import start_ray
from datagen.core.wording import counted, differences, listed
from datagen.datasets.shards import (
    MANIFEST,
    Manifest,
    ShardRecord,
    damaged_files,
    read_manifest,
    take_new_names,
    write_manifest,
)
from datagen.importing.duplicates import Duplicates, contents_of, find_duplicates
from datagen.importing.parquet import ParquetImages
from datagen.importing.picture_lists import PictureList, Pictures, classes_of, root_of
from datagen.importing.shard_task import COUNTS, REPORTS, cannot_write, import_shard
from datagen.importing.splits import Split, planned, resume
from datagen.recipes.class_lists import CLASS_LISTS, ImageClass, classes_found, folder_key, match_folders

DUPLICATES = ("keep", "refuse")


class ImportFailedError(UnfinishedError):
    """Ray could not do the work; finished shards are kept, so the same command goes on."""


def import_images(
    name: str,
    folders: Mapping[str, Pictures],
    out: Path,
    *,
    rows_per_shard: int = 1024,
    limit_corrupt: float = 0.001,
    resize: int | None = None,
    duplicates: str = "keep",
    origin: Mapping[str, str] | None = None,
    workers: int | None = None,
    address: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Manifest]:
    """Imports each split of a data set into `out`/<split>; what is there is not made again.

    Args:
        name: what the set is called; "imagenet100" and "oxford_pets" have their classes checked against a list.
        folders: ImageFolder of each split ("train", "validation"), Parquet files, or a list of pictures in one folder,
            of which those of other classes are passed over. Every node must see them, and `out`.
        out: where the data sets go; made if missing.
        rows_per_shard: files of one shard, which a worker holds in memory at once.
        limit_corrupt: the share (0..1) of a split's files that may be corrupt and left out.
        resize: pictures with a longer shorter side are made that small, in pixels; None leaves their size.
        duplicates: "keep" names pictures that are byte for byte the same in several splits or classes, "refuse"
            publishes nothing then.
        origin: where the images come from, for the manifest: a repository of the hub, its revision, its licence.
        workers: the most shards made at once; None: as many as the cluster has CPUs.
        address: Ray cluster to join, if Ray does not run yet; None starts one on this machine, which is left running.
        on_progress: called with the number of files that are done, and of all, when shards are done.
        say: called with sentences for the user.

    Returns:
        the manifest of each split.

    Raises:
        ImportFailedError: workers died again and again.
        InputError: classes missing or not expected, a class without pictures, too many corrupt files, duplicates that
            are not wanted, or a folder that cannot be read or written. Nothing is published then; finished shards are
            kept for the next attempt.
    """
    manifests = {split: manifest for split in folders if (manifest := _published(out / split, name, resize))}
    for split, manifest in manifests.items():
        say(f"Already there: {summary(out / split, manifest)}")
    if len(manifests) == len(folders):
        return manifests
    plain = [folder.resolve() for folder in folders.values() if isinstance(folder, Path)]
    if len(set(plain)) < len(plain):
        raise InputError(f"The splits {', '.join(folders)} are one folder. Name a different one for each.")
    classes, found, folders = _checked_classes(name, folders)
    for split, manifest in manifests.items():
        if difference := differences(manifest.class_names, [item.name for item in classes]):
            raise InputError(
                f"{out / split} has other classes than {name} has now: it {difference}. Choose another --out."
            )
    splits = []
    for split in [split for split in folders if split not in manifests]:
        splits.append(planned(split, folders[split], out, classes, found[split], rows_per_shard, resize))
    with _owned(out):
        for work in splits:
            resume(work, say)
        _make_missing(splits, [item.name for item in classes], resize, workers, address, on_progress)
        for work in splits:
            _judge(work, classes, limit_corrupt, say)
        there = {split: contents_of(out / split) for split in manifests}
        doubles = find_duplicates({**there, **{work.name: work.contents() for work in splits}})
        _judge_duplicates(doubles, duplicates, say)
        settings = {"rows_per_shard": rows_per_shard, "limit_corrupt": limit_corrupt, "resize": resize}
        for work in splits:
            manifests[work.name] = _publish(work, out, name, classes, settings, doubles, origin or {})
            say(summary(out / work.name, manifests[work.name]))
    return {split: manifests[split] for split in folders}


def _published(folder: Path, name: str, resize: int | None) -> Manifest | None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    take_new_names(folder)
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} exists and is not a data set. Remove it, or choose another --out.")
    manifest = read_manifest(folder)
    if complaints := damaged_files(folder, manifest.shards, checksums=False):
        raise InputError(f"The data set is damaged: {complaints[0]}. Remove {folder} to import it again.")
    there = (manifest.description.get("source"), manifest.description.get("settings", {}).get("resize"))
    if there != (name, resize):
        raise InputError(
            f"{folder} holds {there[0]} imported with resize {there[1]}, not {name} with resize {resize}."
            " Remove it, or choose another --out."
        )
    return manifest


def _checked_classes(
    name: str, folders: Mapping[str, Pictures]
) -> tuple[Sequence[ImageClass], dict[str, list[str]], dict[str, Pictures]]:
    """The classes in label order, each split's folders of them, and its pictures with their classes so called."""
    classes = CLASS_LISTS.get(name) or classes_found(classes_of(next(iter(folders.values()))))
    found: dict[str, list[str]] = {}
    named: dict[str, Pictures] = {}
    for split, pictures in folders.items():
        named[split] = pictures.renamed(classes) if isinstance(pictures, ParquetImages) else pictures
        wanted = classes_of(named[split])
        if isinstance(pictures, PictureList) or (isinstance(pictures, ParquetImages) and name in CLASS_LISTS):
            # A list names the pictures of all classes that its authors had.
            keys = {folder_key(name, item.folder) for item in classes}
            wanted = [folder for folder in wanted if folder_key(name, folder) in keys]
        found[split] = match_folders(root_of(pictures), wanted, name, classes)
    return classes, found, named


@contextmanager
def _owned(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".import.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"Another import is writing to {out}. Wait until it ends, or choose another --out.") from None
    except OSError as error:
        raise cannot_write(Path(error.filename or out), error) from error


def _make_missing(
    splits: Sequence[Split],
    class_names: Sequence[str],
    resize: int | None,
    workers: int | None,
    address: str | None,
    on_progress: Callable[[int, int], None],
) -> None:
    total = sum(len(shard.files) for work in splits for shard in work.shards)
    done = sum(len(shard.files) for work in splits for shard in work.shards if shard.name in work.reports)
    on_progress(done, total)
    for work in splits:
        missing = [shard for shard in work.shards if shard.name not in work.reports]
        if not missing:
            continue
        start_ray(address)
        on_progress(done, total)
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of every run, and that it has no bars
        more = {"resize": resize, "image_column": work.image_column}
        tasks = [vars(shard) | {"shard": shard.name, **more} for shard in missing]
        # One block a shard, as in datagen.generation.engine.
        made = ray.data.from_items([{"task": json.dumps(t)} for t in tasks], override_num_blocks=len(tasks)).map(
            import_shard,
            compute=ray.data.TaskPoolStrategy(size=workers),
            fn_kwargs={"source": work.source, "folder": work.partial, "class_names": list(class_names)},
        )
        try:
            for row in made.iter_rows():
                report = json.loads(row["report"])
                if "error" in report:
                    raise InputError(report["error"])
                work.reports[report["record"]["file"]] = report
                done += report["record"]["rows"] + len(report["corrupt"])
                on_progress(done, total)
        except ray.exceptions.RayError as error:
            raise ImportFailedError(f"A worker failed for good: {str(error).strip().splitlines()[-1]}") from error


def _judge(work: Split, classes: Sequence[ImageClass], limit: float, say: Callable[[str], None]) -> None:
    """Names the corrupt files, and what was left out; refuses the split if too many are corrupt."""
    corrupt, files = work.corrupt, work.files.total()
    named = listed([f"{item['file']} ({item['reason']})" for item in corrupt])
    if len(corrupt) > limit * files:
        raise InputError(
            f"{work.name}: {counted(len(corrupt), 'corrupt file')} of {files:,}, more than --limit-corrupt {limit}"
            f" allows: {named}. Repair or remove them, or raise the limit; nothing was published."
        )
    left = work.files - Counter(item["label"] for item in corrupt)
    if bare := [item.folder for label, item in enumerate(classes) if not left[label]]:
        raise InputError(f"{work.name}: every picture of {listed(bare)} is corrupt, for example {named}.")
    if corrupt:
        say(f"{work.name}: {counted(len(corrupt), 'corrupt file')} left out: {named}")
    if work.beside:
        say(f"{work.name}: {counted(work.beside.total(), 'file')} without a class left out: {_endings(work.beside)}")
    if work.others:
        say(f"{work.name}: {counted(work.others.total(), 'other file')} left out: {_endings(work.others)}")
    if work.links:
        say(f"{work.name}: {counted(len(work.links), 'link')} to folders not followed: {listed(work.links)}")


def _endings(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {ending}" for ending, count in counts.most_common())


def _judge_duplicates(doubles: Duplicates, wanted: str, say: Callable[[str], None]) -> None:
    if wanted == "refuse" and (doubles.splits or doubles.classes):
        raise InputError(
            f"{' '.join(doubles.sentences())} Remove them, or give --duplicates keep; nothing was published."
        )
    for sentence in doubles.sentences():
        say(sentence)


def _publish(
    work: Split,
    out: Path,
    name: str,
    classes: Sequence[ImageClass],
    settings: Mapping[str, Any],
    doubles: Duplicates,
    origin: Mapping[str, str],
) -> Manifest:
    records = tuple(ShardRecord(**work.reports[shard.name]["record"]) for shard in work.shards)
    description = {
        "source": name,
        **({"origin": dict(origin)} if origin else {}),
        "files": work.files.total(),
        "corrupt": [{"file": item["file"], "reason": item["reason"]} for item in work.corrupt],
        "other_files": work.others.total(),
        "left_out": {"endings": dict(work.others), "without_class": dict(work.beside), "links": work.links},
        "duplicates": doubles.counts,
        **{count: work.total(count) for count in COUNTS},
        "wordnet_ids": [item.wordnet_id for item in classes],
        "settings": dict(settings),
    }
    manifest = Manifest(work.name, tuple(item.name for item in classes), records, description)
    write_manifest(work.partial, manifest)
    work.partial.rename(out / work.name)
    shutil.rmtree(out / work.name / REPORTS, ignore_errors=True)
    return manifest


def summary(folder: Path, manifest: Manifest) -> str:
    """What was imported, in one line."""
    about, size = manifest.description, sum(shard.bytes for shard in manifest.shards) / 1e6
    return (
        f"{folder}: {counted(manifest.rows, 'image')} of {len(manifest.class_names)} classes,"
        f" {counted(len(manifest.shards), 'shard')}, {size:,.1f} MB; {about['converted']:,} converted to RGB,"
        f" {about['resized']:,} made smaller, {about.get('turned', 0):,} turned upright, {about['tiny']:,} tiny,"
        f" {len(about['corrupt']):,} corrupt left out"
    )
