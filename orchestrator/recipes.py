"""Recipes of training: settings under one name, a file in `experiments/recipes/` or a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from datagen.core.errors import InputError, said_of
from datagen.core.python_files import load_file, shipped_names
from orchestrator.settings import TRAINING

FOLDER = "recipes"


def recipe_names() -> list[str]:
    """The names of the recipes that ship."""
    return shipped_names(FOLDER)


@cache
def training_recipe(name: str) -> Mapping[str, Any]:
    """The settings of `TrainingSpec` that a recipe gives; what it leaves out is the scale's.

    Args:
        name: of a file in `experiments/recipes/`, or the path of a user's file; it has RECIPE, a dictionary.

    Raises:
        InputError: there is no such file, it has no RECIPE, or a setting is unknown or not allowed.
    """
    module = load_file(name, "recipe", FOLDER)
    if not hasattr(module, "RECIPE"):
        raise InputError(f"{name} has no RECIPE. Write settings of trainings there: RECIPE = {{'optimizer': 'adamw'}}.")
    with said_of(f"The recipe {Path(name).stem}"):
        return MappingProxyType(TRAINING.checked(module.RECIPE))
