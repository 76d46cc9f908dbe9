"""Every study runs from end to end on Ray, on small data: images made, bases and trials trained, report written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from datagen.datasets.spec import DerivedDataset
from datagen.pocket.classes import CLASSES as POCKET_CLASSES
from orchestrator.cli.overrides import apply_overrides
from orchestrator.execution.tune import Cluster, join_cluster, run_plan
from orchestrator.planning.catalog import load_study, study_names
from orchestrator.planning.plan import Task, make_plan
from orchestrator.planning.search import DONE, STOPPED, SearchRun, ledger_of, with_searched
from orchestrator.reporting.report import write_report
from orchestrator.reporting.tables import finished_models
from orchestrator.scale import Scale
from orchestrator.storage.store import Store
from orchestrator.study import Study
from tests.conftest import CLASSES
from trainables.spec import TrainingSpec

NARROWED: dict[str, list[str]] = {
    "layer_importance": ["frozen_layers=16,17"],
    "data_reduction": ["fraction=1,1/4"],
    "normalization": [],
    "augmentation": ["augmentation=none,pixmix,dino_multicrop"],
    "stylized": [],
    "oracle_prompts": [],
    "guidance_and_prompts": ["guidance=7.5", "prompt_style=c"],
    "mixing": ["real_share=0.5"],
    "scaling": ["per_class=4,8,16"],
    "label_budget": ["trials=2", "augmentation=none", "fraction=1,1/4"],
    "full_grid": [
        "direction=SDTL",
        "frozen_layers=17,18",
        "augmentation=none",
        "normalization=imagenet,exact",
        "fraction=1,0.5",
    ],
}
"""Fewer values of the axes, so that all take about a minute."""


@pytest.fixture(scope="module")
def here(cluster: None) -> Cluster:
    return join_cluster(None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all, so that the studies share what they can."""
    return Store(tmp_path_factory.mktemp("studies") / "store").create()


@pytest.fixture(scope="module")
def small(image_folders: Path) -> Scale:
    """Pocket with three classes of 16 images and trainings of two epochs."""
    from experiments.scales.pocket import SCALE

    ids = [pocket_class.wordnet_id for pocket_class in POCKET_CLASSES]
    recipe = {"epochs": 2, "batch_size": 16, "local_crops": 1, "warmup_epochs": 1}
    generation = {
        "images_per_class": 16,
        "steps": 2,
    }  # In one shard: each takes a process, which takes seconds to start.
    scale = replace(SCALE, name="small", classes=tuple(zip(CLASSES, ids, strict=False)), images=image_folders)
    return scale.with_settings(generation, recipe)


def top1(store: Store, spec: TrainingSpec) -> float:
    return store.read_model(spec).history[-1]["top1"]


def test_every_study_that_ships_is_run_here() -> None:
    assert set(NARROWED) == set(study_names())


@pytest.fixture(scope="module")
def made(here: Cluster, store: Store, small: Scale) -> None:
    """Everything that the studies need, in one run: processes take longer to start than these trainings."""
    tasks: list[Task] = []
    known: set[str] = set()
    for name, settings in NARROWED.items():
        study, scale = apply_overrides(load_study(name), small, settings)
        plan = make_plan(study, scale, 1, store)
        assert plan.missing_inputs == ()
        for task in plan.tasks(here.slots):
            if makes := tuple(spec for spec in task.makes if spec.fingerprint not in known):
                tasks.append(replace(task, makes=makes))
                known |= {spec.fingerprint for spec in makes}
    outcome = run_plan(tasks, store, here, [])
    assert outcome.failed == {} and not outcome.interrupted


@pytest.mark.parametrize("name", NARROWED)
def test_a_study_runs_from_end_to_end(name: str, made: None, here: Cluster, store: Store, small: Scale) -> None:
    study, scale = apply_overrides(load_study(name), small, NARROWED[name])
    plan = make_plan(study, scale, 1, store)
    if study.search:
        search = SearchRun(plan, store, lambda spec: top1(store, spec))
        outcome = run_plan(plan.tasks(here.slots), store, here, [], search=search)
        assert outcome.failed == {} and not outcome.interrupted
        plan = with_searched(make_plan(study, scale, 1, store), store)
    assert plan.missing() == []
    models = finished_models(plan, store)
    assert len(models) == len(plan.trials) and not any(model.failure for model in models.values())
    report = write_report(plan, store, models, f"python -m orchestrator.sweep {name}")
    assert (report.trials["status"] == "done").all()
    assert {path.suffix for path in report.files} >= {".md", ".html", ".csv", ".parquet", ".png", ".svg"}
    assert all(path.stat().st_size > 0 for path in report.files)
    _check(study, scale, store)


def _check(study: Study, scale: Scale, store: Store) -> None:
    if study.search is not None:
        plan = make_plan(study, scale, 1, store)
        assert {entry.state for entry in ledger_of(plan, store)} <= {DONE, STOPPED}
    if study.name == "stylized":
        made = scale.dataset("real", {"stylized": True})
        assert isinstance(made, DerivedDataset)
        manifest = json.loads((store.folder(made) / "_manifest.json").read_text())
        assert sum(shard["rows"] for shard in manifest["shards"]) == scale.dataset("real").images


def test_what_one_study_has_made_the_others_have_reused(store: Store, small: Scale) -> None:
    # The studies ask for 66 trials and their bases; a base or data set of each would make this many times more.
    models = [path for path in (store.root / "models").iterdir() if (path / "_manifest.json").is_file()]
    asked = sum(
        len(make_plan(*apply_overrides(load_study(n), small, s), 1, store).artifacts) for n, s in NARROWED.items()
    )
    assert len(models) < 0.7 * asked
