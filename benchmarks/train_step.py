"""Samples a second of mindgap's training loop beside a plain torch loop and timm's own, and of the views alone.

All on the same images, interleaved in rounds, in one process. python -m benchmarks.train_step [--full] writes
`benchmarks/results/train_step.json` and prints a table in Markdown. The ways:

(a) mindgap: `trainables.loop.Cohort.train_epoch`, timers included.
(b) plain: a torch loop with the same network, optimizer, views and images, and nothing else.
(c) timm: its network, optimizer, loader and transforms (random resized crop and flip), as its training script has them.
(d) compiled: (b) with torch.compile, on a GPU.
"""

from __future__ import annotations

import io
import itertools
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import timm
import timm.data
import timm.optim
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from datagen import pocket
from datagen.datasets.shards import ImageRow, publish_dataset, read_manifest, read_rows
from datagen.datasets.spec import RealDataset
from trainables.augmentations.apply import Augmenter
from trainables.distributed import DistributedContext
from trainables.input.data import ImageSet, load_images
from trainables.input.pixel_statistics import IMAGENET
from trainables.loop import Cohort
from trainables.models.networks import PointwiseConv2d, build_layers
from trainables.recipe import build_optimizer
from trainables.spec import AUGMENTATIONS, TrainingSpec
from trainables.trunk import mixed_precision

WAYS = {
    "mindgap": "(a) mindgap's loop",
    "plain": "(b) plain torch loop, same network, views and images",
    "timm": "(c) timm's network, optimizer and loader",
    "compiled": "(d) as (b), with torch.compile",
}
MOST_EPOCHS = 1000
Epoch = Callable[[], float]
"""Trains one epoch and returns its seconds."""


@dataclass(frozen=True)
class Setting:
    """What is trained: changes to the base spec, and which ways train it."""

    name: str
    changes: dict[str, Any]
    ways: tuple[str, ...] = ("mindgap", "plain", "timm")


