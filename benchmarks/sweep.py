"""The pocket layer-importance grid four ways in one run: 2 bases and 34 transfers, equal images, epochs and recipe.

    python -m benchmarks.sweep [--epochs 12] [--out benchmarks/results/sweep.json]

(a) mindgap; (b) one Ray Tune trial per grid point in a fresh process each, as Ray's documentation writes it; (c) the
same with reuse_actors=True and the images decoded once a process; (d) a sequential torch script. The synthetic images
exist beforehand for all. Each way runs in processes of its own, and its start-up counts.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks.common.plain import PlainTask, train
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load_scale, load_study
from orchestrator.planning.plan import make_plan
from orchestrator.storage.store import Store
from trainables.direction import Direction

WAYS = {
    "mindgap": "(a) mindgap: `python -m orchestrator.sweep layer_importance`",
    "tune": "(b) Ray Tune, a fresh process for each trial",
    "tune_reuse": "(c) Ray Tune, `reuse_actors=True`, images decoded once a process",
    "script": "(d) a sequential torch script",
}


@click.group(invoke_without_command=True)
@click.option("--epochs", default=12, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/sweep.json"), show_default=True
)
@click.option("--ways", default=",".join(WAYS), show_default=True, help="Which ways to run, in order.")
@click.pass_context
def main(context: click.Context, epochs: int, out: Path, ways: str) -> None:
    """Runs the ways one after the other and writes their wall times, ratios and accuracies."""
    if context.invoked_subcommand:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = [f"epochs={epochs}"]
        click.echo("generating the synthetic images (not counted)")
        _run([sys.executable, "-m", "benchmarks.sweep", "prepare", str(root / "store"), *settings])
        results = {}
        for way in ways.split(","):
            command = [sys.executable, "-m", "benchmarks.sweep", way.replace("_", "-"), str(root / "store"), *settings]
            started = time.perf_counter()
            output = _run(command)
            results[way] = {"seconds": time.perf_counter() - started, **json.loads(output.splitlines()[-1])}
            click.echo(f"{WAYS[way]}: {results[way]['seconds']:.0f} s, {_spread(results[way]['top1'])}")
    _write(out, epochs, results)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def _spread(top1: dict[str, float]) -> str:
    real, synthetic = top1["real"], top1["synthetic"]
    transfers = [value for key, value in top1.items() if Direction.parse(key.split()[0]).source is not None]
    return f"real {real:.1f}, synthetic {synthetic:.1f}, mean of transfers {statistics.mean(transfers):.1f}"


def _write(out: Path, epochs: int, results: dict[str, Any]) -> None:
    first = results["mindgap"]["seconds"] if "mindgap" in results else None
    for result in results.values():
        result["ratio"] = result["seconds"] / first if first else None
    about = {"epochs": epochs, "cpus": os.cpu_count(), "machine": _processor(), "python": platform.python_version()}
    out.write_text(json.dumps({**about, "ways": results}, indent=2) + "\n", encoding="utf-8")
    click.echo(f"\n{about['machine']}, {about['cpus']} cores\n")
    click.echo("| way | seconds | against mindgap | top-1 |\n|---|---|---|---|")
    for way, result in results.items():
        ratio = f"{result['ratio']:.2f}x" if result["ratio"] else ""
        click.echo(f"| {WAYS[way]} | {result['seconds']:.0f} | {ratio} | {_spread(result['top1'])} |")


def _processor() -> str:
    names = [
        line.split(":")[1]
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if "model name" in line
    ]
    return names[0].strip() if names else platform.processor()


def _plan(store: str, settings: tuple[str, ...]) -> Any:
    study, scale = apply_overrides(load_study("layer_importance"), load_scale("pocket"), settings)
    return make_plan(study, scale, 1, Store(Path(store)).create())


def _tasks(store: str, settings: tuple[str, ...], weights: Path) -> dict[str, PlainTask]:
    """The grid as plain tasks, the two bases first; a transfer takes its base's weights from `weights`."""
    plan, tasks = _plan(store, settings), {}
    for spec in plan.trials:
        task = PlainTask(
            train=Store(Path(store)).folder(spec.train),
            validation=spec.validation.folder,
            epochs=spec.epochs,
            batch_size=spec.batch_size,
            learning_rate=spec.learning_rate,
            warmup_epochs=spec.warmup_epochs,
            minimum_crop=spec.minimum_crop,
        )
        if spec.source is not None:
            task = replace(task, frozen_layers=spec.frozen_layers, source=weights / f"{spec.source.train.name}.pt")
        tasks[f"{spec.direction} {spec.frozen_layers}".removesuffix(" 0")] = task
    return tasks


