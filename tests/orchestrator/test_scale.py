"""A scale or a recipe with a mistake is refused when it is written down, in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datagen.core.errors import InputError
from datagen.datasets.spec import GeneratedDataset, OracleDataset
from datagen.recipes.recipe import DiffusionRecipe, StyleRecipe
from orchestrator.planning.catalog import load_scale
from orchestrator.provisions import Pretrained, Rates

POCKET = load_scale("pocket")
RECIPE = POCKET.generators["default"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"recipe": {"epoch": 3}}, "recipe: There is no setting 'epoch'. Did you mean 'epochs'?"),
        ({"recipe": {"epochs": "3"}}, "recipe: epochs must be a whole number, at least 1, not '3'."),
        ({"recipe": {"guidance": 2.0}}, "recipe: There is no setting 'guidance'."),
        ({"recipe": {"seed": 2}}, "recipe: There is no setting 'seed'."),
        ({"recipe": ("epochs", 3)}, "recipe: Settings are a dictionary"),
        ({"generation": {"guidence": 2.0}}, "generation: There is no setting 'guidence'. Did you mean 'guidance'?"),
        ({"generation": {"guidance": float("nan")}}, "generation: guidance must be a finite number, from 0 to 100"),
        ({"classes": ()}, "classes: There are no classes."),
        ({"classes": (("boot", ""), ("boot", ""))}, "classes: Two classes are called 'boot'."),
        ({"classes": ("n99999999",)}, "classes: 'n99999999' is no noun of WordNet 3.0."),
        (
            {"classes": (("boot",),)},
            "classes: A class is a pair of its name and its WordNet id",
        ),
        ({"classes": "boot"}, "classes: Classes are pairs of class name and WordNet id"),
        ({"generators": {}}, "generators: Generators are a dictionary with 'default' in it, not {}."),
        ({"generators": {"default": RECIPE, "two words": RECIPE}}, "generators: A name is of letters"),
        (
            {"generators": {"default": "sd14"}},
            "generators: A generator is a name with a DiffusionRecipe or an ImportedRecipe",
        ),
        ({"expected_images": {"train": 1}}, "expected_images: It does not say how many images validation has."),
        (
            {"expected_images": {"training": 1}},
            "There is no setting 'training'. Did you mean 'train'?",
        ),
        ({"published": "imagenet"}, "The papers have no data set 'imagenet'. Did you mean 'imagenet100'?"),
        ({"name": "my scale"}, "A name is of letters"),
        ({"images": 3}, "images must be a path, not 3."),
        ({"rates": 3}, "rates must be of type Rates, not 3."),
        ({"style": RECIPE}, "style must be of type StyleRecipe or nothing, not DiffusionRecipe("),
    ],
)
def test_a_scale_with_a_mistake_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        replace(POCKET, **changes)
    assert str(refusal.value).startswith("The scale ") and sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"settings": {"stepps": 3}}, "There is no setting 'stepps'. Did you mean 'steps'?"),
        ({"settings": {"steps": 0}}, "steps must be from 1 to 1000, not 0."),
        ({"settings": {"strength": 0.5}}, "There is no setting 'strength'."),
        ({"settings": {"prompt_style": "d"}}, "prompt_style must be one of c; c, d_c; "),
        ({"prompt_style": "d"}, "prompt_style must be one of c; c, d_c; "),
        ({"method": "unclipp"}, "method must be one of text_to_image, unclip, image_to_image, not 'unclipp'."),
        ({"pipeline": None}, "pipeline must be a path, not None."),
        ({"rate": 3}, "rate must be of type Rate or nothing, not 3."),
    ],
)
def test_a_recipe_with_a_mistake_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        replace(RECIPE, **changes)
    assert str(refusal.value).startswith(f"The recipe {RECIPE.label!r}: ") and sentence in str(refusal.value)


def test_a_recipe_of_styles_has_settings_of_its_own() -> None:
    with pytest.raises(InputError, match=r"The recipe of styles: There is no setting 'alhpa'\. Did you mean 'alpha'\?"):
        StyleRecipe(network=Path("n"), styles=Path("s"), settings={"alhpa": 1})


@pytest.mark.parametrize("speeds", [{"trained": 0}, {"prepared": float("nan")}, {"startup": -1}, {"machine": 3}])
def test_a_speed_is_a_number_above_0(speeds: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^The rates: "):
        Rates(**{"trained": 1, "prepared": 1, "startup": 1, "machine": "mine", **speeds})


def test_paths_may_be_texts() -> None:
    assert replace(POCKET, images="elsewhere").images == Path("elsewhere")  # type: ignore[arg-type]
    assert Pretrained("weights", "").file == Path("weights")  # type: ignore[arg-type]
    assert DiffusionRecipe(label="mine", pipeline="here").pipeline == Path("here")  # type: ignore[arg-type]


def test_a_setting_of_one_generator_leaves_the_others_alone() -> None:
    scale = replace(POCKET, generation={"strength": 0.5, "long_prompts": "truncate"})
    drawn, oracle = scale.dataset("synthetic"), scale.dataset("synthetic", {"generator": "oracle"})
    assert isinstance(drawn, GeneratedDataset) and drawn.long_prompts == "truncate"
    assert isinstance(oracle, OracleDataset) and oracle.strength == 0.5


def test_a_key_that_trainings_and_sets_share_is_the_trainings_at_a_point() -> None:
    point = {"direction": "synthetic", "precision": "bfloat16"}
    spec = POCKET.training(point, 0)
    assert spec.precision == "bfloat16"
    assert spec.train == POCKET.dataset("synthetic")
