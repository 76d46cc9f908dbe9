"""What each step of the GPU recipe brings: samples a second, hours of a training, share of the card's matrix ceiling.

python -m benchmarks.ladder takes a GPU; it writes `benchmarks/results/ladder.json` and prints a table in Markdown for
each network: ResNet-50 with one crop of 224 and eight of 96 px, and TinyViT with the same. `--tiny` runs the same code
on whatever there is, in seconds, to see that it works. Each rung has what those before it have:

- eager float32; bfloat16 by autocast; channels last; torch.compile, layer by layer: views are ready on the device;
- views on the host, at each step;
- mindgap's own loop, with views on the device, a batch ahead.

All train the same batches from the same weights. The mean loss of the first epoch, which is not timed, says whether a
rung is neutral: within `LOSS_BOUND` of eager float32, relative.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cohorts import random_images
from benchmarks.train_step import base_spec, machine, wait
from datagen import pocket
from trainables.augmentations.apply import Augmenter
from trainables.distributed import DistributedContext
from trainables.input.data import ImageSet, epoch_batches
from trainables.input.pixel_statistics import IMAGENET
from trainables.input.prefetch import to_device
from trainables.loop import Cohort
from trainables.models import compilation
from trainables.recipe import build_optimizer, learning_rates
from trainables.spec import TrainingSpec
from trainables.trunk import layers_of, mixed_precision

IMAGES, EPOCHS = 126_689, 100
"""Of the training that hours are told of: real ImageNet-100 (docs/papers.md)."""
LOSS_BOUND = 0.02
"""bfloat16 has 8 bits of mantissa: a relative error of 0.4 % in each value, of either sign."""
Epoch = Callable[[int], float]
"""Trains an epoch (from 1) and returns its mean loss."""


@dataclass(frozen=True)
class Rung:
    """What one step of the ladder has."""

    name: str
    precision: str = "bfloat16"
    layout: torch.memory_format = torch.channels_last
    compile: bool = True
    views: str = "ready"


LADDER = (
    Rung("eager float32", "float32", torch.contiguous_format, compile=False),
    Rung("+ bfloat16", layout=torch.contiguous_format, compile=False),
    Rung("+ channels last", compile=False),
    Rung("+ compiled"),
    Rung("compiled, views on the host", views="host"),
    Rung("mindgap: compiled, views on the device, a batch ahead", views="mindgap"),
)


def epoch_of(rung: Rung, spec: TrainingSpec, images: ImageSet, device: torch.device) -> Epoch:
    """A way to train an epoch with what a rung has."""
    spec = replace(spec, precision=rung.precision, compile=rung.compile)
    if rung.views == "mindgap":
        return _mindgaps_epoch(spec, images, device)
    layers = layers_of(spec).to(device).to(memory_format=rung.layout)
    if rung.compile:
        compilation.compile_layers(layers, device)
    optimizer = build_optimizer(layers, spec)
    rates = iter(learning_rates(spec, len(images) // spec.batch_size))
    source = _host_views(spec, images, device)
    first = list(source(1)) if rung.views == "ready" else None

    def train(epoch: int) -> float:
        layers.train()
        losses = torch.zeros((), device=device)
        for groups, labels in first or source(epoch):
            loss = _loss(layers, [group.contiguous(memory_format=rung.layout) for group in groups], labels, spec)
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = next(rates)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses += loss.detach()
        return float(losses) / (len(images) // spec.batch_size)

    return train


def _host_views(
    spec: TrainingSpec, images: ImageSet, device: torch.device
) -> Callable[[int], Iterator[tuple[list[Tensor], Tensor]]]:
    views = Augmenter(spec, len(images), IMAGENET)

    def batches(epoch: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        for batch in epoch_batches(torch.arange(len(images)), spec.batch_size, spec.seed, epoch):
            groups = [to_device(group, device) for group in views(images.images[batch], batch, epoch)]
            yield groups, to_device(images.labels[batch], device)

    return batches


def _loss(layers: Any, groups: list[Tensor], labels: Tensor, spec: TrainingSpec) -> Tensor:
    with mixed_precision(labels.device, spec.precision):
        logits = torch.cat([layers(group) for group in groups])
        return functional.cross_entropy(logits, labels.repeat(len(logits) // len(labels)))


def _mindgaps_epoch(spec: TrainingSpec, images: ImageSet, device: torch.device) -> Epoch:
    assert isinstance(images.images, Tensor)
    there = ImageSet(images.images.to(device), images.labels)
    cohort = Cohort([spec], there, there, None, DistributedContext(device=device), {})

    def train(epoch: int) -> float:
        cohort.timers.start()
        cohort.train_epoch(epoch)
        return float(cohort.branches[0].take_mean_loss())

    return train


def flops_per_sample(spec: TrainingSpec, images: ImageSet, device: torch.device) -> float:
    """Floating-point operations of a training step for one image, all its crops: those of matrices and convolutions."""
    layers = layers_of(spec).to(device).train()
    groups, labels = next(_host_views(replace(spec, batch_size=2), images, device)(1))
    with FlopCounterMode(display=False) as counter:
        _loss(layers, groups, labels, replace(spec, precision="float32")).backward()
    return counter.get_total_flops() / len(labels)


def matrix_ceiling(device: torch.device, size: int, repeats: int = 20) -> float:
    """Floating-point operations a second of a product of two square bfloat16 matrices, the best of three series."""
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(4):  # The first is slower and so does not count.
        wait(device)
        started = time.perf_counter()
        for _ in range(repeats):
            one @ other
        wait(device)
        best = max(best, repeats * 2 * size**3 / (time.perf_counter() - started))
    return best


def climb(
    spec: TrainingSpec, images: ImageSet, device: torch.device, rounds: int, ceiling: float
) -> dict[str, dict[str, Any]]:
    """Every rung of a network: samples a second (each epoch but the first), and what follows from them."""
    samples = len(images) // spec.batch_size * spec.batch_size
    flops = flops_per_sample(spec, images, device)
    found: dict[str, dict[str, Any]] = {}
    for rung in LADDER:
        train = epoch_of(rung, spec, images, device)
        loss, rates = train(1), []
        for epoch in itertools.islice(itertools.count(2), rounds):
            wait(device)
            started = time.perf_counter()
            train(epoch)
            wait(device)
            rates.append(samples / (time.perf_counter() - started))
        found[rung.name] = told(rates, loss, flops, ceiling)
        first = found[LADDER[0].name]
        found[rung.name] |= {
            "ratio": found[rung.name]["median"] / first["median"],
            "difference": abs(loss - first["loss"]) / first["loss"],
        }
        click.echo(f"... {spec.model}, {rung.name}: {found[rung.name]['median']:.1f} samples/s", err=True)
        del train
    return found


def told(rates: list[float], loss: float, flops: float, ceiling: float) -> dict[str, Any]:
    """A rung's figures: `hours` of a training of `EPOCHS` epochs, `share` of the ceiling 0..1."""
    median = statistics.median(rates)
    return {
        "rates": rates,
        **{"min": min(rates), "median": median, "max": max(rates)},
        "hours": IMAGES * EPOCHS / median / 3600,
        "share": median * flops / ceiling,
        "loss": loss,
    }