@dataclass(frozen=True)
class Bench:
    """The images of a run, where they are, and what trains on them."""

    folder: Path
    images: ImageSet
    spec: TrainingSpec
    device: torch.device
    workers: int

    @property
    def samples(self) -> int:
        """Images of an epoch."""
        return max(1, len(self.images) // self.spec.batch_size) * self.spec.batch_size

    def way(self, name: str, setting: Setting) -> Epoch:
        """A way to train an epoch of a setting."""
        bench = replace(self, spec=replace(self.spec, **setting.changes))
        makers: dict[str, Callable[[Bench], Epoch]] = {
            "mindgap": _mindgap,
            "plain": _plain,
            "timm": _timm,
            "compiled": lambda bench: _plain(bench, compiled=True),
        }
        return makers[name](bench)


def _mindgap(bench: Bench) -> Epoch:
    cohort = Cohort([bench.spec], bench.images, bench.images, None, DistributedContext(device=bench.device), {})
    numbers = itertools.count(1)

    def epoch() -> float:
        started = time.perf_counter()
        cohort.timers.start()
        cohort.train_epoch(next(numbers))
        wait(bench.device)
        return time.perf_counter() - started

    return epoch


def _plain(bench: Bench, compiled: bool = False) -> Epoch:
    spec, device, images = bench.spec, bench.device, bench.images
    layers = build_layers(spec.model, len(spec.train.class_names), seed=0).to(device)
    optimizer = build_optimizer(layers, spec)
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.01
    network = torch.compile(layers) if compiled else layers
    views, numbers = Augmenter(spec, len(images), IMAGENET), itertools.count(1)

    def epoch() -> float:
        number = next(numbers)
        started = time.perf_counter()
        layers.train()
        for batch in torch.randperm(len(images))[: bench.samples].split(spec.batch_size):
            groups = [group.to(device) for group in views(images.images[batch], batch, number)]
            labels = images.labels[batch].to(device)
            with mixed_precision(device, spec.precision):
                logits = torch.cat([network(group) for group in groups])
                loss = functional.cross_entropy(logits, labels.repeat(len(logits) // len(labels)))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        wait(device)
        return time.perf_counter() - started

    return epoch


class Pictures(Dataset[tuple[Any, int]]):
    """Encoded images that PIL opens, as timm's own dataset has them; timm's loader sets `transform`."""

    transform: Callable[[Image.Image], Any]

    def __init__(self, folder: Path) -> None:
        self._rows = [
            (image["bytes"], label)
            for batch in read_rows(folder)
            for image, label in zip(batch.column("image").to_pylist(), batch.column("label").to_pylist(), strict=True)
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        """A transformed image and its label."""
        encoded, label = self._rows[position]
        return self.transform(Image.open(io.BytesIO(encoded)).convert("RGB")), label


def _timm(bench: Bench) -> Epoch:
    spec, device, on_gpu = bench.spec, bench.device, bench.device.type == "cuda"
    loader = timm.data.create_loader(
        Pictures(bench.folder),
        input_size=(3, spec.image_size, spec.image_size),
        batch_size=spec.batch_size,
        is_training=True,
        scale=(spec.minimum_crop, 1.0),
        color_jitter=None,
        num_workers=bench.workers,
        persistent_workers=bench.workers > 0,
        use_prefetcher=on_gpu,
        pin_memory=on_gpu,
        device=device,
    )
    network = _timm_network(spec).to(device).to(memory_format=torch.channels_last)
    optimizer = timm.optim.create_optimizer_v2(network, "momentum", lr=0.01, weight_decay=spec.weight_decay)
    loss_of = nn.CrossEntropyLoss()

    def epoch() -> float:
        started = time.perf_counter()
        network.train()
        for images, labels in loader:
            images = images.to(device).contiguous(memory_format=torch.channels_last)
            with mixed_precision(device, spec.precision):
                loss = loss_of(network(images), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        wait(device)
        return time.perf_counter() - started

    return epoch


def _timm_network(spec: TrainingSpec) -> nn.Module:
    classes = len(spec.train.class_names)
    if not spec.model.endswith("_slim"):
        network: nn.Module = timm.create_model(spec.model, num_classes=classes)
        return network
    slim = build_layers(spec.model, classes, seed=0, head="linear")
    for module in slim.modules():
        if isinstance(module, PointwiseConv2d):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]  # timm's own
    return slim


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def measured(bench: Bench, setting: Setting, rounds: int) -> dict[str, Any]:
    """Samples a second of every way, round by round after one that does not count."""
    epochs = {name: bench.way(name, setting) for name in setting.ways}
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for turn in range(rounds + 1):
        for name, epoch in epochs.items():
            spent = epoch()
            if turn:
                seconds[name].append(spent)
    rates = {name: _spread([bench.samples / spent for spent in values]) for name, values in seconds.items()}
    first = rates["mindgap"]["median"]
    return {name: {**rate, "ratio": rate["median"] / first} for name, rate in rates.items()}


def measured_views(bench: Bench, rounds: int) -> dict[str, Any]:
    """Samples a second of each view alone, on one core, from the images as the loop keeps them."""
    positions = torch.arange(min(len(bench.images), bench.spec.batch_size))
    makers = {
        name: Augmenter(replace(bench.spec, augmentation=name), len(bench.images), IMAGENET) for name in AUGMENTATIONS
    }
    seconds: dict[str, list[float]] = {name: [] for name in AUGMENTATIONS}
    for turn in range(rounds + 1):
        for name, views in makers.items():
            images = bench.images.images[positions]
            started = time.perf_counter()
            views(images, positions, turn + 1)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: _spread([len(positions) / spent for spent in values]) for name, values in seconds.items()}


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def write_pictures(folder: Path, count: int) -> None:
    """A data set of smooth random JPEGs about the size of ImageNet's, of many shapes, so that they stay encoded."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((480 + index % 40, 360 + index % 30), Image.Resampling.BICUBIC).save(buffer, "jpeg", quality=90)
        rows.append(ImageRow(buffer.getvalue(), f"{index}.jpg", index % 10, str(index % 10), index // 10))
    publish_dataset(
        folder,
        [rows],
        split="train",
        class_names=[str(label) for label in range(10)],
        description={},
        image_format="jpeg",
    )


def base_spec(folder: Path, **settings: Any) -> TrainingSpec:
    """A training of `MOST_EPOCHS` epochs on the images of a folder."""
    manifest = read_manifest(folder)
    data = RealDataset(
        name="real",
        class_names=manifest.class_names,
        split=manifest.split,
        digest=manifest.digest,
        rows=manifest.rows,
        folder=folder,
    )
    return TrainingSpec(train=data, validation=data, epochs=MOST_EPOCHS, warmup_epochs=0, **settings)


def small_bench(device: torch.device, workers: int) -> tuple[Bench, list[Setting]]:
    """The pocket recipe: ResNet-50 of an eighth of the width at 32 px, on the shipped images."""
    folder = pocket.IMAGES / "train"
    spec = base_spec(folder, model="resnet50_slim", image_size=32, local_size=16, minimum_crop=0.6, batch_size=128)
    return Bench(folder, load_images(folder), spec, device, workers), [Setting("resnet50_slim, 32 px", {})]


def full_bench(folder: Path, device: torch.device, workers: int, batch_size: int) -> tuple[Bench, list[Setting]]:
    """ResNet-50 at 224 px; on a GPU also multi-crop, and both in bfloat16 with and without torch.compile."""
    spec = base_spec(folder, model="resnet50", image_size=224, batch_size=batch_size)
    settings = [Setting("resnet50, 224 px", {})]
    if device.type == "cuda":
        half, crops = {"precision": "bfloat16"}, {"augmentation": "dino_multicrop"}
        settings += [
            Setting("resnet50, 224 px, bfloat16", half, ("mindgap", "plain", "timm", "compiled")),
            Setting("resnet50, 1 x 224 + 8 x 96 px, bfloat16", {**half, **crops}, ("mindgap", "plain", "compiled")),
        ]
    return Bench(folder, load_images(folder), spec, device, workers), settings


def machine(device: torch.device) -> dict[str, Any]:
    """The device and the versions that a measurement was made with."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":")[1] for line in cpuinfo.read_text(encoding="utf-8").splitlines() if "model name" in line]
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread",
        "processor": names[0].strip() if names else platform.processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
    }


@click.command()
@click.option("--full", is_flag=True, help="Also ResNet-50 at 224 px.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, MOST_EPOCHS - 1))
@click.option("--pictures", default=0, help="Random pictures of --full; by default 32, on a GPU 4096.")
@click.option("--batch-size", default=0, help="Of --full; by default 16, on a GPU 256.")
@click.option("--workers", default=0, show_default=True, help="Loader processes of timm's way.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/train_step.json"), show_default=True
)
def main(full: bool, rounds: int, pictures: int, batch_size: int, workers: int, out: Path) -> None:
    """Measures, writes the figures, and prints them as tables in Markdown."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    with tempfile.TemporaryDirectory() as temporary:
        benches = [small_bench(device, workers)]
        if full:
            write_pictures(Path(temporary), pictures or (4096 if on_gpu else 32))
            benches.append(full_bench(Path(temporary), device, workers, batch_size or (256 if on_gpu else 16)))
        training, views = {}, {}
        for bench, settings in benches:
            for setting in settings:
                training[setting.name] = measured(bench, setting, rounds)
            views[f"{bench.spec.image_size} px"] = measured_views(bench, rounds)
    about = {**machine(device), "rounds": rounds, "loader_processes": workers}
    out.write_text(json.dumps({**about, "training": training, "views": views}, indent=2) + "\n", encoding="utf-8")
    click.echo(markdown(about, training, views))


def markdown(about: dict[str, Any], training: dict[str, Any], views: dict[str, Any]) -> str:
    """The figures as two tables."""
    lines = [", ".join(f"{key} {value}" for key, value in about.items()), ""]
    lines += ["| training | way | samples/s: min | median | max | against (a) |", "|---|---|---|---|---|---|"]
    for name, ways in training.items():
        for way, rate in ways.items():
            cells = (name, WAYS[way], *_rates(rate), f"{rate['ratio']:.2f}x")
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| views alone, one core | size | samples/s: min | median | max |", "|---|---|---|---|---|"]
    lines += [
        f"| {' | '.join((name, size, *_rates(rate)))} |"
        for size, by_view in views.items()
        for name, rate in by_view.items()
    ]
    return "\n".join(lines)


def _rates(rate: dict[str, float]) -> tuple[str, str, str]:
    low, middle, high = (
        f"{rate[key]:.0f}" if rate[key] >= 100 else f"{rate[key]:.1f}" for key in ("min", "median", "max")
    )
    return low, middle, high


if __name__ == "__main__":
    main()
