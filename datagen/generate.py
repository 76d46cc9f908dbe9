"""The command `python -m datagen.generate`: plans or makes a recipe's data set.

Exit codes: 0 all there; 1 some images could not be made, the others are kept; 2 wrong usage or input; 130 interrupted,
resumable.
"""

from __future__ import annotations

import json
import time

import click
from rich.console import Console
from rich.table import Table

from datagen.core.command import errors_in_a_sentence
from datagen.core.errors import InputError
from datagen.core.progress import ImageProgress
from datagen.core.terminal import console_for_output
from datagen.core.wording import listed
from datagen.datasets.shards import read_manifest
from datagen.datasets.spec import DerivedDataset
from datagen.generation.engine import make_dataset
from datagen.hub.downloading import fetch_all
from datagen.hub.models import find_model
from datagen.plan import DatasetPlan, described, plan_dataset
from datagen.recipes.load import absolute, load_recipe, make_spec, recipe_names, with_files
from datagen.recipes.recipe import DiffusionRecipe
from datagen.storage.store import DatasetStore


@click.command(context_settings={"max_content_width": 110})
@click.argument("recipe", metavar="SPEC", required=False)
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--plan", is_flag=False, flag_value="table", help="Show what it would take, as a table or json.")
@click.option("--store", default="store", show_default=True, help="Folder, or s3://bucket/folder: as the sweep's.")
@click.option("--address", help="Join a running Ray cluster, for example auto or ray://host:10001.")
@click.option("--workers", type=click.IntRange(1), help="Pipelines at once.  [default: all GPUs, else all CPUs]")
@click.option(
    "--gpus-per-worker",
    type=click.FloatRange(0),
    help="1/2 puts two pipelines on a GPU, 0 draws on CPUs.  [default: 1 if there are GPUs]",
)
@click.option("--yes", is_flag=True, help="Fetch what the hub has without a question.")
@errors_in_a_sentence
def main(
    recipe: str | None,
    settings: tuple[str, ...],
    plan: str | None,
    store: str,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    yes: bool,
) -> None:
    r"""Makes the data set of SPEC, a name in experiments/datasets/ or a Python file; without one, lists the names.

    \b
    python -m datagen.generate pocket
    python -m datagen.generate imagenet100_sd14 guidance=7.5 pipeline=DIR --plan
    """
    console = console_for_output()
    if plan is not None and "=" in plan:
        settings, plan = (plan, *settings), "table"
    if recipe is None:
        _list(console)
        return
    if plan not in (None, "table", "json"):
        raise InputError(f"--plan shows a table or json, not {plan!r}.")
    file = load_recipe(recipe)
    file, others = with_files(file, settings)
    if plan is None and isinstance(file.recipe, DiffusionRecipe):
        fetch_all([find_model(name, folder) for folder, name in file.recipe.on_the_hub.items()], yes, console)
    spec: DerivedDataset = absolute(make_spec(file, others))
    kept = DatasetStore(store).look()
    planned = plan_dataset(file, spec, kept)
    if plan == "json":
        print(json.dumps(planned.document(), indent=2))
    elif plan == "table":
        _show(file.name, planned, console)
    else:
        _make(planned, kept, address, workers, gpus_per_worker, console)


def _list(console: Console) -> None:
    table = Table("data set", "how")
    for name in recipe_names():
        table.add_row(name, getattr(load_recipe(name).recipe, "label", "style transfer"))
    console.print(table)
    console.print("python -m datagen.generate NAME --plan    shows what one would take")


def _show(name: str, plan: DatasetPlan, console: Console) -> None:
    table = Table(title=f"{name}  {plan.spec.fingerprint[:12]}", show_header=False, title_justify="left")
    for what, how in described(plan):
        table.add_row(what, how, style="red" if what == "missing" else "")
    console.print(table)


def _make(
    plan: DatasetPlan,
    store: DatasetStore,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    console: Console,
) -> None:
    if store.has(plan.spec):
        if complaints := store.complaints(plan.spec):
            raise InputError(f"{complaints[0]}. Remove {plan.folder} to have the set made again.")
        console.print(f"Already there: {plan.folder}")
        return
    if plan.missing:
        raise InputError(plan.missing[0])
    store.create()
    for spec in (*plan.first, plan.spec):
        _make_one(absolute(spec), store, address, workers, gpus_per_worker, console)


def _make_one(
    spec: DerivedDataset,
    store: DatasetStore,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    console: Console,
) -> None:
    started = time.monotonic()
    console.print(f"{spec.title}: {spec.images:,} images into {store.where(spec)}")
    with ImageProgress(console, "starting Ray and loading the networks") as progress:
        workers, gpus = _resources(address, workers, gpus_per_worker)
        folder = make_dataset(
            spec,
            store,
            workers=workers,
            gpus_per_worker=gpus,
            on_progress=lambda done: progress(done, spec.images),
            say=lambda sentence: console.print(sentence),
        )
    manifest, seconds = read_manifest(folder), time.monotonic() - started
    size = sum(shard.bytes for shard in manifest.shards) / 1e6
    console.print(
        f"{folder}: {manifest.rows:,} images, {len(manifest.shards):,} shards, {size:,.1f} MB, {seconds:,.0f} seconds",
    )
    if left_out := manifest.description.get("left_out"):
        named = listed([f"{name}: {reason}" for name, reason in left_out.items()])
        console.print(f"{len(left_out)} style pictures could not be used, others took their place: {named}.")


def _resources(address: str | None, workers: int | None, gpus_per_worker: float | None) -> tuple[int, float]:
    """How many workers, and the GPUs of each."""
    from datagen.core.ray_session import start_ray

    start_ray(address)
    import ray

    available = ray.cluster_resources()
    gpus, cpus = available.get("GPU", 0), int(available.get("CPU", 1))
    if gpus_per_worker is None:
        gpus_per_worker = 1 if gpus else 0
    if gpus_per_worker > gpus:
        raise InputError(f"--gpus-per-worker {gpus_per_worker:g} is more than the {gpus:g} GPUs there are.")
    most = int(gpus / gpus_per_worker) if gpus_per_worker else cpus
    return min(workers or most, most), gpus_per_worker


if __name__ == "__main__":
    main()
