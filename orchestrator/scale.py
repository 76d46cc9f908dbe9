"""Scales: the world a study is asked in. Turns a point of a study's grid into the spec of a training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datagen.errors import InputError
from datagen.prompts import class_prompt
from datagen.shards import MANIFEST, read_manifest
from datagen.spec import DatasetSpec, GeneratedDataset, RealDataset
from trainables.spec import TrainingSpec

REAL, SYNTHETIC = "real", "synthetic"
DIRECTIONS = (f"{REAL}->{SYNTHETIC}", f"{SYNTHETIC}->{REAL}")
PAPERS_NAMES = {"RDTL": DIRECTIONS[0], "SDTL": DIRECTIONS[1]}
"""The papers' names of the directions: real and synthetic data transfer learning."""


@dataclass(frozen=True)
class Rates:
    """Measured speeds, for estimates: of one core or GPU.

    Attributes:
        generated: images drawn a second.
        trained: images a second of a training of the whole network, forward, backward and step.
        prepared: images a second through decoding and views.
        startup: seconds until the first work begins.
        machine: where they were measured.
    """

    generated: float
    trained: float
    prepared: float
    startup: float
    machine: str


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Real data, generator, network and recipe.

    Attributes:
        name: as given to `--scale`.
        summary: one sentence for readers of a report.
        classes: (class name, WordNet id) in label order; the prompts are made of them.
        images: folder with a data set in `train/` and one in `validation/`.
        generator: folder of the diffusion pipeline.
        generation: settings of `GeneratedDataset`.
        recipe: settings of `TrainingSpec`.
        rates: for cost estimates.
        expected_images: how many images each split has, for a plan before they are imported.
        import_hint: how to get the real images.
        generator_hint: how to get the generator.
        published: the data set's name in the papers' tables, if it is one of theirs.
    """

    name: str
    summary: str
    classes: tuple[tuple[str, str], ...]
    images: Path
    generator: Path
    generation: Mapping[str, Any]
    recipe: Mapping[str, Any]
    rates: Rates
    expected_images: Mapping[str, int] = field(default_factory=lambda: {"train": 1, "validation": 1})
    import_hint: str = ""
    generator_hint: str = ""
    published: str | None = None
    _datasets: dict[str, DatasetSpec] = field(default_factory=dict, init=False, repr=False, compare=False)

    def with_settings(self, generation: Mapping[str, Any], recipe: Mapping[str, Any]) -> Scale:
        """The same scale with some settings replaced."""
        return replace(
            self,
            generation={**self.generation, **generation},
            recipe={**self.recipe, **recipe},
        )

    def how_to_get(self, spec: DatasetSpec) -> str:
        """A sentence that says what is missing for a data set that mindgap cannot make itself, and how to get it."""
        if isinstance(spec, GeneratedDataset):
            return f"There is no diffusion pipeline in {self.generator}. {self.generator_hint}"
        return f"The real images are not in {self.images}. {self.import_hint}"

    def dataset(self, kind: str) -> DatasetSpec:
        """The training images of a kind, "real" or "synthetic", or the real "validation" images."""
        if kind not in self._datasets:
            self._datasets[kind] = self._synthetic() if kind == SYNTHETIC else self._real(kind)
        return self._datasets[kind]

    def training(self, point: Mapping[str, Any], seed: int) -> TrainingSpec:
        """The training at a point of a grid.

        `point` has "direction" ("real", "synthetic" from scratch, or "synthetic->real" and its reverse) and settings of
        `TrainingSpec` that override the recipe. A source is the base with the same settings and seed.
        """
        settings = {key: value for key, value in point.items() if key != "direction"}
        pretrained_on, _, trained_on = point["direction"].rpartition("->")
        if pretrained_on:
            base = {key: value for key, value in settings.items() if key not in ("frozen_layers", "fraction")}
            settings["source"] = self._training(pretrained_on, base, seed)
        return self._training(trained_on, settings, seed)

    def _training(self, trained_on: str, settings: Mapping[str, Any], seed: int) -> TrainingSpec:
        fixed = {"train": self.dataset(trained_on), "validation": self.dataset("validation"), "seed": seed}
        return TrainingSpec(**{**self.recipe, **settings, **fixed})

    def _real(self, kind: str) -> RealDataset:
        split = "train" if kind == REAL else kind
        expected = tuple(name for name, _ in self.classes)
        if not (self.images / split / MANIFEST).exists():
            return RealDataset(
                name=kind,
                class_names=expected,
                split=split,
                digest="not imported",
                rows=self.expected_images[split],
                folder=self.images / split,
            )
        manifest = read_manifest(self.images / split)
        if manifest.class_names != expected:
            raise InputError(f"The classes of {self.images / split} are not those of the scale {self.name}.")
        return RealDataset(
            name=kind,
            class_names=expected,
            split=split,
            digest=manifest.digest,
            rows=manifest.rows,
            folder=self.images / split,
        )

    def _synthetic(self) -> GeneratedDataset:
        return GeneratedDataset(
            name=SYNTHETIC,
            class_names=tuple(name for name, _ in self.classes),
            prompts=tuple(class_prompt(name, wordnet_id) for name, wordnet_id in self.classes),
            pipeline=self.generator.name,
            pipeline_digest=folder_digest(self.generator) if self.generator.is_dir() else "not there",
            pipeline_folder=self.generator,
            **self.generation,
        )


def folder_digest(folder: Path) -> str:
    """sha256 (64 hexadecimal digits) over the names and bytes of a pipeline's configuration and weight files.

    Raises:
        InputError: the folder is missing or has no files.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".txt"))
    files = [path for path in files if path.parent != folder or path.name == "model_index.json"]
    if not files:
        raise InputError(f"There is no diffusion pipeline in {folder}. Point the scale's generator to its folder.")
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
