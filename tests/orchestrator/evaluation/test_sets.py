"""Further sets to evaluate on: their classes are joined with the scale's, and what is no set is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.datasets.shards import ImageRow, publish_dataset
from datagen.datasets.virtual import TransformedDataset
from orchestrator.cli.overrides import apply_overrides
from orchestrator.evaluation.sets import imported_evaluation
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.storage.store import Store
from trainables.evaluation.prediction_spec import PredictionSpec

SCALE = (("robin", "n1"), ("goose", "n2"), ("owl", ""))


def published(folder: Path, classes: dict[str, str], split: str = "validation") -> Path:
    rows = [ImageRow(bytes([label]), f"{name}.png", label, name, 0) for label, name in enumerate(classes)]
    ids = {"wordnet_ids": list(classes.values())}
    publish_dataset(folder / split, [rows], split=split, class_names=tuple(classes), description=ids)
    return folder


def planned(words: str, store: Path) -> Plan:
    study, scale = apply_overrides(*load("layer_importance", None), [f"evaluations={words}", "frozen_layers=16,17"])
    return make_plan(study, scale, 1, Store(store))


def predictions(plan: Plan) -> list[PredictionSpec]:
    return [spec for spec in plan.artifacts if isinstance(spec, PredictionSpec)]


def test_classes_are_joined_by_wordnet_id_then_by_name_and_never_by_place(tmp_path: Path) -> None:
    other = published(tmp_path / "v2", {"a goose": "n2", "owl": "n9", "crow": "n4", "robin": ""})
    spec, labels = imported_evaluation(str(other), SCALE)
    assert labels == (1, 2, -1, 0)
    assert (spec.name, spec.split, spec.images) == ("v2", "validation", 4)
    same = published(tmp_path / "same", {"robin": "n1", "goose": "n2", "owl": ""}, split="train")
    assert imported_evaluation(str(same), SCALE)[1] == ()


def test_a_name_with_another_wordnet_id_is_another_class(tmp_path: Path) -> None:
    cranes = published(tmp_path / "cranes", {"robin": "n77", "goose": "n2"})
    assert imported_evaluation(str(cranes), SCALE)[1] == (-1, 1)


def test_every_training_predicts_every_set_after_it_is_trained(tmp_path: Path) -> None:
    plan = planned("noise:3,grey,synthetic", tmp_path)
    found = predictions(plan)
    assert len(found) == 3 * len(plan.trials) == 18
    assert {spec.images.title for spec in found} == {"noise:3", "grey:1", "synthetic held out"}
    (held_out,) = {spec.images.fingerprint for spec in found if spec.images.name == "synthetic"}
    assert held_out not in {spec.train.fingerprint for spec in plan.trials}
    tasks = [task for task in plan.tasks() if task.predictions]
    assert sum(len(task.makes) for task in tasks) == 18
    for task in tasks:
        assert {spec.training.fingerprint for spec in task.predictions} <= task.needs
        assert task.computes and task.workers == 1 and task.seconds > 0


def test_another_set_to_evaluate_on_trains_nothing_again(tmp_path: Path) -> None:
    plain, more = planned("noise:1", tmp_path), planned("noise:1,blur:5", tmp_path)
    assert [spec.fingerprint for spec in plain.trials] == [spec.fingerprint for spec in more.trials]
    known = {spec.fingerprint for spec in predictions(plain)}
    assert known < {spec.fingerprint for spec in predictions(more)}


def test_training_images_may_be_transformed_too() -> None:
    study, scale = apply_overrides(*load("layer_importance", None), ["transform=low_pass:2"])
    spec = study.trials(scale, 1)[0].spec
    assert isinstance(spec.train, TransformedDataset)
    assert spec.title == "real low_pass:2 s0"
    assert not isinstance(spec.validation, TransformedDataset)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("imagenet_v2", "There is no data set imagenet_v2 to evaluate on"),
        ("noise", "noise needs a strength from 1 to 5: noise:3."),
        ("noise:7", "A transformation is an operation and a strength from 1 to 5, such as noise:3, not 'noise:7'."),
    ],
)
def test_what_is_no_set_is_told(words: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        planned(words, tmp_path)


def test_a_set_that_shares_no_class_is_refused(tmp_path: Path) -> None:
    fish = published(tmp_path / "fish", {"cod": "n8", "eel": "n9"})
    with pytest.raises(InputError, match=r"fish shares no class with this scale: it has cod, eel, \.\.\."):
        imported_evaluation(str(fish), SCALE)
