"""A cohort beside 17 separate trainings: what sharing batches and the frozen trunk saves, at equal weights.

The 17 freeze depths of one direction, N = 1 to 17, in one process, one way after the other. python -m
benchmarks.cohorts writes `benchmarks/results/cohorts.json` and prints two tables in Markdown: the pocket recipe with
everything that a training does, and steps of ResNet-50 at 224 px on random images in memory. The ways:

(a) one cohort of 17: `trainables.loop`.
(b) 17 cohorts of one, by the same loop: each computes its frozen layers without gradient.
(c) 17 plain torch trainings: the whole network, frozen layers in it without gradient; on pocket with a DataLoader and
    a transform for each image (`benchmarks.common.plain`), at full size with the views of (a) and (b).
(d) as (c) at full size, but frozen by leaving their parameters out of the optimizer alone: gradients go through all.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common.plain import PlainTask
from benchmarks.common.plain import train as train_plainly
from benchmarks.train_step import base_spec, machine, wait
from datagen import pocket
from experiments.scales.pocket import SCALE
from trainables.augmentations.apply import Augmenter
from trainables.distributed import DistributedContext
from trainables.input.data import ImageSet, epoch_batches, load_images
from trainables.input.pixel_statistics import IMAGENET
from trainables.loop import Cohort, train_cohort
from trainables.recipe import build_optimizer, learning_rates
from trainables.spec import TrainingSpec
from trainables.trunk import layers_of, mixed_precision

WAYS = {
    "cohort": "(a) one cohort",
    "separate": "(b) separate, mindgap's loop",
    "plain": "(c) separate, plain torch",
    "through": "(d) as (c), gradients through the frozen layers",
}
DATA_PARTS = ("data", "views")
STEPS_OF_AN_EPOCH = 8
"""At full size, at most: so many batches of random images are made, and gone through again in every epoch."""
Steps = tuple[list[float], list[float], dict[int, dict[str, Tensor]]]
"""Seconds of every epoch, the same without data and views, and the trained network's state by depth."""


def pocket_members(epochs: int, depths: Iterable[int]) -> list[TrainingSpec]:
    """The pocket recipe's transfers of one direction."""
    recipe = {**SCALE.recipe, "epochs": epochs, "warmup_epochs": min(1, epochs - 1)}
    base = replace(base_spec(pocket.IMAGES / "train"), **recipe)
    return [replace(base, source=base, frozen_layers=depth) for depth in depths]


def measure_pocket(members: list[TrainingSpec], rounds: int) -> dict[str, Any]:
    """Whole trainings (building, views, training, evaluation), round by round."""
    train, validation = (load_images(pocket.IMAGES / split) for split in ("train", "validation"))
    (base,) = train_cohort([members[0].source], train, validation)  # type: ignore[list-item]
    weights: dict[str, dict[int, dict[str, Tensor]]] = {}

    def keep(way: str, results: list[Any]) -> None:
        weights[way] = {result.spec.frozen_layers: result.state for result in results}

    def together() -> None:
        keep("cohort", train_cohort(members, train, validation, base.state))

    def separate() -> None:
        keep("separate", [train_cohort([member], train, validation, base.state)[0] for member in members])

    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source.pt"
        torch.save(base.state, source)

        def plain() -> None:
            for member in members:
                train_plainly(_plain_task(member, source), (train, validation))

        ways = {"cohort": together, "separate": separate, "plain": plain}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - started)
    results = _compared(seconds)
    results["separate"]["difference"] = max(
        difference(state, weights["separate"][depth]) for depth, state in weights["cohort"].items()
    )
    return results


def _plain_task(spec: TrainingSpec, source: Path) -> PlainTask:
    return PlainTask(
        train=pocket.IMAGES / "train",
        validation=pocket.IMAGES / "validation",
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        warmup_epochs=spec.warmup_epochs,
        minimum_crop=spec.minimum_crop,
        frozen_layers=spec.frozen_layers,
        source=source,
    )


