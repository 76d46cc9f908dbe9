"""Finds a data set's recipe by name or path, and makes its spec with what is on the disk.

A recipe file is Python with `RECIPE`, `CLASSES` (pairs of class name and WordNet id, or WordNet ids alone, in label
order), and, for sets that are made of others, `SOURCE`: the folder of an imported or generated set, or the name of
another recipe. `SOURCE_IMAGES` says how many images an imported source will have, for a plan before it is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from datagen.core.errors import InputError, said_of
from datagen.core.identity import Allowed, Spec
from datagen.core.python_files import load_file, shipped_names
from datagen.core.settings import Setting, Settings, split_assignment, unknown_key
from datagen.core.wording import differences
from datagen.datasets.shards import MANIFEST, read_manifest
from datagen.datasets.spec import (
    NOT_IMPORTED,
    DatasetSpec,
    DerivedDataset,
    RealDataset,
)
from datagen.hub.models import folder_of
from datagen.hub.repository import is_reference
from datagen.recipes.recipe import DiffusionRecipe, StyleRecipe
from datagen.recipes.settings import STYLED, TEXT_TO_IMAGE, named_classes, settings_of_method

FOLDER = "datasets"
"""Of `experiments/`, where the shipped recipes are."""


@dataclass(frozen=True)
class RecipeFile:
    """A recipe with its classes and its source.

    Attributes:
        name: the recipe's, or the file's without ending.
        recipe: how the set is made.
        classes: (class name, WordNet id) in label order.
        source: a folder, or the name of a recipe; None for sets that are drawn from prompts.
        source_images: how many images a source has that is not there yet.
    """

    name: str
    recipe: DiffusionRecipe | StyleRecipe
    classes: tuple[tuple[str, str], ...]
    source: str | Path | None = None
    source_images: int = 1

    def settings(self) -> Settings:
        """What `key=value` can set of the spec, by key."""
        return STYLED if isinstance(self.recipe, StyleRecipe) else settings_of_method(self.recipe.method)

    @property
    def files(self) -> tuple[str, ...]:
        """The keys that name files and folders."""
        keys = ("network", "styles") if isinstance(self.recipe, StyleRecipe) else ("pipeline", "adapter")
        prompts = () if isinstance(self.recipe, StyleRecipe) else ("prompts_file",)
        return (*keys, *prompts, *(("source",) if self.source is not None else ()))


def recipe_names() -> list[str]:
    """The names of the shipped recipes."""
    return shipped_names(FOLDER)


def load_recipe(name: str) -> RecipeFile:
    """The recipe of a shipped name, or of a Python file's path. The file is run: use only those you trust.

    Raises:
        InputError: there is no such recipe, or the file lacks what a recipe needs.
    """
    return _checked_file(Path(name).stem, load_file(name, "data set", FOLDER))


def _checked_file(name: str, module: ModuleType) -> RecipeFile:
    recipe, classes = getattr(module, "RECIPE", None), getattr(module, "CLASSES", None)
    if not isinstance(recipe, DiffusionRecipe | StyleRecipe):
        raise InputError(
            f"{module.__file__} has no RECIPE, a DiffusionRecipe or StyleRecipe of datagen.recipes.recipe."
        )
    if not classes:
        raise InputError(f"{module.__file__} has no CLASSES: pairs of class name and WordNet id, in label order.")
    source = getattr(module, "SOURCE", None)
    if source is None and (isinstance(recipe, StyleRecipe) or recipe.method != TEXT_TO_IMAGE):
        raise InputError(f"{module.__file__} has no SOURCE: the folder of a data set, or the name of a recipe.")
    with said_of(f"{module.__file__}, CLASSES"):
        pairs = named_classes(classes)
    with said_of(str(module.__file__)):
        given = Setting("SOURCE", str | Path | None).checked(source)
        count = Setting("SOURCE_IMAGES", int, Allowed(minimum=1)).checked(getattr(module, "SOURCE_IMAGES", 1))
    return RecipeFile(name, recipe, pairs, given, count)


def make_spec(file: RecipeFile, assignments: Sequence[str] = ()) -> DerivedDataset:
    """The spec of a recipe's set with `key=value` assignments applied.

    Args:
        file: the recipe.
        assignments: settings of the spec, "prompt_style", or files and folders: "pipeline", "adapter", "network",
            "styles", "prompts_file", "source". A pipeline or adapter may be a hub's "owner/name".

    Raises:
        InputError: a key is unknown, a value is not allowed, a class has no prompt, or the source has other classes.
    """
    file, others = with_files(file, assignments)
    known = file.settings()
    values: dict[str, Any] = {}
    for key, text in map(split_assignment, others):
        if key in known:
            values[key] = known[key].value(text)
        else:
            raise unknown_key(key, {*known, *file.files})
    recipe = file.recipe
    source = None if file.source is None else source_spec(file)
    if isinstance(recipe, StyleRecipe):
        assert source is not None
        return recipe.spec(file.name, source, **values)
    return recipe.spec(file.name, file.classes, source, **values)


def with_files(file: RecipeFile, assignments: Sequence[str]) -> tuple[RecipeFile, list[str]]:
    """The recipe with the files and folders that are given, and the other assignments."""
    others = []
    for assignment in assignments:
        key, text = split_assignment(assignment)
        if key in file.files:
            file = _with_file(file, key, text)
        else:
            others.append(assignment)
    return file, others


def _with_file(file: RecipeFile, key: str, text: str) -> RecipeFile:
    if key == "source":
        return replace(file, source=text if text in recipe_names() else Path(text))
    if key in ("pipeline", "adapter"):
        folder = folder_of(text)
        named = text if is_reference(text) and not Path(text).is_dir() else ""
        changed: Mapping[str, Any] = {key: folder, "hub" if key == "pipeline" else "adapter_hub": named}
    else:
        changed = {key: Path(text).absolute()}
    return replace(file, recipe=replace(file.recipe, **changed))


def source_spec(file: RecipeFile) -> DatasetSpec:
    """The spec of the set that a recipe's set is made of.

    Raises:
        InputError: the source has other classes than the recipe.
    """
    if isinstance(file.source, str):
        return make_spec(load_recipe(file.source))
    assert file.source is not None
    folder, names = file.source.absolute(), tuple(name for name, _ in file.classes)
    common: dict[str, Any] = {"name": "real", "class_names": names, "folder": folder}
    if not (folder / MANIFEST).is_file():
        return RealDataset(**common, split="train", digest=NOT_IMPORTED, rows=file.source_images)
    manifest = read_manifest(folder)
    if difference := differences(manifest.class_names, names):
        raise InputError(
            f"The classes of {folder} are not those of {file.name}: it {difference}. Choose another source."
        )
    return RealDataset(**common, split=manifest.split, digest=manifest.digest, rows=manifest.rows)


def absolute(spec: Spec) -> Any:
    """The spec with absolute paths: workers may run in another folder."""
    paths = {name: value.absolute() for name, value in vars(spec).items() if isinstance(value, Path)}
    return replace(spec, **paths)