def _mean_of_last(top1: list[float]) -> float:
    return statistics.mean(top1[-5:])


@main.command()
@click.argument("store")
@click.argument("settings", nargs=-1)
def prepare(store: str, settings: tuple[str, ...]) -> None:
    """Generates the synthetic images into the store."""
    from datagen.core.ray_session import prepare as prepare_ray
    from datagen.generation.engine import generate

    prepare_ray(None)
    plan, opened = _plan(store, settings), Store(Path(store))
    spec = plan.scale.dataset("synthetic")
    generate(spec, opened.partial_folder(spec.fingerprint), workers=os.cpu_count() or 1)
    opened.publish_dataset(spec)


@main.command()
@click.argument("store")
@click.argument("settings", nargs=-1)
def mindgap(store: str, settings: tuple[str, ...]) -> None:
    """Way (a)."""
    command = [sys.executable, "-m", "orchestrator.sweep", "layer_importance", *settings, "--store", store]
    subprocess.run(command, check=True, stdout=sys.stderr)
    plan, opened = _plan(store, settings), Store(Path(store))
    top1 = {
        f"{spec.direction} {spec.frozen_layers}".removesuffix(" 0"): _mean_of_last(
            [row["top1"] for row in opened.read_model(spec).history]
        )
        for spec in plan.trials
    }
    print(json.dumps({"top1": top1}))


@main.command()
@click.argument("store")
@click.argument("settings", nargs=-1)
def script(store: str, settings: tuple[str, ...]) -> None:
    """Way (d): one process, torch's own choice of threads."""
    import torch

    from trainables.input.data import load_images

    with tempfile.TemporaryDirectory() as folder:
        images: dict[Path, Any] = {}
        top1 = {}
        for name, task in _tasks(store, settings, Path(folder)).items():
            for path in (task.train, task.validation):
                images.setdefault(path, load_images(path))
            state, curve = train(task, (images[task.train], images[task.validation]))
            top1[name] = _mean_of_last(curve)
            if task.source is None:
                torch.save(state, Path(folder) / f"{name}.pt")
    print(json.dumps({"top1": top1}))


@main.command()
@click.argument("store")
@click.argument("settings", nargs=-1)
def tune(store: str, settings: tuple[str, ...]) -> None:
    """Way (b)."""
    _tune(store, settings, reuse=False)


@main.command()
@click.argument("store")
@click.argument("settings", nargs=-1)
def tune_reuse(store: str, settings: tuple[str, ...]) -> None:
    """Way (c)."""
    _tune(store, settings, reuse=True)


def _tune(store: str, settings: tuple[str, ...], reuse: bool) -> None:
    import ray
    from ray import tune as ray_tune

    ray.init("local", log_to_driver=False, include_dashboard=False)
    with tempfile.TemporaryDirectory() as folder:
        tasks = _tasks(store, settings, Path(folder))
        top1: dict[str, float] = {}
        for stage in ("bases", "transfers"):
            names = [name for name, task in tasks.items() if (task.source is None) == (stage == "bases")]
            grid = [{"name": name, "task": tasks[name], "weights": folder, "reuse": reuse} for name in names]
            results = ray_tune.Tuner(
                ray_tune.with_resources(_tune_trial, {"cpu": 1}),
                param_space={"trial": ray_tune.grid_search(grid)},
                tune_config=ray_tune.TuneConfig(reuse_actors=reuse),
                run_config=ray_tune.RunConfig(storage_path=f"{folder}/tune", verbose=0),
            ).fit()
            top1 |= {result.config["trial"]["name"]: result.metrics["top1"] for result in results}
    print(json.dumps({"top1": top1}))


_DECODED: dict[Path, Any] = {}


def _tune_trial(config: dict[str, Any]) -> None:
    import torch
    from ray import tune as ray_tune

    from trainables.input.data import load_images

    torch.set_num_threads(1)
    trial = config["trial"]
    task: PlainTask = trial["task"]
    images = None
    if trial["reuse"]:
        for path in (task.train, task.validation):
            if path not in _DECODED:
                _DECODED[path] = load_images(path)
        images = (_DECODED[task.train], _DECODED[task.validation])
    state, curve = train(task, images)
    if task.source is None:
        torch.save(state, f"{trial['weights']}/{trial['name']}.pt")
    ray_tune.report({"top1": _mean_of_last(curve)})


if __name__ == "__main__":
    main()
