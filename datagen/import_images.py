"""Imports real images: python -m datagen.import_images --name imagenet100 --train DIR --val DIR.

The folders are laid out as torchvision's ImageFolder expects: one sub-folder for each class. Oxford-IIIT Pet is taken
as downloaded (--pets DIR), and validation images in one folder with a list of their classes (--val-labels FILE).

The unit of work is a shard: a Ray Data task reads its files, decodes each to be sure of it, and writes the shard, which
gets its final name only when complete. Started again after a kill, the import makes the missing shards only. Nothing is
published unless every split is whole and has few enough corrupt files.

Plain pictures (8-bit RGB or grey JPEG or PNG) are stored as they are, byte for byte; others become 8-bit RGB PNG as
PIL's `convert("RGB")` makes them, which drops transparency. EXIF orientation is not applied. Both is what ImageFolder
does. Exit codes: 0 all there; 1 Ray failed; 2 wrong usage or input; 130 interrupted, resumable.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from filelock import FileLock, Timeout

from datagen.core.command import errors_in_a_sentence
from datagen.core.errors import InputError, UnfinishedError
from datagen.core.files import SUFFIXES, write_json
from datagen.core.progress import ImageProgress
from datagen.core.ray_session import start_ray
from datagen.core.terminal import console_for_output
from datagen.core.wording import as_utf8, counted, listed
from datagen.datasets.decoding import CorruptError
from datagen.datasets.pictures import checked_picture
from datagen.datasets.shards import (
    MANIFEST,
    ImageRow,
    Manifest,
    ShardRecord,
    damaged_files,
    read_manifest,
    shard_name,
    write_manifest,
    write_shard,
)
from datagen.importing.picture_lists import (
    PictureList,
    Pictures,
    classes_of,
    files_of,
    labelled_list,
    oxford_pets_lists,
    root_of,
)
from datagen.recipes.class_lists import CLASS_LISTS, ImageClass, classes_found, match_folders

REPORTS = ".import"
"""Sub-folder of an unfinished split with a report on each finished shard; gone once the split is published."""
READERS = 4
"""Threads that read ahead of the decoding in each task, for file systems that answer slowly."""


class ImportFailedError(UnfinishedError):
    """Ray could not do the work; finished shards are kept, so the same command goes on."""


def import_shard(row: dict[str, Any], source: Path, folder: Path, class_names: Sequence[str]) -> dict[str, Any]:
    """A Ray Data task: makes the shard that `row["task"]` describes, then its report; returns the report as JSON.

    Mistakes of the user's come back as {"error": sentence}: raised here, Ray would retry them and show a traceback.
    """
    task = json.loads(row["task"])
    rows, report = [], {"digest": task["digest"], "converted": 0, "resized": 0, "tiny": 0, "corrupt": []}
    try:
        with ThreadPoolExecutor(READERS) as readers:
            contents = readers.map(lambda item: _content(source / item[0], item[4]), task["files"])
            for (_, path, label, index, *_), data in zip(task["files"], contents, strict=True):
                try:
                    picture = checked_picture(data, task["resize"])
                except CorruptError as error:
                    report["corrupt"].append({"file": path, "label": label, "reason": str(error)})
                    continue
                rows.append(ImageRow(picture.encoded, path, label, class_names[label], index))
                for count in ("converted", "resized", "tiny"):
                    report[count] += getattr(picture, count)
        record = write_shard(folder / task["shard"], rows, class_names)
        report["record"] = vars(record)
        # After the shard: a shard without a report is made again, and none is ever without one in a published set.
        write_json(folder / REPORTS / f"{task['shard']}.json", report)
    except (OSError, InputError) as error:
        # What cannot be read was made an InputError without a cause by `_content`: an OSError is about writing.
        cause = error if isinstance(error, OSError) else error.__cause__
        sentence = str(_cannot_write(folder / task["shard"], cause) if isinstance(cause, OSError) else error)
        return {"report": json.dumps({"error": sentence})}
    return {"report": json.dumps(report)}


def _content(path: Path, size: int) -> bytes | None:
    """A file's bytes, None if there is none. A disk that cannot be read is no fault of the picture's."""
    try:
        return path.read_bytes() if size >= 0 else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}. Fix it, then give the same command again.") from None


@dataclass(frozen=True)
class _Shard:
    """A shard to make. A file is [path below the source, path as stored, label, index in its class, size, changed]."""

    name: str
    files: list[list[Any]]
    digest: str


@dataclass
class _Split:
    """A split that is not published yet."""

    name: str
    source: Path
    partial: Path
    shards: list[_Shard]
    files: Counter[int]
    others: int
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def corrupt(self) -> list[dict[str, Any]]:
        return [item for shard in self.shards for item in self.reports[shard.name]["corrupt"]]

    def total(self, count: str) -> int:
        return sum(report[count] for report in self.reports.values())


def interleaved(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(class, index) of all files of classes with these many: index 0 of each class, then 1 of those that have it..."""
    return [(label, index) for index in range(max(lengths)) for label, length in enumerate(lengths) if index < length]


