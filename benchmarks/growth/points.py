"""What `benchmarks.growth` measures: each function prepares one size and returns what is timed.

Modules are imported inside, so that a process holds what its own point needs and no more.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from orchestrator.planning.plan import Plan
    from orchestrator.storage.store import Store
    from trainables.input.data import ImageSet
    from trainables.loop import Cohort
    from trainables.spec import TrainingSpec

Once = Callable[[], Mapping[str, float]]
"""Does the task once; may tell "megabytes" other than those of the process that calls it."""
TRIALS_A_SEED = 36
"""Of pocket's layer importance: 2 bases and 34 transfers."""
EPOCH_IMAGES = 2048
HISTORY = [
    {"epoch": epoch, "top1": 50.0 + epoch, "top5": 90.0, "train_loss": 1 / epoch, "learning_rate": 0.1, "seconds": 1.0}
    for epoch in range(1, 13)
]


def peak_megabytes(process: int | None = None) -> float:
    """The most memory that a process (this one by default) ever held, shared pages that it touched included.

    From /proc where there is one: getrusage counts from before the process became a program of its own, and so tells
    its parent's memory where that was larger.
    """
    path = Path(f"/proc/{process or os.getpid()}/status")
    if path.exists():
        (line,) = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024 / 1e6
    if process is not None:
        return float(psutil.Process(process).memory_info().rss) / 1e6
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


@contextmanager
def plan(trials: int, folder: Path) -> Iterator[Once]:
    """A plan of pocket's layer importance over so many trials, none of them made, and its works."""
    from orchestrator.storage.store import Store

    store = Store(folder / "empty").create()

    def once() -> Mapping[str, float]:
        _planned(trials, store).tasks(os.cpu_count() or 1)
        return {}

    yield once


@contextmanager
def report(trials: int, folder: Path) -> Iterator[Once]:
    """The report of so many finished trials, which did nothing, with tables, figures and pages."""
    from orchestrator.reporting.report import write_report
    from orchestrator.reporting.tables import finished_models
    from orchestrator.storage.store import Store

    store = Store(folder / f"store {trials}").create()
    planned = _planned(trials, store)
    _finish(planned, store)

    def once() -> Mapping[str, float]:
        write_report(planned, store, finished_models(planned, store), "benchmarks.growth")
        return {}

    yield once
    shutil.rmtree(store.root)


