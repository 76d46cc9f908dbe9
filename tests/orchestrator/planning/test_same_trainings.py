"""Promise 7: two points that are one training say so, and a setting that changes nothing is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from datagen.core.errors import InputError
from datagen.core.terminal import plain_console
from orchestrator.cli.overrides import apply_overrides
from orchestrator.cli.plan_view import plan_document, show_plan
from orchestrator.planning.catalog import load, load_scale, scale_names, study_names
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.reporting.report_data import gather
from orchestrator.storage.store import Store
from orchestrator.study import Figure, Study

POCKET = load_scale("pocket")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def planned(store: Store, seeds: int = 1, **axes: Any) -> Plan:
    axis = next(name for name in axes if name != "direction")
    grid: dict[Any, Any] = {"direction": ("real",)} | axes
    study = Study(name="mine", question="?", axes=grid, figure=Figure("bars", axis=axis))
    return make_plan(study, POCKET, seeds, store)


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        (
            {"head": ("linear", "cosine"), "temperature": (0.1, 0.2, 0.4)},
            "3 points are 1 training: temperature changes nothing where head is linear.",
        ),
        (
            {"augmentation": ("none", "dino_multicrop"), "local_crops": (2, 4)},
            "2 points are 1 training: local_crops changes nothing where augmentation is none.",
        ),
        (
            {"augmentation": ("none", "autoaugment", "augmix"), "minimum_crop": (0.1, 0.2)},
            "2 points are 1 training: minimum_crop changes nothing where augmentation is none.",
        ),
        (
            {"normalization": ("imagenet", "exact"), "exact_statistics": ("own", "training")},
            "2 points are 1 training: exact_statistics changes nothing where normalization is imagenet.",
        ),
        (
            {"fraction": (1.0, 0.5), "fraction_sampling": ("balanced", "random")},
            "2 points are 1 training: fraction_sampling changes nothing where all images are used.",
        ),
        (
            {"direction": ("real", "synthetic"), "guidance": (1.0, 2.0)},
            "2 points are 1 training: guidance changes nothing where direction is real.",
        ),
        (
            {"direction": ("real", "mixed"), "real_share": (0.25, 0.5)},
            "2 points are 1 training: real_share changes nothing where direction is real.",
        ),
        (
            {"direction": ("synthetic",), "generator": ("default", "oracle"), "strength": (0.4, 0.5)},
            "2 points are 1 training: strength changes nothing where direction is synthetic.",
        ),
    ],
)
def test_points_that_are_one_training_are_told_with_the_reason(
    axes: dict[str, Any], sentence: str, store: Store
) -> None:
    plan = planned(store, 2, **axes)
    assert sentence in plan.repetitions
    assert sentence in plan_document(plan)["repetitions"]
    assert sentence in gather(plan, None, {}).notes
    console = plain_console(file=io.StringIO(), width=200)
    show_plan(plan, 1, console)
    assert sentence in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        ({"workers": (1, 2)}, ", for it says how a training runs and not what it is"),
        ({"exact_statistics": ("own", "training")}, " where normalization is imagenet"),
        ({"local_crops": (2, 8)}, " where augmentation is pytorch_example"),
        ({"frozen_batchnorm": ("eval", "train")}, " where nothing is frozen"),
        ({"decay_attention_biases": (True, False)}, " where model is resnet50_slim"),
        ({"guidance": (1.0, 2.0)}, ""),
        ({"real_share": (0.25, 0.5)}, ""),
        ({"head": ("linear",), "temperature": (0.1, 0.2)}, " where head is linear"),
    ],
)
def test_an_axis_that_changes_nothing_is_refused(axes: dict[str, Any], why: str, store: Store) -> None:
    with pytest.raises(InputError) as refusal:
        planned(store, **axes)
    name = list(axes)[-1]
    assert f"The axis {name} of mine changes nothing: all its values make the same trainings{why}." in str(
        refusal.value
    )


def test_where_nothing_is_trained_a_setting_that_the_base_does_not_share_changes_nothing(store: Store) -> None:
    study = Study(
        name="mine",
        question="?",
        axes={"direction": ("synthetic->real",), "frozen_layers": (17, 18), "learning_rate": (0.1, 0.2, 0.3)},
        transfer_only=("frozen_layers", "fraction", "learning_rate"),
        figure=Figure("curves", axis="learning_rate", series="frozen_layers"),
    )
    assert make_plan(study, POCKET, 1, store).repetitions == (
        "3 points are 1 training: learning_rate changes nothing where all layers are frozen and nothing is trained.",
    )


@pytest.mark.parametrize("name", study_names())
@pytest.mark.parametrize("scale", scale_names())
def test_the_studies_that_ship_repeat_nothing(name: str, scale: str, store: Store) -> None:
    if name != "full_grid":
        assert make_plan(*load(name, scale), 1, store).repetitions == ()


def test_shares_of_data_where_nothing_is_trained_are_dropped_by_the_study_that_knows_it(store: Store) -> None:
    narrowed = ["augmentation=none", "normalization=imagenet", "frozen_layers=17,18", "fraction=1,1/2"]
    plan = make_plan(*apply_overrides(*load("full_grid", "pocket"), narrowed), 1, store)
    assert plan.repetitions == () and sum(plan.dropped.values()) == 2


def test_a_setting_without_effect_stands_in_no_title_and_makes_no_other_cohort() -> None:
    plain = POCKET.training({"direction": "real"}, 0)
    with_crops = POCKET.training({"direction": "real", "local_crops": 7}, 0)
    assert (with_crops.title, with_crops.fingerprint) == (plain.title, plain.fingerprint)


def test_a_base_is_shared_by_transfers_that_differ_in_what_only_they_have() -> None:
    point = {"direction": "synthetic->real", "frozen_layers": 8}
    specs = [POCKET.training({**point, "frozen_batchnorm": kept}, 0) for kept in ("eval", "train")]
    assert specs[0].fingerprint != specs[1].fingerprint
    assert specs[0].source is not None and specs[0].source == specs[1].source


@pytest.mark.parametrize(
    ("study", "setting", "sentence"),
    [
        ("layer_importance", "temperature=0.2", ""),
        (
            "layer_importance",
            "local_crops=2",
            "local_crops=2 changes nothing in layer_importance where augmentation is",
        ),
        ("layer_importance", "strength=0.5", "strength=0.5 changes nothing in layer_importance. Leave it out."),
        ("oracle_prompts", "strength=0.5", ""),
        ("augmentation", "local_crops=2", ""),
        ("normalization", "exact_statistics=training", ""),
        ("normalization", "frozen_batchnorm=train", "changes nothing in normalization where nothing is frozen"),
        ("data_reduction", "frozen_batchnorm=train", ""),
        ("normalization", "real_share=0.5", "real_share=0.5 changes nothing in normalization."),
        ("normalization", "jpeg_quality=90", "jpeg_quality=90 changes nothing in normalization."),
        ("normalization", "guidance=3", ""),
        ("layer_importance", "workers=2", ""),
        ("label_budget", "local_crops=2", ""),
    ],
)
def test_a_setting_that_changes_nothing_in_a_study_is_refused(study: str, setting: str, sentence: str) -> None:
    if not sentence:
        apply_overrides(*load(study, "pocket"), [setting])
        return
    with pytest.raises(InputError) as refusal:
        apply_overrides(*load(study, "pocket"), [setting])
    assert sentence in str(refusal.value)


def test_a_setting_matters_together_with_the_one_that_it_depends_on() -> None:
    study, scale = apply_overrides(
        *load("layer_importance", "pocket"), ["local_crops=3", "augmentation=dino_multicrop"]
    )
    assert {trial.spec.local_crops for trial in study.trials(scale, 1)} == {3}


def test_a_study_none_of_whose_points_a_scale_can_be_asked_is_refused(store: Store) -> None:
    study, scale = apply_overrides(*load("layer_importance", "pocket"), ["start=pretrained"])
    with pytest.raises(InputError, match="has no point for the scale pocket: the scale pocket has no pre"):
        make_plan(study, scale, 1, store)