def import_images(
    name: str,
    folders: Mapping[str, Pictures],
    out: Path,
    *,
    rows_per_shard: int = 1024,
    limit_corrupt: float = 0.001,
    resize: int | None = None,
    workers: int | None = None,
    address: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Manifest]:
    """Imports each split of a data set into `out`/<split>; what is there is not made again.

    Args:
        name: what the set is called; "imagenet100" and "oxford_pets" have their classes checked against a list.
        folders: ImageFolder of each split ("train", "validation"), or a list of pictures in one folder, of which those
            of other classes are passed over. Every node must see them, and `out`.
        out: where the data sets go; made if missing.
        rows_per_shard: files of one shard, which a worker holds in memory at once.
        limit_corrupt: the share (0..1) of a split's files that may be corrupt and left out.
        resize: pictures with a longer shorter side are made that small, in pixels; None leaves their size.
        workers: the most shards made at once; None: as many as the cluster has CPUs.
        address: Ray cluster to join, if Ray does not run yet; None starts one on this machine, which is left running.
        on_progress: called with the number of files that are done, and of all, when shards are done.
        say: called with sentences for the user.

    Returns:
        the manifest of each split.

    Raises:
        ImportFailedError: workers died again and again.
        InputError: classes missing or not expected, a class without pictures, too many corrupt files, or a folder that
            cannot be read or written. Nothing is published then; finished shards are kept for the next attempt.
    """
    manifests = {split: manifest for split in folders if (manifest := _published(out / split, name, resize))}
    for split, manifest in manifests.items():
        say(f"Already there: {_summary(out / split, manifest)}")
    if len(manifests) == len(folders):
        return manifests
    plain = [folder.resolve() for folder in folders.values() if isinstance(folder, Path)]
    if len(set(plain)) < len(plain):
        raise InputError(f"The splits {', '.join(folders)} are one folder. Name a different one for each.")
    classes, found = _checked_classes(name, folders)
    if any(manifest.class_names != tuple(item.name for item in classes) for manifest in manifests.values()):
        raise InputError(f"{out} holds a split with other classes than {name} has now. Choose another --out.")
    splits = []
    for split in [split for split in folders if split not in manifests]:
        splits.append(_planned(split, folders[split], out, classes, found[split], rows_per_shard, resize))
    with _owned(out):
        for work in splits:
            _resume(work, say)
        _make_missing(splits, [item.name for item in classes], resize, workers, address, on_progress)
        for work in splits:
            _judge(work, classes, limit_corrupt, say)
        settings = {"rows_per_shard": rows_per_shard, "limit_corrupt": limit_corrupt, "resize": resize}
        for work in splits:
            manifests[work.name] = _publish(work, out, name, classes, settings)
            say(_summary(out / work.name, manifests[work.name]))
    return {split: manifests[split] for split in folders}


def _published(folder: Path, name: str, resize: int | None) -> Manifest | None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
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


