"""The studies that ship, and a user's own: which points they ask, what they share, and what they drop and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.datasets.spec import GeneratedDataset, OracleDataset
from datagen.datasets.virtual import MixedDataset, VirtualDataset
from orchestrator.cli.overrides import apply_overrides
from orchestrator.cli.plan_view import plan_document
from orchestrator.planning.catalog import load, load_scale, load_study
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.storage.store import Store
from trainables.spec import TrainingSpec

POCKET, PAPERS, PETS = load_scale("pocket"), load_scale("imagenet100"), load_scale("oxford_pets")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def planned(study: str, store: Store, *settings: str, scale: str = "pocket", seeds: int = 1) -> Plan:
    return make_plan(*apply_overrides(*load(study, scale), settings), seeds, store)


def publish_all(plan: Plan, store: Store) -> None:
    for spec in plan.missing():
        if isinstance(spec, TrainingSpec):
            store.publish_model(spec, [], None, lambda path: path.write_bytes(b"weights"))


def trainings_missing(plan: Plan) -> set[str]:
    return {spec.title for spec in plan.missing() if isinstance(spec, TrainingSpec)}


def test_after_layer_importance_data_reduction_trains_no_base_and_no_trial_twice(store: Store) -> None:
    publish_all(planned("layer_importance", store), store)
    plan = planned("data_reduction", store)
    missing = trainings_missing(plan)
    assert len(plan.trials) == 16
    assert len(missing) == 14
    assert "real s0" not in missing and "synthetic s0" not in missing and "synthetic->real N=16 s0" not in missing
    actions = {trial["title"]: trial["action"] for trial in plan_document(plan)["trials"]}
    assert actions["synthetic->real N=16 s0"] == actions["real s0"] == "reuse"


@pytest.mark.parametrize(("study", "missing"), [("normalization", 4), ("augmentation", 10), ("oracle_prompts", 2)])
def test_the_tables_share_the_bases_of_every_study(study: str, missing: int, store: Store) -> None:
    publish_all(planned("layer_importance", store, "frozen_layers=1"), store)
    assert len(trainings_missing(planned(study, store))) == missing


def test_the_full_grid_is_5184_points_less_those_that_say_nothing_new(store: Store) -> None:
    plan = planned("full_grid", store, scale="imagenet100")
    assert len(plan.grid) + sum(plan.dropped.values()) == 5184
    assert plan.dropped == {"N = 18 trains nothing, so the share of data does not matter": 252}
    bases = {spec.source.fingerprint for spec in plan.trials if spec.source}
    assert len(bases) == 2 * 6 * 3
    assert plan.seconds() < plan.seconds_alone() < plan.seconds_unshared()


def test_pretrained_starts_are_asked_only_where_there_are_pretrained_weights(store: Store) -> None:
    assert planned("layer_importance", store).dropped == {"the scale pocket has no pretrained weights": 2}
    plan = planned("layer_importance", store, scale="oxford_pets")
    started = [spec for spec in plan.trials if spec.initial_weights]
    assert [spec.title for spec in started] == ["real pretrained s0", "synthetic pretrained s0"]
    assert any("pretrained weights" in sentence for sentence in plan.missing_inputs)


def test_a_generator_that_a_scale_does_not_have_drops_its_points_with_the_reason(store: Store) -> None:
    plan = planned("oracle_prompts", store, scale="oxford_pets")
    assert "the scale oxford_pets has no generator 'oracle'" in plan.dropped


def test_guidance_and_prompts_are_settings_of_the_images_not_of_the_training(store: Store) -> None:
    plan = planned("guidance_and_prompts", store)
    datasets = {trial.spec.train for trial in plan.grid if trial.spec.train.name == "synthetic"}
    assert len(datasets) == 8
    assert all(isinstance(dataset, GeneratedDataset) for dataset in datasets)
    usual = POCKET.dataset("synthetic").fingerprint
    assert [d.fingerprint for d in datasets].count(usual) == 1


def test_an_oracle_set_has_an_image_for_each_real_one_and_waits_for_none(store: Store) -> None:
    spec = POCKET.dataset("synthetic", {"generator": "oracle"})
    assert isinstance(spec, OracleDataset)
    assert spec.images == POCKET.dataset("real").images


def test_a_mixture_is_never_stored_but_its_parts_are_made(store: Store) -> None:
    plan = planned("mixing", store, "real_share=0.25")
    assert not any(isinstance(spec, MixedDataset) for spec in plan.artifacts)
    mixed = next(trial.spec for trial in plan.grid if trial.point["direction"] == "mixed")
    task = next(item for item in plan.tasks() if mixed in item.makes)
    assert task.needs == {POCKET.dataset("synthetic").fingerprint}
    assert mixed.train.images == POCKET.dataset("real").images


def test_so_many_images_of_each_class_are_of_either_kind_and_all_of_them_are_the_whole_set(store: Store) -> None:
    plan = planned("scaling", store)
    by_point = {(trial.point["direction"], trial.point.get("per_class")): trial.spec for trial in plan.grid}
    assert by_point["union", 32].train.images == 2 * 10 * 32
    assert by_point["real", 32].train.images == 10 * 32
    assert by_point["real", 256].fingerprint == by_point["real", None].fingerprint
    assert not any(isinstance(spec, VirtualDataset) for spec in plan.artifacts)
    more = planned("scaling", store, "per_class=32,300")
    assert {trial.point.get("per_class") for trial in more.grid} == {None, 32}
    assert more.dropped == {
        "there are not 300 real images of each class": 2,
        "there are not 300 synthetic images of each class": 1,
    }


def test_every_trial_of_a_study_has_a_title_of_its_own(store: Store) -> None:
    for study in ("augmentation", "normalization", "guidance_and_prompts", "mixing", "full_grid", "data_reduction"):
        plan = planned(study, store, seeds=2)
        assert len({spec.title for spec in plan.trials}) == len(plan.trials), study
        titles = [task.title for task in plan.tasks()]
        assert len(set(titles)) == len(titles), study


def test_axes_that_go_together_are_narrowed_together(store: Store) -> None:
    plan = planned("data_reduction", store, "frozen_layers=16", "fraction=1,1/8")
    assert {(t.point["direction"], t.point["fraction"]) for t in plan.grid} == {
        ("synthetic->real", 1.0),
        ("synthetic->real", 0.125),
    }
    with pytest.raises(InputError, match="frozen_layers goes together with direction, frozen_layers in this study"):
        planned("data_reduction", store, "frozen_layers=3")


def test_a_choice_that_is_no_axis_holds_for_every_point(store: Store) -> None:
    plan = planned("normalization", store, "generator=untuned", "direction=synthetic")
    assert {spec.train.fingerprint for spec in plan.trials} == {
        POCKET.dataset("synthetic", {"generator": "untuned"}).fingerprint
    }


def test_settings_that_are_the_transfers_own_leave_its_base_alone() -> None:
    study = load_study("label_budget")
    point = {"direction": "synthetic->real", "frozen_layers": 8, "learning_rate": 0.1, "augmentation": "none"}
    spec = POCKET.training(point, 0, study.transfer_only)
    assert spec.source == POCKET.training({"direction": "synthetic"}, 0)


OWN_STUDY = """
from orchestrator.study import Figure, Study

