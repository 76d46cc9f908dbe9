"""Recipes of training: several settings under one name, behind what the user says."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.core.errors import InputError
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load_scale, load_study
from orchestrator.planning.plan import make_plan
from orchestrator.recipes import recipe_names, training_recipe
from orchestrator.storage.store import Store
from orchestrator.study import Figure, Study
from trainables.spec import TrainingSpec


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_makes_trainings_that_can_be_planned(name: str, tmp_path: Path) -> None:
    study, scale = apply_overrides(load_study("layer_importance"), load_scale("pocket"), [f"recipe={name}"])
    plan = make_plan(study, scale, 1, Store(tmp_path / "store").create())
    for spec in plan.trials:
        for key, value in training_recipe(name).items():
            assert key in spec.without_effect() or getattr(spec, key) == value
    assert plan.grid[0].spec.title == f"real {name} s0"


def test_what_the_command_says_replaces_a_recipes_and_a_recipe_the_scales() -> None:
    study, scale = apply_overrides(
        load_study("layer_importance"), load_scale("pocket"), ["recipe=pretty", "epochs=12", "batch_size=128"]
    )
    spec = study.trials(scale, 1)[0].spec
    assert (spec.optimizer, spec.learning_rate, spec.epochs, spec.batch_size) == ("adam", 1e-3, 12, 128)
    assert (spec.model, spec.image_size) == ("resnet50_slim", 32)


def test_the_papers_recipe_is_the_default_of_a_training(base_spec: TrainingSpec) -> None:
    fields = TrainingSpec.__dataclass_fields__
    assert all(fields[key].default == value for key, value in training_recipe("papers").items())


def test_a_recipe_is_an_axis_with_a_base_of_its_own_for_each() -> None:
    study = Study(
        name="mine",
        question="Which recipe?",
        axes={"direction": ("SDTL",), "recipe": ("papers", "deit")},
        fixed={"frozen_layers": 17},
        figure=Figure("bars", axis="recipe"),
    )
    trials = study.trials(load_scale("pocket"), 1)
    assert {trial.spec.optimizer for trial in trials} == {"sgd", "adamw"}
    for trial in trials:
        assert trial.spec.source is None or trial.spec.source.optimizer == trial.spec.optimizer


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "There is no recipe 'prety'. Did you mean 'pretty'?"),
        ("RECIPES = {}", "has no RECIPE. Write settings of trainings there"),
        (
            "RECIPE = {'optimiser': 'adam'}",
            "The recipe mine: There is no setting 'optimiser'. Did you mean 'optimizer'?",
        ),
        ("RECIPE = {'optimizer': 'adan'}", "The recipe mine: optimizer must be one of sgd"),
    ],
)
def test_each_mistake_is_one_sentence(text: str | None, sentence: str, tmp_path: Path) -> None:
    name = "prety" if text is None else str(tmp_path / "mine.py")
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError) as raised:
        apply_overrides(load_study("layer_importance"), load_scale("pocket"), [f"recipe={name}"])[0].trials(
            load_scale("pocket"), 1
        )
    assert sentence in str(raised.value)
