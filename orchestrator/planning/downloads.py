"""What a plan lacks and the hub has: real images, generators, pretrained networks. Fetched after one question."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from datagen.core.digests import NOT_THERE
from datagen.datasets.spec import NOT_IMPORTED, DerivedDataset, DiffusionDataset, RealDataset
from datagen.hub.downloading import Download, fetch_all, size_words
from datagen.hub.models import find_model
from datagen.importing.from_hub import HubImport
from datagen.plan import stored_bytes_of
from datagen.recipes.recipe import DiffusionRecipe
from orchestrator.planning.plan import Plan
from trainables.spec import TrainingSpec


def models_to_fetch(plan: Plan) -> dict[Path, str]:
    """The folders of weights that the selected part of a plan lacks, and where the hub has what belongs in them."""
    scale, missing = plan.scale, plan.part.missing()
    drawing = [recipe for recipe in scale.generators.values() if isinstance(recipe, DiffusionRecipe)]
    known = {folder: name for recipe in drawing for folder, name in recipe.on_the_hub.items()}
    wanted = {folder for spec in missing if isinstance(spec, DiffusionDataset) for folder in spec.weights}
    found = {folder: name for folder, name in known.items() if folder in wanted}
    unstarted = any(isinstance(spec, TrainingSpec) and spec.initial_weights == NOT_THERE for spec in missing)
    return found | (scale.pretrained.on_the_hub if scale.pretrained and unstarted else {})


def lacks_images(plan: Plan) -> bool:
    """Whether real images are not there that the hub has."""
    return plan.scale.hub is not None and any(
        isinstance(spec, RealDataset) and not spec.synthetic and spec.digest == NOT_IMPORTED
        for spec in plan.part.artifacts
    )


def sizes_words(plan: Plan) -> str:
    """What is to fetch and what will be drawn, in bytes, as far as recipes and scale say; "" if nothing is lacking."""
    scale, models = plan.scale, models_to_fetch(plan)
    drawing = [recipe for recipe in scale.generators.values() if isinstance(recipe, DiffusionRecipe)]
    sizes = [recipe.hub_bytes for recipe in drawing if recipe.pipeline in models]
    sizes += [scale.hub.bytes] if scale.hub is not None and lacks_images(plan) else []
    parts = [f"about {size_words(sum(sizes))} to fetch"] if sum(sizes) else []
    made = [spec for spec in plan.part.missing() if isinstance(spec, DerivedDataset)]
    parts += [f"{size_words(sum(map(stored_bytes_of, made)))} of images to make"] if made else []
    trainings = sum(isinstance(spec, TrainingSpec) for spec in plan.part.missing())
    return f"Disk: {', '.join(parts)}, and weights of {trainings:,} trainings." if parts else ""


def fetch_missing(plan: Plan, yes: bool, address: str | None, console: Console) -> bool:
    """Fetches what is lacking, after one question for all; returns whether anything was.

    Raises:
        InputError: the user does not agree, or the hub, the network or the disk refuses; the same command goes on.
    """
    models, scale = models_to_fetch(plan), plan.scale
    if not models and not lacks_images(plan):
        return False
    console.print("Asking the hub for what is not here")
    found: list[Download] = [find_model(name, folder) for folder, name in models.items()]
    if scale.hub is not None and lacks_images(plan):
        found.append(scale.hub.find(scale.images.absolute(), address))
    fetch_all(found, yes, console)
    if any(isinstance(item, HubImport) for item in found):
        _end_ray()
    return True


def _end_ray() -> None:
    """The import has started Ray without a dashboard; the sweep starts it as the user has asked for."""
    import ray

    ray.shutdown()
