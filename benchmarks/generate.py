"""Speed of the image factory against a plain diffusers loop: python -m benchmarks.generate.

Both draw the same prompts with the same pipeline, batch size, precision, steps and guidance, and write encoded pictures
to the disk: mindgap as shards, the loop with PIL's save. Each way runs in processes of its own with one thread each;
loading is left out, as a real set takes hours. Rounds of all ways alternate, so that a change of the machine's speed
hits all. On a GPU `--gpu` times the architecture of Stable Diffusion 1.x with random weights (timing does not depend on
them) by batch size, one step of a ladder after the other: float32, half precision, prompts once and encoding beside,
channels last, compiled, and then the variants that change the images, which are never defaults.

Writes benchmarks/results/generate.json (with --gpu: `generate_gpu.json`) and prints a table.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click

from benchmarks.common.rounds import processor
from datagen.core.files import write_json
from datagen.datasets.spec import GeneratedDataset
from datagen.generation.shard_generator import ShardGenerator, shard_count, shard_positions
from datagen.recipes.load import absolute, load_recipe, make_spec

HERE = Path(__file__).parent / "results"
WAYS = ("plain loop", "mindgap, 1 actor", "mindgap, 2 actors")


def plain_loop(spec: GeneratedDataset, folder: Path, device: str, way: str) -> Callable[[list[int]], None]:
    """A user's loop: prompts as text, a generator for each image, PIL's save; returns what draws given shards."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(
        spec.pipeline_folder,
        dtype=getattr(torch, spec.precision),
        safety_checker=None,
        requires_safety_checker=False,
        use_safetensors=True,
        low_cpu_mem_usage=False,
    ).to(device)
    pipeline.set_progress_bar_config(disable=True)

    def draw(shards: list[int]) -> None:
        positions = [position for shard in shards for position in shard_positions(spec, shard)]
        for first in range(0, len(positions), spec.images_at_once):
            batch = positions[first : first + spec.images_at_once]
            images = pipeline(
                [spec.prompt(label, index) for label, index in batch],
                num_inference_steps=spec.steps,
                guidance_scale=spec.guidance,
                width=spec.width,
                height=spec.height,
                generator=[
                    torch.Generator("cpu").manual_seed(spec.image_seed(spec.class_names[label], index))
                    for label, index in batch
                ],
            ).images
            for (label, index), image in zip(batch, images, strict=True):
                image.save(folder / f"{label}-{index}.{spec.image_format}")

    return draw


def shard_generator(spec: GeneratedDataset, folder: Path, device: str, way: str) -> Callable[[list[int]], None]:
    """An actor of mindgap without Ray around it; returns what draws given shards."""
    import torch

    generator: Any = ShardGenerator(spec, folder, device)
    if way.endswith("contiguous"):
        for part in (generator._generator._pipeline.unet, generator._generator._pipeline.vae):
            part.to(memory_format=torch.contiguous_format)
    (folder / ".attempts").mkdir(exist_ok=True)

    def draw(shards: list[int]) -> None:
        for shard in shards:
            result = json.loads(generator({"shard": [shard]})["result"][0])
            if "record" not in result:
                raise RuntimeError(str(result))

    return draw


def serve(way: str, spec: GeneratedDataset, folder: Path, device: str, pipe: Connection) -> None:
    """A process that loads once and draws the shards it is sent, answering (seconds, core-seconds) each time."""
    import torch

    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    draw = (plain_loop if way.startswith("plain loop") else shard_generator)(spec, folder, device, way)
    draw([0])  # Warm-up: first calls load kernels, and compile where asked.
    pipe.send("ready")
    while (shards := pipe.recv()) is not None:
        cores, began = _core_seconds(), time.perf_counter()
        draw(shards)
        pipe.send((time.perf_counter() - began, _core_seconds() - cores))