def markdown(network: str, found: dict[str, dict[str, Any]]) -> str:
    """One table."""
    heading = (
        f"| {network} | samples/s: min | median | max | against eager | GPU-hours of a training | of the ceiling |"
    )
    lines = [f"{heading} loss apart |", "|---|---|---|---|---|---|---|---|"]
    for name, rung in found.items():
        rates = " | ".join(f"{rung[key]:.0f}" for key in ("min", "median", "max"))
        neutral = "" if rung["difference"] <= LOSS_BOUND else ", **not neutral**"
        lines.append(
            f"| {name} | {rates} | {rung['ratio']:.2f}x | {rung['hours']:.2f} | {rung['share']:.1%} |"
            f" {rung['difference']:.2%}{neutral} |"
        )
    return "\n".join(lines)


def _spec(model: str, batch_size: int, rounds: int, **settings: Any) -> TrainingSpec:
    spec = base_spec(
        pocket.IMAGES / "train", model=model, batch_size=batch_size, augmentation="dino_multicrop", **settings
    )
    return replace(spec, epochs=rounds + 1, learning_rate=0.01)


@click.command()
@click.option("--tiny", is_flag=True, help="A tiny network and few images, on the CPU too; writes nothing.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--batch-size", default=256, show_default=True, type=click.IntRange(2))
@click.option("--batches", default=8, show_default=True, type=click.IntRange(1), help="Of an epoch.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/ladder.json"), show_default=True
)
def main(tiny: bool, rounds: int, batch_size: int, batches: int, out: Path) -> None:
    """Measures, writes the figures, and prints them as tables in Markdown."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if tiny:
        compilation.BACKEND = "aot_eager"  # A compiler of kernels takes minutes on a CPU.
        # Not smaller: of 1 x 1 outputs torch 2.15 leaves parts of a bfloat16 gradient undefined on some CPUs.
        size = {"image_size": 64, "local_size": 48, "local_crops": 1}
        specs = [_spec("test_resnet", 4, 1, **size)]
        rounds, batches = 1, 2
    elif device.type != "cuda":
        raise click.UsageError("The ladder is that of a GPU, and there is none. Give --tiny to see that it works.")
    else:
        specs = [_spec(model, batch_size, rounds) for model in ("resnet50", "tiny_vit_5m_224")]
    ceiling, found = matrix_ceiling(device, 256 if tiny else 8192), {}
    for spec in specs:
        crops = f"1 x {spec.image_size} + {spec.local_crops} x {spec.local_size} px"
        images = random_images(batches * spec.batch_size, spec.image_size * 8 // 7)
        found[f"{spec.model}, {crops}, batches of {spec.batch_size}"] = climb(spec, images, device, rounds, ceiling)
    about = {**machine(device), "rounds": rounds, "matrix_ceiling": f"{ceiling / 1e12:.3g} TFLOP/s in bfloat16"}
    if not tiny:
        out.write_text(json.dumps({**about, "ladder": found}, indent=2) + "\n", encoding="utf-8")
    click.echo(", ".join(f"{key} {value}" for key, value in about.items()))
    for network, rungs in found.items():
        click.echo(f"\n{markdown(network, rungs)}")


if __name__ == "__main__":
    main()
