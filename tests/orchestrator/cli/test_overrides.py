"""key=value: typed, checked, and refused with a hint."""

from __future__ import annotations

import click
import pytest

from datagen.core.errors import InputError
from datagen.datasets.spec import GeneratedDataset
from orchestrator.cli.overrides import OPTIONS, apply_overrides, settings
from orchestrator.planning.catalog import load_scale, load_study
from orchestrator.sweep import main

STUDY, SCALE = load_study("layer_importance"), load_scale("pocket")


def applied(*assignments: str) -> tuple:
    return apply_overrides(STUDY, SCALE, assignments)


def test_a_setting_of_the_recipe_reaches_every_trial() -> None:
    study, scale = applied("epochs=3", "learning_rate=1/2", "fraction=1/8")
    for trial in study.trials(scale, 1):
        assert (trial.spec.epochs, trial.spec.learning_rate, trial.spec.fraction) == (3, 0.5, 0.125)


def test_a_setting_of_the_generator_reaches_the_synthetic_images() -> None:
    _, scale = applied("images_per_class=7", "guidance=4")
    dataset = scale.dataset("synthetic")
    assert isinstance(dataset, GeneratedDataset)
    assert (dataset.images_per_class, dataset.guidance) == (7, 4.0)


@pytest.mark.parametrize(
    ("text", "values"), [("3", [3]), ("1,8", [1, 8]), ("14..17", [14, 15, 16, 17]), ("1,3..5,4", [1, 3, 4, 5])]
)
def test_an_axis_takes_values_and_ranges(text: str, values: list[int]) -> None:
    study, _ = applied(f"frozen_layers={text}")
    assert list(study.axes["frozen_layers"]) == values


def test_directions_go_by_the_papers_names_too() -> None:
    study, _ = applied("direction=SDTL")
    assert list(study.axes["direction"]) == ["synthetic->real"]


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("epoch=3", "There is no setting 'epoch'. Did you mean 'epochs'?"),
        ("frozenlayers=3", "Did you mean 'frozen_layers'?"),
        ("epochs", "'epochs' is not of the form key=value"),
        ("epochs=few", "epochs must be a whole number, at least 1, not 'few'"),
        ("epochs=2.5", "epochs must be a whole number, at least 1, not '2.5'"),
        ("fraction=0", "fraction must be above 0 and at most 1, not 0.0"),
        ("fraction=2", "fraction must be above 0 and at most 1, not 2.0"),
        ("fraction=1/0", "fraction must be a number, above 0 and at most 1, not '1/0'"),
        ("batch_size=1e9", "batch_size must be a whole number, at least 1, not '1e9'"),
        ("learning_rate=nan", "learning_rate must be a finite number, above 0, not nan"),
        ("learning_rate=inf", "learning_rate must be a finite number, above 0, not inf"),
        ("learning_rate=1e400", "learning_rate must be a finite number, above 0, not inf"),
        ("momentum=nan", "momentum must be a finite number, from 0 to 1, not nan"),
        ("guidance=-inf", "guidance must be a finite number, from 0 to 100, not -inf"),
        ("fraction=nan", "fraction must be a finite number"),
        ("epochs=" + "9" * 5000, "epochs must be a whole number"),
        ("augmentation=blur", "augmentation must be one of none, autoaugment, pytorch_example"),
        ("direction=up", "direction must be one of real->synthetic, synthetic->real, RDTL, SDTL"),
        ("frozen_layers=", "frozen_layers must be"),
        ("frozen_layers=17..1", "is empty. Give at least one value."),
        ("frozen_layers=1..999999999", "has 999,999,999 values, more than 100,000"),
        ("lr=0.3", "There is no setting 'lr'. Did you mean 'learning_rate'?"),
        ("N=3", "There is no setting 'N'. Did you mean 'frozen_layers'?"),
        ("piplein=x", "Did you mean 'pipeline'?"),
        ("seeds=3", "seeds is no setting but an option: --seeds 3."),
        ("seed=3", "seed is no setting but an option: --seeds 3."),
        ("gpus_per_worker=2", "gpus_per_worker is no setting but an option: --gpus-per-worker 2."),
        ("trials=3", "Only a search has trials to choose"),
        ("stylized=maybe", "stylized must be true or false, not 'maybe'"),
        ("real_share=2", "real_share must be from 0 to 1, not 2"),
        ("start=warm", "start must be one of random, pretrained, not 'warm'"),
        ("prompt_style=d", "prompt_style must be one of c; c, d_c; "),
    ],
)
def test_a_mistake_is_told_in_one_sentence(assignment: str, sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        applied(assignment)
    assert sentence in str(refusal.value)


def test_a_former_name_is_taken_for_the_new_one() -> None:
    study, scale = applied("views=none")
    assert {trial.spec.augmentation for trial in study.trials(scale, 1)} == {"none"}
    study, _ = apply_overrides(load_study("augmentation"), SCALE, ["views=none,augmix"])
    assert study.axes["augmentation"] == ("none", "augmix")


def test_every_option_of_the_command_is_told_from_a_setting() -> None:
    options = {parameter.name for parameter in main.params if isinstance(parameter, click.Option)}
    assert options - {"store_location"} | {"store"} == set(OPTIONS)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(InputError, match="timm has no network 'resnet51'"):
        applied("model=resnet51")


def test_a_freeze_depth_of_19_is_refused_when_the_trials_are_made() -> None:
    study, scale = applied("frozen_layers=19")
    with pytest.raises(InputError, match=r"frozen_layers must be from 0 .* to 17"):
        study.trials(scale, 1)


def test_what_the_grid_or_the_scale_fills_in_is_no_setting() -> None:
    assert not {"train", "source", "seed", "prompts", "class_names"} & set(settings())


def test_layers_are_given_with_semicolons_between_them() -> None:
    layers = "stem=conv1 bn1 act1 maxpool;layer1;layer2;layer3;layer4;head=global_pool fc"
    study, scale = applied("model=resnet18", f"layers={layers}", "frozen_layers=1..5")
    assert {trial.spec.layers for trial in study.trials(scale, 1)} == {tuple(layers.split(";"))}
