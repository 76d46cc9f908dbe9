"""A small evening with one GPU, end to end, and its faults: random photographs, Stable Diffusion of full size.

python -m benchmarks.evening writes photographs of Imagenette's classes and a Stable Diffusion 1.x with random weights,
runs `layer_importance` on the scale `imagenette` with them, and writes `evening.json` with what it took. Then the same
under faults: while another process holds most of the card's memory, so that batches are halved and cohorts divided, and
twice at once on one card. `--tiny` runs the same code with the pocket's generator, on a CPU too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks.common.photographs import photograph
from datagen import pocket
from datagen.core.device import gpus_here
from datagen.core.files import write_json
from datagen.datasets.shards import ImageRow, publish_dataset
from datagen.recipes.class_lists import IMAGENETTE

TINY = ("model=resnet50_slim", "image_size=32", "batch_size=20", "steps=1", "width=32", "height=32")
LEFT_FREE = 5 << 30
"""Bytes of the card that the process that fills it leaves: a batch of 16 drawn images does not fit."""
_HOLD = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(max(0, free - int(sys.argv[1])), dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""


def write_photographs(folder: Path, per_class: int) -> None:
    """Training and validation photographs of ten classes, as an import publishes them."""
    names = tuple(item.name for item in IMAGENETTE)
    for place, (split, count) in enumerate((("train", per_class), ("validation", max(2, per_class // 4)))):
        rows = [
            ImageRow(photograph(place * 100_000 + n), f"{n:06d}.jpg", n % 10, names[n % 10], n // 10)
            for n in range(10 * count)
        ]
        shards = [rows[first : first + 512] for first in range(0, len(rows), 512)]
        publish_dataset(folder / split, shards, split=split, class_names=names, description={}, image_format="jpeg")


def command(folder: Path, store: str, settings: Sequence[str]) -> list[str]:
    """The sweep, as a user gives it."""
    given = [f"images={folder / 'images'}", f"pipeline={folder / 'generator'}", "long_prompts=truncate", *settings]
    line = [sys.executable, "-m", "orchestrator.sweep", "layer_importance", "--scale", "imagenette"]
    return [*line, *given, "--store", str(folder / store), "--no-dashboard"]


def told(output: str, code: int, seconds: float) -> dict[str, Any]:
    """What a sweep took and said: cohorts that went on in parts, and the device's line."""
    device = re.search(r"^Device: (.*)$", output, re.MULTILINE)
    parts = re.findall(r"^.* went on as .*$", output, re.MULTILINE)
    return {"exit": code, "seconds": round(seconds, 1), "device": device[1] if device else "", "divided": parts}


def run_together(commands: Sequence[list[str]]) -> list[dict[str, Any]]:
    """What became of sweeps that run at once."""
    started = time.monotonic()
    with ExitStack() as files:
        outputs = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in commands]
        pairs = zip(commands, outputs, strict=True)
        processes = [subprocess.Popen(line, stdout=out, stderr=subprocess.STDOUT) for line, out in pairs]
        found = []
        for process, out in zip(processes, outputs, strict=True):
            code = process.wait()
            out.seek(0)
            text = out.read()
            found.append(told(text, code, time.monotonic() - started))
            if code:
                click.echo(text[-2000:])
    return found


@contextmanager
def filled_card(left_free: int) -> Iterator[None]:
    """Another process holds the card's memory but so many bytes, within it."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(left_free)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        holder.stdout.readline()
        try:
            yield
        finally:
            holder.stdin.close()


def measure(folder: Path, per_class: int, settings: Sequence[str], on_gpu: bool) -> dict[str, list[dict[str, Any]]]:
    """The evening, then its faults."""
    found = {"alone": run_together([command(folder, "alone", settings)])}
    if on_gpu:
        with filled_card(LEFT_FREE):
            found["on a filled card"] = run_together([command(folder, "filled", settings)])
    both = [command(folder, name, settings) for name in ("one", "other")]
    found["two at once"] = run_together(both)
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """The figures in Markdown."""
    lines = ["| run | exit code | seconds | cohorts divided |", "|---|---|---|---|"]
    for name, runs in found.items():
        lines += [f"| {name} | {run['exit']} | {run['seconds']} | {len(run['divided'])} |" for run in runs]
    return "\n".join(lines)


@click.command()
@click.option("--tiny", is_flag=True, help="The pocket's generator and a slim network, on the CPU too.")
@click.option("--per-class", default=100, show_default=True, type=click.IntRange(4), help="Images of each kind.")
@click.option("--epochs", default=2, show_default=True, type=click.IntRange(2))
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(tiny: bool, per_class: int, epochs: int, out: Path) -> None:
    """Measures, writes the figures, and prints them as a table in Markdown."""
    on_gpu = bool(gpus_here()) and os.environ.get("CUDA_VISIBLE_DEVICES", "0") != ""
    if not tiny and not on_gpu:
        raise click.UsageError("The evening is that of a GPU, and there is none. Give --tiny to see that it works.")
    settings = [f"epochs={epochs}", "warmup_epochs=1", f"images_per_class={per_class}", "direction=synthetic->real"]
    settings += [*TINY, "frozen_layers=17"] if tiny else ["steps=4", "frozen_layers=1..17"]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write_photographs(folder / "images", per_class)
        if tiny:
            (folder / "generator").symlink_to(pocket.GENERATOR)
        else:
            from benchmarks.common.stable_diffusion import save_random_pipeline

            save_random_pipeline(folder / "generator")
        found = measure(folder, per_class, settings, on_gpu and not tiny)
    out.mkdir(parents=True, exist_ok=True)
    card = ", ".join(gpu.name for gpu in gpus_here()) or None
    write_json(out / "evening.json", {"gpu": card, "images a class": per_class, "epochs": epochs, "runs": found})
    click.echo(json.dumps({"gpu": card}) + "\n\n" + table(found))
    if any(run["exit"] for runs in found.values() for run in runs):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