STUDY = Study(
    name="mine",
    question="Does a linear probe do?",
    baselines=("real",),
    axes={"direction": ("synthetic->real",), "frozen_layers": (16, 17)},
    figure=Figure("curves", axis="frozen_layers"),
)
"""


def test_a_study_is_taken_from_a_file(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "my_study.py"
    path.write_text(OWN_STUDY)
    assert len(planned(str(path), store).grid) == 3


def test_a_study_file_may_bring_its_own_scale(tmp_path: Path) -> None:
    path = tmp_path / "my_study.py"
    path.write_text(
        OWN_STUDY + "from dataclasses import replace\nfrom experiments.scales import pocket\n"
        "SCALE = replace(pocket.SCALE, name='my_data')\n"
    )
    assert load(str(path), None)[1].name == "my_data"
    assert load(str(path), "pocket")[1].name == "pocket"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("STUDY = 3", "must define STUDY, a Study"),
        ("x = 1\ny = x +\n", "line 2 cannot be run: SyntaxError"),
        ("x = 1\n\nimport no_such_module\n", "line 3 cannot be run: ModuleNotFoundError"),
    ],
)
def test_a_study_file_with_a_mistake_is_told_with_its_line(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        load(str(path), None)


def test_a_study_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"There is no study file nowhere/x.py"):
        load("nowhere/x.py", None)