def full_size_members(
    model: str, batch_size: int, iterations: int, depths: Iterable[int], **settings: Any
) -> tuple[list[TrainingSpec], ImageSet]:
    """Transfers at full size that take about `iterations` steps, and their random images."""
    steps = min(STEPS_OF_AN_EPOCH, max(1, iterations // 2))
    images = random_images(steps * batch_size, settings.get("image_size", 224) * 8 // 7)
    spec = base_spec(pocket.IMAGES / "train", model=model, batch_size=batch_size, **settings)
    base = replace(spec, epochs=max(1, iterations // steps))
    return [replace(base, source=base, frozen_layers=depth) for depth in depths], images


def random_images(count: int, size: int) -> ImageSet:
    """Images of noise in memory, of as many classes as the pocket's."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(count) % len(SCALE.classes))


def measure_full_size(
    members: list[TrainingSpec], images: ImageSet, device: torch.device, ways: tuple[str, ...]
) -> dict[str, Any]:
    """Steps of training alone, by epochs; on a GPU the first is not counted.

    Of a way that trains one after the other a round's seconds are the sum over its trainings. Seconds without data are
    those of the network: for (a) and (b) without the timers' parts `data` and `views`, for (c) and (d) measured alike.
    """
    base: TrainingSpec = members[0].source  # type: ignore[assignment]
    source = layers_of(base).timm_state()
    first = 1 if device.type == "cuda" and base.epochs > 1 else 0
    seconds: dict[str, list[float]] = {}
    network: dict[str, list[float]] = {}
    differences: dict[str, float] = {}
    states: dict[int, dict[str, Tensor]] = {}
    for way in ways:
        groups = [members] if way == "cohort" else [[member] for member in members]
        for group in groups:
            run = _plain_steps if way in ("plain", "through") else _mindgap_steps
            whole, without_data, trained = run(group, images, source, device, way == "through")
            seconds[way] = _added(seconds.get(way), whole[first:])
            network[way] = _added(network.get(way), without_data[first:])
            if way == "cohort":
                states = trained
            else:
                found = max(difference(states[depth], state) for depth, state in trained.items())
                differences[way] = max(differences.get(way, 0.0), found)
            click.echo(f"... {WAYS[way]}, N={group[0].frozen_layers}: {sum(whole):.1f} s", err=True)
    results, alone = _compared(seconds), _compared(network)
    return {
        way: {**result, "ratio_without_data": alone[way]["ratio"], "difference": differences.get(way)}
        for way, result in results.items()
    }


def _added(sums: list[float] | None, values: list[float]) -> list[float]:
    return values if sums is None else [a + b for a, b in zip(sums, values, strict=True)]


def _mindgap_steps(
    group: list[TrainingSpec], images: ImageSet, source: dict[str, Tensor], device: torch.device, through: bool
) -> Steps:
    cohort = Cohort(group, images, images, source, DistributedContext(device=device), {})
    whole, without_data = [], []
    for epoch in range(1, group[0].epochs + 1):
        started = time.perf_counter()
        cohort.timers.start()
        cohort.train_epoch(epoch)
        parts = cohort.timers.take()
        wait(device)
        whole.append(time.perf_counter() - started)
        without_data.append(whole[-1] - sum(parts[part] for part in DATA_PARTS))
    return whole, without_data, {branch.spec.frozen_layers: cohort.result(branch).state for branch in cohort.branches}


def _plain_steps(
    group: list[TrainingSpec], images: ImageSet, source: dict[str, Tensor], device: torch.device, through: bool
) -> Steps:
    """One network with frozen layers, batches, views, initial values and recipe as in mindgap's loop."""
    (spec,) = group
    network, frozen = _frozen_network(spec, source, device, through)
    above = nn.ModuleList(part for part in network.parts if part not in frozen)
    optimizer = build_optimizer(above, spec)
    views, positions = Augmenter(spec, len(images), IMAGENET, device), torch.arange(len(images))
    rates = iter(learning_rates(spec, len(images) // spec.batch_size))
    whole, without_data = [], []
    for epoch in range(1, spec.epochs + 1):
        started, on_data = time.perf_counter(), 0.0
        for batch in epoch_batches(positions, spec.batch_size, spec.seed, epoch):
            wait(device)
            begun = time.perf_counter()
            groups = views(images.images[batch], batch, epoch)
            labels = images.labels[batch].to(device)
            wait(device)
            on_data += time.perf_counter() - begun
            with mixed_precision(device, spec.precision):
                logits = torch.cat([network(crops) for crops in groups])
                loss = functional.cross_entropy(logits, labels.repeat(len(logits) // len(labels)))
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = next(rates)
            network.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        wait(device)
        whole.append(time.perf_counter() - started)
        without_data.append(whole[-1] - on_data)
    return whole, without_data, {spec.frozen_layers: {k: v.detach().cpu() for k, v in network.timm_state().items()}}


def _frozen_network(
    spec: TrainingSpec, source: dict[str, Tensor], device: torch.device, through: bool
) -> tuple[Any, list[nn.Module]]:
    """The whole network with its first layers taken over and frozen, in training mode above, and those layers."""
    network = layers_of(spec)
    names = {name for layer in spec.network[: spec.frozen_layers] for name in layer.modules}
    frozen = [part for name, part in zip(network.names, network.parts, strict=True) if name in names]
    with torch.no_grad():
        for key, value in network.timm_state().items():
            if any(key.startswith(f"{name}.") for name in names):
                value.copy_(source[key])
    network.to(device).train()
    for part in frozen:
        part.eval().requires_grad_(through)
    return network, frozen


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest absolute difference of a value between two states of a network."""
    return max(float((one[key].double() - other[key].double()).abs().max()) for key in one)


def _compared(seconds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    return {
        way: {"seconds": values, "min": min(values), "median": medians[way], "max": max(values)}
        | {"ratio": medians[way] / medians["cohort"], "difference": None}
        for way, values in seconds.items()
    }


def markdown(title: str, results: dict[str, dict[str, Any]]) -> str:
    """One table; at full size with the ratio of the network alone."""
    alone = "ratio_without_data" in next(iter(results.values()))
    heading = ["seconds: min", "median", "max", "the cohort is", *(["without data and views"] if alone else [])]
    lines = [f"| {title} | {' | '.join(heading)} | largest difference of a weight |", "|---" * (len(heading) + 2) + "|"]
    for way, result in results.items():
        cells = [WAYS[way], *(f"{result[key]:.3g}" for key in ("min", "median", "max")), f"{result['ratio']:.2f}x"]
        cells += [f"{result['ratio_without_data']:.2f}x"] if alone else []
        apart = result["difference"]
        cells.append("" if apart is None else "none, bit for bit" if apart == 0 else f"{apart:.1g}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@click.option("--epochs", default=2, show_default=True, type=click.IntRange(1), help="Of each pocket training.")
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(0), help="Of pocket; 0 leaves it out.")
@click.option("--iterations", default=0, help="Steps at full size; by default 2, on a GPU 200. -1 leaves it out.")
@click.option("--batch-size", default=0, help="At full size; by default 2, on a GPU 64.")
@click.option("--precision", default="", help="At full size; by default float32, on a GPU bfloat16.")
@click.option("--views", default="dino_multicrop", show_default=True, help="At full size.")
@click.option("--through/--no-through", default=None, help="Way (d) too; by default on a GPU only.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/cohorts.json"), show_default=True
)
def main(
    epochs: int,
    rounds: int,
    iterations: int,
    batch_size: int,
    precision: str,
    views: str,
    through: bool | None,
    out: Path,
) -> None:
    """Measures, writes the figures, and prints them as tables in Markdown."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu, depths, found = device.type == "cuda", range(1, 18), {}
    if rounds:
        title = f"pocket, {len(depths)} trainings of {epochs} epochs on the CPU"
        found[title] = measure_pocket(pocket_members(epochs, depths), rounds)
    if iterations >= 0:
        ways = ("cohort", "separate", "plain", *(["through"] if (on_gpu if through is None else through) else []))
        settings = {"precision": precision or ("bfloat16" if on_gpu else "float32"), "augmentation": views}
        steps, batch = iterations or (200 if on_gpu else 2), batch_size or (64 if on_gpu else 2)
        members, images = full_size_members("resnet50", batch, steps, depths, **settings)
        if on_gpu:
            # On the device data is about free, as the comparison wants it.
            images = ImageSet(torch.as_tensor(images.images).to(device), images.labels)
        title = f"resnet50, 224 px, `{views}`, {len(depths)} trainings, {settings['precision']}, batches of {batch}"
        found[title] = measure_full_size(members, images, device, ways)
    about = {**machine(device), "rounds": rounds}
    out.write_text(json.dumps({**about, "results": found}, indent=2) + "\n", encoding="utf-8")
    click.echo(", ".join(f"{key} {value}" for key, value in about.items()))
    for title, results in found.items():
        click.echo(f"\n{markdown(title, results)}")


if __name__ == "__main__":
    main()
