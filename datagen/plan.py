"""What making a data set would take: counts, shards, hours, disk, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datagen.core.errors import InputError
from datagen.datasets.shards import MANIFEST
from datagen.datasets.spec import (
    DatasetSpec,
    DerivedDataset,
    DiffusionDataset,
    GeneratedDataset,
    RealDataset,
)
from datagen.datasets.virtual import VirtualDataset
from datagen.generation.pipeline_folders import check_weights
from datagen.generation.shard_generator import shard_count
from datagen.recipes.load import RecipeFile, load_recipe
from datagen.storage.store import DatasetStore

BYTES_PER_PIXEL = {"jpeg": 0.2, "png": 1.6}
"""Of photographs, roughly: JPEG of quality 95 takes about 40 kB for 512 x 384 pixels."""


@dataclass(frozen=True)
class DatasetPlan:
    """A data set to be made.

    Attributes:
        spec: what it is.
        folder: where it is, or will be: a folder, or an address.
        state: "there", "to make", or how many shards of an interrupted run are kept.
        shards: files in all.
        hours: of one GPU (of one core at the pocket scale), for the images that are not there; None where no rate is
            known.
        rate_from: where the rate comes from.
        bytes: of disk, estimated.
        prompts: distinct prompts.
        missing: a sentence for each thing that must be provided first.
        first: the sets that must be made before, in order.
    """

    spec: DerivedDataset
    folder: str
    state: str
    shards: int
    hours: float | None
    rate_from: str
    bytes: int
    prompts: int
    missing: tuple[str, ...]
    first: tuple[DerivedDataset, ...]

    def document(self) -> dict[str, Any]:
        """The plan as plain values, for programs."""
        return {
            "spec": self.spec.described(),
            "fingerprint": self.spec.fingerprint,
            "folder": self.folder,
            "state": self.state,
            "images": self.spec.images,
            "classes": len(self.spec.class_names),
            "shards": self.shards,
            "prompts": self.prompts,
            "hours": self.hours,
            "rate_from": self.rate_from,
            "bytes": self.bytes,
            "made_first": [spec.fingerprint for spec in self.first],
            "missing": list(self.missing),
        }


def plan_dataset(file: RecipeFile, spec: DerivedDataset, store: DatasetStore) -> DatasetPlan:
    """Plans a recipe's set without loading networks or starting anything."""
    shards, whole = shard_count(spec), store.has(spec)
    kept = 0 if whole else store.shards_kept(spec)
    state = "there" if whole else f"{kept} of {shards} shards are there" if kept else "to make"
    seconds = spec.seconds
    share = 0 if whole else 1 - kept / shards
    first = tuple(part for part in _made_first(spec) if not store.has(part))
    return DatasetPlan(
        spec=spec,
        folder=store.where(spec),
        state=state,
        shards=shards,
        hours=None if seconds is None else seconds * share / 3600,
        rate_from="no rate is known for this recipe" if spec.rate is None else str(spec.rate),
        bytes=stored_bytes_of(spec),
        prompts=len({p for ps in getattr(spec, "prompts", ()) for p in ps}),
        missing=() if whole else tuple(dict.fromkeys(_missing(file, spec))),
        first=() if whole else first,
    )


def stored_bytes_of(spec: DerivedDataset) -> int:
    """What a set takes on the disk, about."""
    return round(spec.images * _stored_pixels(spec) * BYTES_PER_PIXEL[spec.image_format])


def _stored_pixels(spec: DerivedDataset) -> float:
    short = min(spec.width, spec.height)
    smaller = min(spec.stored_size or short, short) / short
    return spec.width * spec.height * smaller**2


def _made_first(spec: DatasetSpec) -> list[DerivedDataset]:
    """The made sets that a set is made of, the first to make first."""
    found: list[DerivedDataset] = []
    for part in spec.made_from:
        found += _made_first(part)
        if isinstance(part, DerivedDataset):
            found.append(part)
    return found


def _missing(file: RecipeFile, spec: DerivedDataset) -> list[str]:
    sentences = [_weights_sentence(file, part) for part in (*_made_first(spec), spec)]
    for part in (*_made_first(spec), spec):
        sentences += [_source_sentence(source) for source in part.made_from]
    return [sentence for sentence in sentences if sentence]


def _weights_sentence(file: RecipeFile, spec: DerivedDataset) -> str:
    # A set that is made first is of another shipped recipe, by whose name it goes.
    hint = (file if spec.name == file.name else load_recipe(spec.name)).recipe.how_to_get
    if absent := [folder for folder in spec.weights if not folder.is_dir()]:
        return f"There is no folder {absent[0]}. {hint}".strip()
    try:
        if isinstance(spec, DiffusionDataset):
            check_weights(spec)
    except InputError as error:
        return str(error)
    return ""


def _source_sentence(source: DatasetSpec) -> str:
    if isinstance(source, VirtualDataset):
        return f"A set such as {source.name} is never stored, so nothing can be made of it. Choose another source."
    if isinstance(source, RealDataset) and not (source.folder / MANIFEST).is_file():
        return (
            f"The source images are not in {source.folder}. Import them (python -m datagen.import_images --help), or "
            "give source=DIR, the folder of a data set."
        )
    return ""


def _stored_as(spec: DerivedDataset) -> str:
    is_smaller = 0 < spec.stored_size < min(spec.width, spec.height)
    return f"stored with a shorter side of {spec.stored_size}, " if is_smaller else ""


def _variants(spec: DiffusionDataset) -> str:
    """What changes the images for speed or memory beside steps and scheduler; empty by default."""
    reused = f", DeepCache every {spec.deepcache_interval} steps" if spec.deepcache_interval > 1 else ""
    return reused + (", weights in float8" if spec.denoiser_weights == "float8" else "")


def described(plan: DatasetPlan) -> list[tuple[str, str]]:
    """The plan as (what, how much), for readers."""
    spec = plan.spec
    per_class = f" ({spec.images_per_class:,} of each)" if isinstance(spec, GeneratedDataset) else ""
    rows = [
        ("images", f"{spec.images:,} of {len(spec.class_names):,} classes{per_class}"),
        ("size and format", f"{spec.width} x {spec.height} pixels, {_stored_as(spec)}{spec.image_format}"),
        ("shards", f"{plan.shards:,} of {min(spec.rows_per_shard, spec.images):,} images"),
    ]
    if isinstance(spec, DiffusionDataset):
        sampling = f"scheduler {spec.scheduler}, {spec.precision}{_variants(spec)}"
        guidance = f"guidance {spec.guidance:g}" + ("" if spec.guidance > 1 else " (none)")
        rows += [
            ("pipeline", spec.pipeline_folder.name + (f" with {spec.adapter}" if spec.adapter else "")),
            (
                "sampling",
                f"{spec.steps} steps, {guidance}, {sampling}",
            ),
            ("prompts", f"{plan.prompts:,} different"),
        ]
    hours = "unknown" if plan.hours is None else f"{plan.hours:,.2f}" if plan.hours < 10 else f"{plan.hours:,.0f}"
    rows += [
        ("hours of one device", f"{hours}, at the rate of: {plan.rate_from}"),
        ("disk", f"about {plan.bytes / 1e6:,.0f} MB ({BYTES_PER_PIXEL[spec.image_format]} bytes a pixel)"),
        ("folder", plan.folder),
        ("state", plan.state),
    ]
    rows += [("made first", f"{part.title}, {part.images:,} images") for part in plan.first]
    return rows + [("missing", sentence) for sentence in plan.missing]
