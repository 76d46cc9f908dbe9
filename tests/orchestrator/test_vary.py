"""What the seeds of a study are of: the training, the images, or both."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.datasets.spec import GeneratedDataset
from orchestrator.api import plan
from orchestrator.planning.plan import Plan
from orchestrator.reporting.report_data import gather
from tests.orchestrator.reporting.test_true_sentences import made_up
from trainables.spec import TrainingSpec


def planned(vary: str, tmp_path: Path) -> Plan:
    return plan("layer_importance", "frozen_layers=17", store=tmp_path / "store", seeds=3, vary=vary)


def of(made: Plan, direction: str) -> list[TrainingSpec]:
    return [trial.spec for trial in made.grid if trial.point["direction"] == direction]


def image_seeds(spec: TrainingSpec) -> int:
    drawn = spec.train if isinstance(spec.train, GeneratedDataset) else spec.source and spec.source.train
    assert isinstance(drawn, GeneratedDataset)
    return drawn.dataset_seed


@pytest.mark.parametrize(("vary", "trainings", "images"), [("training", 3, 1), ("images", 1, 3), ("both", 3, 3)])
def test_seeds_are_of_what_is_said(vary: str, trainings: int, images: int, tmp_path: Path) -> None:
    made = planned(vary, tmp_path)
    for direction in ("synthetic", "synthetic->real", "real->synthetic"):
        specs = of(made, direction)
        assert len({spec.seed for spec in specs}) == trainings
        assert len({image_seeds(spec) for spec in specs}) == images
        assert len({spec.fingerprint for spec in specs}) == 3
    assert len({spec.fingerprint for spec in of(made, "real")}) == trainings


def test_the_first_seed_is_the_same_training_whatever_varies(tmp_path: Path) -> None:
    first = [
        {trial.spec.fingerprint for trial in planned(vary, tmp_path).grid if trial.seed == 0}
        for vary in ("training", "images", "both")
    ]
    assert first[0] == first[1] == first[2]


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ("training", "over 3 seeds of the training, on one set of images"),
        ("images", "over 3 seeds of the images, with one of the training"),
        ("both", "over 3 seeds of images and training"),
    ],
)
def test_the_report_says_what_varied(vary: str, words: str, tmp_path: Path) -> None:
    made = planned(vary, tmp_path)
    data = gather(made, None, {spec.fingerprint: made_up(spec, 3) for spec in made.trials})
    assert data.spread.endswith(words)
    assert words in data.whiskers


def test_images_that_exist_cannot_vary(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"exist already and cannot vary\. Leave --vary out"):
        plan("layer_importance", f"synthetic={tmp_path}", store=tmp_path / "store", vary="both")
    with pytest.raises(InputError, match="vary must be one of training, images, both"):
        plan("layer_importance", store=tmp_path / "store", vary="pictures")