def _checked_classes(name: str, folders: Mapping[str, Pictures]) -> tuple[Sequence[ImageClass], dict[str, list[str]]]:
    """The classes in label order, and each split's folders of them."""
    classes = CLASS_LISTS.get(name) or classes_found(classes_of(next(iter(folders.values()))))
    found = {}
    for split, pictures in folders.items():
        wanted = pictures.only(name, classes) if isinstance(pictures, PictureList) else pictures
        found[split] = match_folders(root_of(pictures), classes_of(wanted), name, classes)
    return classes, found


@contextmanager
def _owned(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".import.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"Another import is writing to {out}. Wait until it ends, or choose another --out.") from None
    except OSError as error:
        raise _cannot_write(Path(error.filename or out), error) from error


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(f"Cannot write {path}: {error.strerror or error}. Free space, or choose another --out.")


def _planned(
    split: str,
    source: Pictures,
    out: Path,
    classes: Sequence[ImageClass],
    folders: Sequence[str],
    rows_per_shard: int,
    resize: int | None,
) -> _Split:
    """Looks for the files and shares them out among shards."""
    scanned = [files_of(source, folder) for folder in folders]
    if empty := [folder for folder, (files, _) in zip(folders, scanned, strict=True) if not files]:
        raise InputError(f"{root_of(source)} has no pictures ({', '.join(SUFFIXES)}) in {listed(empty)}. Add some.")
    rows = []
    for label, index in interleaved([len(files) for files, _ in scanned]):
        path, file = scanned[label][0][index]
        # As the class list spells the folder: the same pictures give the same data set, however a user spells it.
        stored = as_utf8(f"{classes[label].folder}/{file.name}")
        rows.append([path, stored, label, index, file.size, file.changed_ns])
    pieces = [rows[first : first + rows_per_shard] for first in range(0, len(rows), rows_per_shard)]
    shards = []
    for number, files in enumerate(pieces):
        made_of = json.dumps([[file[1:] for file in files], [item.name for item in classes], resize])
        digest = hashlib.sha256(made_of.encode()).hexdigest()
        shards.append(_Shard(shard_name(split, number, len(pieces)), files, digest))
    counts = Counter({label: len(files) for label, (files, _) in enumerate(scanned)})
    others = sum(others for _, others in scanned)
    return _Split(split, root_of(source).resolve(), out.resolve() / f"{split}.partial", shards, counts, others)


def _resume(work: _Split, say: Callable[[str], None]) -> None:
    """Makes the partial folder, or clears it of what is not of use and reads the reports of what is."""
    (work.partial / REPORTS).mkdir(parents=True, exist_ok=True)
    for path in work.partial.iterdir():  # of an earlier run: of other files, or half-written
        if path.is_file() and path.name not in {shard.name for shard in work.shards}:
            path.unlink()
    work.reports = {shard.name: report for shard in work.shards if (report := _existing(work.partial, shard, say))}


def _existing(partial: Path, shard: _Shard, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The report of a shard that an earlier run made of the same files."""
    try:
        report: dict[str, Any] = json.loads((partial / REPORTS / f"{shard.name}.json").read_text(encoding="utf-8"))
        same, record = report["digest"] == shard.digest, ShardRecord(**report["record"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # A report that a broken disk has left.
        say(f"The report on {partial / shard.name} is damaged; the shard is made again.")
        return None
    if same and (complaints := damaged_files(partial, [record], checksums=True)):
        say(f"{complaints[0]}; the shard is made again.")
        return None
    return report if same else None


def _make_missing(
    splits: Sequence[_Split],
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
        tasks = [vars(shard) | {"shard": shard.name, "resize": resize} for shard in missing]
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


def _judge(work: _Split, classes: Sequence[ImageClass], limit: float, say: Callable[[str], None]) -> None:
    """Names the corrupt files; refuses the split if there are too many of them."""
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


def _publish(
    work: _Split, out: Path, name: str, classes: Sequence[ImageClass], settings: Mapping[str, Any]
) -> Manifest:
    records = tuple(ShardRecord(**work.reports[shard.name]["record"]) for shard in work.shards)
    description = {
        "source": name,
        "files": work.files.total(),
        "corrupt": [{"file": item["file"], "reason": item["reason"]} for item in work.corrupt],
        "other_files": work.others,
        **{count: work.total(count) for count in ("converted", "resized", "tiny")},
        "wordnet_ids": [item.wordnet_id for item in classes],
        "settings": dict(settings),
    }
    manifest = Manifest(work.name, tuple(item.name for item in classes), records, description)
    write_manifest(work.partial, manifest)
    work.partial.rename(out / work.name)
    shutil.rmtree(out / work.name / REPORTS, ignore_errors=True)
    return manifest


def _summary(folder: Path, manifest: Manifest) -> str:
    about, size = manifest.description, sum(shard.bytes for shard in manifest.shards) / 1e6
    return (
        f"{folder}: {counted(manifest.rows, 'image')} of {len(manifest.class_names)} classes,"
        f" {counted(len(manifest.shards), 'shard')}, {size:,.1f} MB; {about['converted']:,} converted to RGB,"
        f" {about['resized']:,} made smaller, {about['tiny']:,} tiny, {len(about['corrupt']):,} corrupt left out"
    )


def _splits(train: Path | None, val: Path | None, val_labels: Path | None, pets: Path | None) -> dict[str, Pictures]:
    """Where each split's pictures are, from the options."""
    if pets is not None:
        if train or val or val_labels:
            raise InputError("--pets stands for both splits: leave out --train, --val and --val-labels.")
        return dict(oxford_pets_lists(pets))
    if train is None or val is None:
        raise InputError("Name the folders of both splits with --train and --val, or Oxford-IIIT Pet's with --pets.")
    return {"train": train, "validation": labelled_list(val, val_labels) if val_labels else val}


@click.command(context_settings={"max_content_width": 110})
@click.option("--name", required=True, help="imagenet100 or oxford_pets, whose classes are checked, or any other name.")
@click.option("--train", type=click.Path(path_type=Path), help="Folder of the training images.")
@click.option("--val", type=click.Path(path_type=Path), help="Folder of the validation images.")
@click.option(
    "--val-labels", type=click.Path(path_type=Path), help="WordNet ids, if all validation images lie in --val."
)
@click.option(
    "--pets", type=click.Path(path_type=Path), help="Oxford-IIIT Pet as downloaded, in place of both folders."
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.  [default: store/imported/NAME]")
@click.option("--rows-per-shard", default=1024, show_default=True, type=click.IntRange(1))
@click.option("--limit-corrupt", default=0.001, show_default=True, type=click.FloatRange(0, 1), help="Share allowed.")
@click.option("--resize", type=click.IntRange(1), help="Make larger pictures this many pixels on the shorter side.")
@click.option("--address", help="Join a running Ray cluster, for example auto or ray://host:10001.")
@errors_in_a_sentence
def main(
    name: str,
    train: Path | None,
    val: Path | None,
    val_labels: Path | None,
    pets: Path | None,
    out: Path | None,
    rows_per_shard: int,
    limit_corrupt: float,
    resize: int | None,
    address: str | None,
) -> None:
    """Imports pictures that lie in a folder for each class into Parquet shards, in parallel."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"--name {name!r} is no name: use letters, digits, hyphens and underscores.")
    console = console_for_output()
    if name not in CLASS_LISTS:
        known = ", ".join(CLASS_LISTS)
        console.print(f"No class list is known for {name} (only for {known}): the folders are the classes.")
    with ImageProgress(console, "looking for the files") as progress:
        import_images(
            name,
            _splits(train, val, val_labels, pets),
            out or Path("store") / "imported" / name,
            rows_per_shard=rows_per_shard,
            limit_corrupt=limit_corrupt,
            resize=resize,
            address=address,
            on_progress=progress,
            say=console.print,
        )


if __name__ == "__main__":
    main()
