"""Images that exist, real and synthetic, are studied as they are: nothing in the package is edited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.datasets.shards import ImageRow, publish_dataset
from datagen.datasets.spec import RealDataset
from datagen.recipes.recipe import ImportedRecipe
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import make_plan
from orchestrator.reporting.tables import real_images
from orchestrator.storage.store import Store

CLASSES = ("goose", "robin")


def imported(
    folder: Path, color: int, classes: tuple[str, ...] = CLASSES, splits: tuple[str, ...] = ("train",)
) -> Path:
    for split in splits:
        rows = [ImageRow(bytes([color, len(split), label]), f"{label}", label, n, 0) for label, n in enumerate(classes)]
        ids = {"wordnet_ids": [""] * len(classes)}
        publish_dataset(folder / split, [rows], split=split, class_names=classes, description=ids)
    return folder


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return imported(tmp_path / "birds", 1, splits=("train", "validation"))


@pytest.fixture
def synthetic(tmp_path: Path) -> Path:
    return imported(tmp_path / "flux", 2)


def test_two_folders_are_a_whole_study(real: Path, synthetic: Path, tmp_path: Path) -> None:
    study, scale = load("layer_importance", "own")
    study, scale = apply_overrides(study, scale, [f"images={real}", f"synthetic={synthetic}"])
    assert (scale.name, scale.classes) == ("birds", (("goose", ""), ("robin", "")))
    plan = make_plan(study, scale, 1, Store(tmp_path / "store"))
    assert not plan.missing_inputs and len(plan.trials) == 36
    sets = {spec.title: spec for spec in plan.artifacts if isinstance(spec, RealDataset)}
    assert sets.keys() == {"real", "synthetic", "validation"}
    assert sets["synthetic"].folder == synthetic / "train" and sets["synthetic"].synthetic
    assert not [spec for spec in plan.missing() if isinstance(spec, RealDataset)]


def test_a_data_sets_own_folder_is_taken_as_well_as_what_the_import_wrote(real: Path, synthetic: Path) -> None:
    _, scale = load("layer_importance", "own")
    specs = [
        scale.with_folders(images=real, synthetic=folder).dataset("synthetic")
        for folder in (synthetic, synthetic / "train")
    ]
    assert specs[0].fingerprint == specs[1].fingerprint


def test_imported_images_may_be_one_generator_among_others(real: Path, synthetic: Path) -> None:
    _, scale = load("layer_importance", "own")
    flux = ImportedRecipe(label="FLUX.1-dev", folder=synthetic)
    scale = replace(scale.with_folders(images=real), generators={**scale.generators, "flux": flux})
    assert scale.dataset("synthetic", {"generator": "flux"}).title == "synthetic flux"
    assert scale.unsupported({"generator": "flux", "guidance": 2.0}) == (
        "the images of FLUX.1-dev exist already, so their guidance cannot be chosen"
    )
    assert scale.unsupported({"generator": "default", "guidance": 2.0}) is None


def test_synthetic_images_that_exist_are_not_counted_as_real_ones(real: Path, synthetic: Path) -> None:
    _, scale = load("layer_importance", "own")
    scale = scale.with_folders(images=real, synthetic=synthetic)
    seen = {kind: real_images(scale.training({"direction": kind}, 0)) for kind in ("real", "synthetic")}
    assert seen == {"real": 2, "synthetic": 0}
    assert real_images(scale.training({"direction": "synthetic->real", "frozen_layers": 1}, 0)) == 2


def test_before_anything_is_imported_the_plan_says_what_to_do(tmp_path: Path) -> None:
    study, scale = load("layer_importance", "own")
    nowhere = [f"images={tmp_path / 'none'}", f"synthetic={tmp_path / 'neither'}"]
    plan = make_plan(*apply_overrides(study, scale, nowhere), 1, Store(tmp_path / "store"))
    assert any("The real images are not in" in sentence for sentence in plan.missing_inputs)
    assert any(
        "The synthetic images are not in" in sentence and "Import them: " in sentence
        for sentence in plan.missing_inputs
    )


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["synthetic={tmp}/other"], "are not those of the real ones: it lacks robin and has swan beside"),
        (["synthetic={tmp}/birds"], "are the real ones of"),
        (["synthetic={tmp}/flux", "guidance=3"], "guidance cannot be chosen: the synthetic images in"),
        (["synthetic={tmp}/flux", "pipeline={tmp}"], "has no effect: the synthetic images in"),
    ],
)
def test_mistakes_are_one_sentence(
    assignments: list[str], said: str, real: Path, synthetic: Path, tmp_path: Path
) -> None:
    imported(tmp_path / "other", 3, classes=("goose", "swan"))
    study, scale = load("layer_importance", "own")
    given = [f"images={real}", *(text.format(tmp=tmp_path) for text in assignments)]
    with pytest.raises(InputError, match=said):
        make_plan(*apply_overrides(study, scale, given), 1, Store(tmp_path / "store"))