def _core_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Worker:
    """A process that serves one way."""

    def __init__(self, way: str, spec: GeneratedDataset, folder: Path, device: str = "cpu") -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(way, spec, folder, device, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    @property
    def process_id(self) -> int | None:
        """The process's number."""
        return self._process.pid

    def send(self, shards: list[int]) -> None:
        """Has shards drawn."""
        self._pipe.send(shards)

    def wait(self) -> tuple[float, float]:
        """(seconds, core-seconds) of the shards that were sent."""
        answer: tuple[float, float] = self._pipe.recv()
        return answer

    def stop(self) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join()


def measure_cpu(images: int, rounds: int, at_once: int, root: Path) -> list[dict[str, Any]]:
    """Rounds of all ways on the pocket pipeline, one thread a process: a row for each way."""
    recipe = make_spec(load_recipe("pocket"), [f"images_per_class={-(-images // 10)}", f"images_at_once={at_once}"])
    # Two batches a shard: encoding the first overlaps with drawing the second, as in a set of the default size.
    spec = absolute(replace(recipe, rows_per_shard=2 * at_once))
    assert isinstance(spec, GeneratedDataset)
    shards = list(range(shard_count(spec)))
    workers = {way: [Worker(way, spec, root / f"{way}{n}") for n in range(2 if "2" in way else 1)] for way in WAYS}
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS[number % 3 :] + WAYS[: number % 3]:
            began = time.perf_counter()
            for offset, worker in enumerate(workers[way]):
                worker.send(shards[offset :: len(workers[way])])
            cores = sum(worker.wait()[1] for worker in workers[way])
            taken[way].append((time.perf_counter() - began, cores))
    for of_way in workers.values():
        for worker in of_way:
            worker.stop()
    return [_row(way, taken[way], taken[WAYS[0]], spec.images, {"images_at_once": at_once}) for way in WAYS]


def _row(
    way: str,
    taken: list[tuple[float, float]],
    plain: list[tuple[float, float]],
    images: int,
    settings: dict[str, Any],
) -> dict[str, Any]:
    seconds, cores = ([each[part] / images for each in taken] for part in (0, 1))
    ratios = [theirs[0] / ours[0] for theirs, ours in zip(plain, taken, strict=False)]
    core_ratios = [theirs[1] / ours[1] for theirs, ours in zip(plain, taken, strict=False)]
    return {
        "way": way,
        **settings,
        "images": images,
        "seconds_per_image": _spread(seconds),
        "core_seconds_per_image": _spread(cores),
        "times_faster": _spread(ratios),
        "times_fewer_core_seconds": _spread(core_ratios),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ladder(spec: GeneratedDataset) -> dict[str, GeneratedDataset]:
    """The ways of drawing on a GPU, each a step from the one before; those that change the images last."""
    compiled = replace(spec, compile=True)
    return {
        "plain loop, float32": replace(spec, precision="float32"),
        "plain loop": spec,
        "mindgap, contiguous": spec,
        "mindgap, channels last": spec,
        "mindgap, compiled": compiled,
        "changed images: compiled, DeepCache every 3 steps": replace(compiled, deepcache_interval=min(3, spec.steps)),
        "changed images: compiled, DPM-Solver++, 25 steps": replace(compiled, scheduler="dpmsolver++", steps=25),
        "changed images: float8 weights": replace(spec, denoiser_weights="float8"),
    }


def measure_gpu(
    batches: tuple[int, ...], rounds: int, steps: int, ways: str, root: Path, device: str = "cuda", tiny: bool = False
) -> list[dict[str, Any]]:
    """Stable Diffusion 1.x at 512 x 384, float16: every way of the ladder, by images in a batch.

    All ways guide in one pass of twice the batch and decode a batch at once, as diffusers does; mindgap's also encode
    prompts once and pictures beside the next batch. Of the ways only those are run that have one of the `ways`, words
    between commas, in their names, and the plain loop. With `tiny`, the pocket pipeline instead, to try the code.
    """
    from benchmarks.common.stable_diffusion import save_random_pipeline

    chosen = [] if tiny else [f"pipeline={save_random_pipeline(root / 'stable-diffusion-1')}"]
    recipe = make_spec(load_recipe("pocket" if tiny else "imagenet100_sd14"), [*chosen, f"steps={steps}"])
    rows = []
    for at_once in batches:
        # Two batches a shard: the first is encoded while the second is drawn.
        spec = absolute(replace(recipe, images_at_once=at_once, rows_per_shard=2 * at_once))
        taken: dict[str, list[tuple[float, float]]] = {}
        left_out: dict[str, str] = {}
        for way, of_way in ladder(spec).items():
            if way != "plain loop" and not any(word.strip() in way for word in ways.split(",")):
                continue
            click.echo(f"... {way}, {at_once} images at once", err=True)
            try:
                # Once is enough for what is several times slower than all others.
                turns = 1 if way == "plain loop, float32" else rounds
                taken[way] = _rounds(Worker(way, of_way, root / f"{way} {at_once}", device), turns)
            except EOFError:
                left_out[way] = "did not fit, or failed"
        if "plain loop" not in taken:
            raise click.ClickException(f"The plain loop failed with {at_once} images at once: give fewer --batches.")
        settings = {"images_at_once": at_once}
        rows += [_row(way, taken[way], taken["plain loop"], 2 * at_once, settings) for way in taken]
        for way, reason in left_out.items():
            click.echo(f"... {way}, {at_once} images at once: {reason}", err=True)
    return rows


def _rounds(worker: Worker, rounds: int) -> list[tuple[float, float]]:
    """One worker at a time: several pipelines would share the GPU."""
    taken = []
    for number in range(rounds):
        worker.send([number + 1])
        taken.append(worker.wait())
    worker.stop()
    return taken


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table; spreads are median (minimum to maximum)."""

    def shown(spread: dict[str, float], digits: int) -> str:
        return f"{spread['median']:.{digits}f} ({spread['min']:.{digits}f} to {spread['max']:.{digits}f})"

    lines = [
        "| way | images at once | seconds an image | core-seconds an image | times faster | times fewer core-seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [shown(row[key], 4) for key in ("seconds_per_image", "core_seconds_per_image")]
        cells += [shown(row[key], 2) for key in ("times_faster", "times_fewer_core_seconds")]
        lines.append(f"| {row['way']} | {row['images_at_once']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _machine(gpu: bool) -> dict[str, Any]:
    import diffusers
    import torch

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


@click.command()
@click.option("--images", default=1280, show_default=True, help="Images of a round, on the CPU; whole shards.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each way.")
@click.option("--at-once", default=64, show_default=True, help="Images of a batch, on the CPU.")
@click.option("--gpu", is_flag=True, help="Stable Diffusion 1.x with random weights on this machine's GPU instead.")
@click.option("--batches", default="1,8,16,32", show_default=True, help="Images of a batch, on the GPU.")
@click.option("--steps", default=50, show_default=True, help="Steps, on the GPU.")
@click.option("--ways", default="", help="On the GPU: words, between commas, that a way's name must have one of.")
@click.option("--out", default=HERE, type=click.Path(path_type=Path), help="Folder of the results.")
def main(images: int, rounds: int, at_once: int, gpu: bool, batches: str, steps: int, ways: str, out: Path) -> None:
    """Measures, writes the results and prints the table."""
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    if gpu and not torch.cuda.is_available():
        raise click.UsageError("There is no GPU here.")
    with tempfile.TemporaryDirectory() as root:
        if gpu:
            rows = measure_gpu(tuple(map(int, batches.split(","))), rounds, steps, ways, Path(root))
        else:
            rows = measure_cpu(images, rounds, at_once, Path(root))
    name = "generate_gpu" if gpu else "generate"
    out.mkdir(parents=True, exist_ok=True)
    about = _machine(gpu)
    write_json(out / f"{name}.json", {"machine": about, "rounds": rounds, "rows": rows})
    click.echo(", ".join(f"{key} {value}" for key, value in about.items() if value) + "\n\n" + table(rows))


if __name__ == "__main__":
    main()