def _planned(trials: int, store: Store) -> Plan:
    from orchestrator.planning.catalog import load
    from orchestrator.planning.plan import make_plan

    study, scale = load("layer_importance", "pocket")
    return make_plan(study, replace(scale), max(1, trials // TRIALS_A_SEED), store)


def _finish(planned: Plan, store: Store) -> None:
    """Copies of one published training under the names of all others: publishing each waits for the disk twice."""
    first, *others = planned.trials
    store.publish_model(first, HISTORY, None, lambda path: path.write_bytes(b""))
    published = store.folder(first)
    for spec in others:
        shutil.copytree(published, store.folder(spec))


@contextmanager
def load(images: int, folder: Path) -> Iterator[Once]:
    """The first process of a node that loads so many 32 px images; its megabytes are those that the node shares."""
    from trainables.input import mapped_file
    from trainables.input.data import load_images

    _write_images(folder / f"images {images}", images)

    def once() -> Mapping[str, float]:
        mapped_file.discard_unused()
        load_images(folder / f"images {images}")
        return {"megabytes": _shared_bytes(mapped_file.ROOT) / 1e6}

    former, mapped_file.ROOT = mapped_file.ROOT, folder / "mapped"  # Where nobody else's are.
    yield once
    mapped_file.discard_unused()
    mapped_file.ROOT = former
    shutil.rmtree(folder / f"images {images}")


def _shared_bytes(root: Path) -> int:
    own = root / f"mindgap-{os.getuid()}"
    return sum(path.stat().st_size for path in own.rglob("*") if path.is_file()) if own.exists() else 0


def _write_images(folder: Path, images: int) -> None:
    """A data set of 32 px PNGs in shards of 512; 64 pictures in turns, which decoding cannot tell."""
    import io

    import numpy as np
    from PIL import Image

    from datagen.datasets.shards import ImageRow, publish_dataset

    generator, pictures = np.random.default_rng(images), []
    for _ in range(64):
        buffer = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "png")
        pictures.append(buffer.getvalue())
    names = tuple(str(label) for label in range(10))
    rows = [ImageRow(pictures[n % 64], f"{n}.png", n % 10, str(n % 10), n // 10) for n in range(images)]
    shards = [rows[first : first + 512] for first in range(0, images, 512)]
    publish_dataset(folder, shards, split="train", class_names=names, description={})


@contextmanager
def epoch(images: int, folder: Path) -> Iterator[Once]:
    """An epoch of pocket's network over so many images, one thread."""
    yield _epochs_of(_cohort([_training(images, 10)], _images(images, 10)))


@contextmanager
def prompts(classes: int, folder: Path) -> Iterator[Once]:
    """The spec of a generated set of so many classes: prompts with definitions from WordNet, and its fingerprint."""
    from datagen.recipes.load import load_recipe, make_spec
    from datagen.recipes.wordnet import wordnet_definitions

    known = tuple((wordnet_id, wordnet_id) for wordnet_id in list(wordnet_definitions())[:classes])
    recipe = replace(load_recipe("pocket"), classes=known)

    def once() -> Mapping[str, float]:
        assert make_spec(recipe, ["prompt_style=c, d_c"]).fingerprint
        return {}

    yield once


@contextmanager
def sampler(classes: int, folder: Path) -> Iterator[Once]:
    """Half of the images of so many classes, the same share of each; 100 images a class."""
    import torch

    from trainables.input.data import fraction_subset

    labels = torch.arange(100 * classes) % classes

    def once() -> Mapping[str, float]:
        fraction_subset(labels, 0.5, seed=0)
        return {}

    yield once


@contextmanager
def head(classes: int, folder: Path) -> Iterator[Once]:
    """An epoch over 2,048 images of a training of nothing but the head, for so many classes."""
    base = _training(EPOCH_IMAGES, classes)
    spec = replace(base, source=base, frozen_layers=base.depth - 1)
    yield _epochs_of(_cohort([spec], _images(EPOCH_IMAGES, classes)))


@contextmanager
def branches(count: int, folder: Path) -> Iterator[Once]:
    """An epoch over 2,048 images of a cohort with so many branches, their cuts spread evenly over 17 layers."""
    base = _training(EPOCH_IMAGES, 10)
    depths = [int(17 * (number + 0.5) / count) + 1 for number in range(count)]
    members = [replace(base, source=base, frozen_layers=depth) for depth in depths]
    yield _epochs_of(_cohort(members, _images(EPOCH_IMAGES, 10)))


def _training(images: int, classes: int) -> TrainingSpec:
    from datagen.datasets.spec import RealDataset
    from trainables.spec import TrainingSpec

    names = tuple(f"class {label}" for label in range(classes))
    data = RealDataset(
        name="real", class_names=names, split="train", digest="0" * 64, rows=max(images, classes), folder=Path(".")
    )
    small: dict[str, Any] = {"model": "resnet50_slim", "image_size": 32, "minimum_crop": 0.6}
    return TrainingSpec(train=data, validation=data, epochs=100, warmup_epochs=0, batch_size=128, **small)


def _images(count: int, classes: int) -> ImageSet:
    import torch

    from trainables.input.data import ImageSet

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(count) % classes)


def _cohort(members: list[TrainingSpec], images: ImageSet, rank: int = 0, size: int = 1) -> Cohort:
    import torch

    from trainables.distributed import DistributedContext
    from trainables.loop import Cohort

    torch.set_num_threads(1)
    source = None
    if members[0].source is not None:
        alone = Cohort([members[0].source], images, images, None, DistributedContext(), {})
        source = alone.result(alone.branches[0]).state
    return Cohort(members, images, images, source, DistributedContext(rank, size), {})


def _epochs_of(cohort: Cohort) -> Once:
    numbers = iter(range(1, 101))

    def once() -> Mapping[str, float]:
        cohort.timers.start()
        cohort.train_epoch(next(numbers))
        return {}

    return once


@contextmanager
def replicas(workers: int, folder: Path) -> Iterator[Once]:
    """An epoch over 2,048 images shared out among so many data-parallel processes (gloo), a thread each."""
    context = multiprocessing.get_context("spawn")
    meeting = folder / f"meeting {workers} {os.getpid()}"
    processes, pipes = [], []
    for rank in range(workers):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=_replica, args=(rank, workers, meeting, theirs), daemon=True))
        processes[-1].start()
        theirs.close()
        pipes.append(ours)

    def once() -> Mapping[str, float]:
        for pipe in pipes:
            pipe.send("epoch")
        for pipe in pipes:
            pipe.recv()
        return {"megabytes": sum(peak_megabytes(process.pid) for process in processes)}

    for pipe in pipes:
        pipe.recv()
    yield once
    for pipe in pipes:
        pipe.send(None)
    for process in processes:
        process.join()


def _replica(rank: int, size: int, meeting: Path, pipe: Connection) -> None:
    import torch

    # Gloo otherwise listens on the interface that the host's name stands for.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if Path("/sys/class/net/lo").exists() else "lo0")
    if size > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    once = _epochs_of(_cohort([_training(EPOCH_IMAGES, 10)], _images(EPOCH_IMAGES, 10), rank, size))
    pipe.send("ready")
    while pipe.recv() is not None:
        once()
        pipe.send("done")
    if size > 1:
        torch.distributed.destroy_process_group()


@contextmanager
def actors(workers: int, folder: Path) -> Iterator[Once]:
    """Drawing 384 pocket images with so many generation actors (without Ray around them), a thread each."""
    from benchmarks.generate import Worker
    from datagen.generation.shard_generator import shard_count
    from datagen.recipes.load import absolute, load_recipe, make_spec

    recipe = make_spec(load_recipe("pocket"), ["images_per_class=39", "images_at_once=32"])
    spec = absolute(replace(recipe, rows_per_shard=32))
    drawing = [Worker("mindgap", spec, folder / f"actor {workers} {number}") for number in range(workers)]

    def once() -> Mapping[str, float]:
        for number, worker in enumerate(drawing):
            worker.send(list(range(number, shard_count(spec) - 1, workers)))  # The last shard is not whole.
        for worker in drawing:
            worker.wait()
        return {"megabytes": sum(peak_megabytes(worker.process_id) for worker in drawing)}

    yield once
    for worker in drawing:
        worker.stop()


POINTS: dict[str, Callable[[int, Path], AbstractContextManager[Once]]] = {
    function.__name__: function
    for function in (plan, report, load, epoch, prompts, sampler, head, replicas, actors, branches)
}
