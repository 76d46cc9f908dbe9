"""Plans: what is needed, nothing twice, needed before needing, and cohorts cut by cost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.core.terminal import plain_console
from datagen.datasets.shards import publish_dataset
from datagen.recipes.recipe import DiffusionRecipe
from orchestrator.cli.options import Options
from orchestrator.cli.overrides import apply_overrides
from orchestrator.cli.plan_view import plan_document
from orchestrator.execution.tune import seconds_to_the_end
from orchestrator.planning.balance import balanced
from orchestrator.planning.catalog import load_scale, load_study, scale_names, study_names
from orchestrator.planning.cost import cohort_seconds
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.run_study import run_study
from orchestrator.storage.store import Store
from trainables.direction import SYNTHETIC_TO_REAL
from trainables.partition import partition
from trainables.spec import TrainingSpec

SCALE = load_scale("pocket")
STUDY = load_study("layer_importance")


def default_generator() -> DiffusionRecipe:
    found = SCALE.generators["default"]
    assert isinstance(found, DiffusionRecipe)
    return found


GENERATOR = default_generator()


def planned(store: Store, *settings: str, seeds: int = 1) -> Plan:
    return make_plan(*apply_overrides(STUDY, SCALE, settings), seeds, store)


def publish(store: Store, spec: TrainingSpec) -> None:
    store.publish_model(spec, [], None, lambda path: path.write_bytes(b"weights"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


@pytest.mark.parametrize("study", study_names())
@pytest.mark.parametrize("scale", scale_names())
def test_every_study_can_be_planned_at_every_scale(study: str, scale: str, store: Store) -> None:
    assert make_plan(load_study(study), load_scale(scale), 1, store).trials


def test_layer_importance_is_two_baselines_and_both_directions_at_17_depths(store: Store) -> None:
    plan = planned(store)
    assert [str(spec.direction) for spec in plan.trials[:2]] == ["real", "synthetic"]
    points = {(str(spec.direction), spec.frozen_layers) for spec in plan.trials[2:]}
    assert points == {(d, n) for d in ("real->synthetic", "synthetic->real") for n in range(1, 18)}


def test_what_is_needed_comes_before_what_needs_it(store: Store) -> None:
    document = plan_document(planned(store))
    seen: set[str] = set()
    for artifact in document["artifacts"]:
        assert set(artifact["needs"]) <= seen
        seen.add(artifact["fingerprint"])
    assert len(document["artifacts"]) == 3 + 36
    assert {trial["fingerprint"] for trial in document["trials"]} <= seen


def test_the_plan_is_json_with_the_promised_keys(store: Store) -> None:
    document = json.loads(json.dumps(plan_document(planned(store))))
    assert (document["study"], document["scale"]) == ("layer_importance", "pocket")
    assert {"kind", "fingerprint", "action", "needs"} <= set(document["artifacts"][0])
    assert [artifact["action"] for artifact in document["artifacts"] if artifact["kind"] == "dataset"].count(
        "reuse"
    ) == 2


def test_nothing_is_trained_twice(store: Store) -> None:
    plan = planned(store)
    for spec in plan.trials:
        publish(store, spec)
    again = planned(store)
    assert not [spec for spec in again.missing() if isinstance(spec, TrainingSpec)]


def test_a_value_added_to_an_axis_adds_its_own_trials_only(store: Store) -> None:
    for spec in planned(store, "frozen_layers=3,4").trials:
        publish(store, spec)
    added = [spec for spec in planned(store, "frozen_layers=3,4,9").missing() if isinstance(spec, TrainingSpec)]
    assert sorted((str(spec.direction), spec.frozen_layers) for spec in added) == [
        ("real->synthetic", 9),
        ("synthetic->real", 9),
    ]


def test_more_seeds_keep_the_first(store: Store) -> None:
    one, three = planned(store), planned(store, seeds=3)
    assert {spec.fingerprint for spec in one.trials} < {spec.fingerprint for spec in three.trials}
    assert len(three.trials) == 3 * len(one.trials)


def test_a_transfer_takes_its_layers_from_the_base_of_its_own_seed(store: Store) -> None:
    for spec in planned(store, seeds=2).trials:
        if spec.source:
            assert spec.source.seed == spec.seed
            assert spec.source.train != spec.train


def test_the_work_is_one_cohort_for_each_direction_and_seed(store: Store) -> None:
    task = planned(store, seeds=2).tasks()
    titles = [item.title for item in task]
    assert titles[0].startswith("generate 2560 synthetic images")
    assert sum("N=1..17" in title for title in titles) == 4
    assert len(task) == 1 + 4 + 4


def test_work_waits_for_exactly_what_is_missing(store: Store) -> None:
    plan = planned(store)
    real = next(spec for spec in plan.trials if str(spec.direction) == "real")
    synthetic = next(spec for spec in plan.trials if str(spec.direction) == "synthetic")
    cohort = next(item for item in plan.tasks() if item.title.startswith("real->synthetic"))
    assert cohort.needs == {real.fingerprint, (real.source and "") or synthetic.train.fingerprint}
    publish(store, real)
    cohort = next(item for item in planned(store).tasks() if item.title.startswith("real->synthetic"))
    assert cohort.needs == {synthetic.train.fingerprint}


def test_what_the_longest_chain_hangs_on_goes_first(store: Store) -> None:
    task = planned(store, seeds=2).tasks()
    ordered = sorted(task, key=lambda item: -seconds_to_the_end(item, task))
    kinds = ["generate" if not item.members else "cohort" if item.members[0].source else "base" for item in ordered]
    assert kinds == ["generate"] + ["base"] * 4 + ["cohort"] * 4


def test_one_cohort_on_two_slots_is_cut_into_pieces_of_like_cost(store: Store) -> None:
    plan = planned(store, "direction=synthetic->real")
    pieces = [item for item in plan.tasks(slots=2) if item.members and item.members[0].source]
    assert len(pieces) == 2
    depths = sorted(spec.frozen_layers for item in pieces for spec in item.members)
    assert depths == list(range(1, 18))
    cheap, dear = sorted(item.seconds for item in pieces)
    assert dear < 1.2 * cheap


def test_a_plan_without_data_or_generator_says_what_is_missing_and_how_to_get_it(store: Store, tmp_path: Path) -> None:
    elsewhere = replace(
        SCALE,
        images=tmp_path / "images",
        generators={"default": replace(GENERATOR, pipeline=tmp_path / "pipeline", hint="Get it.")},
        import_hint="Import them.",
    )
    plan = make_plan(STUDY, elsewhere, 1, store)
    assert len(plan.trials) == 36
    assert plan.missing_inputs == (
        f"The real images are not in {tmp_path / 'images'}. Import them.",
        f"There is no diffusion pipeline in {tmp_path / 'pipeline'}. Get it.",
    )
    assert plan.seconds() > 0
    with pytest.raises(InputError, match="Import them"):
        run_study(plan, store, Options(store_location=store.location), "the command", plain_console())


@pytest.mark.parametrize("pieces", range(1, 18))
def test_a_cohort_can_be_cut_into_any_number_of_pieces(pieces: int, store: Store) -> None:
    members = [spec for spec in planned(store).trials if spec.direction == SYNTHETIC_TO_REAL]
    cut = partition(members, pieces, lambda part: cohort_seconds(part, SCALE.rates))
    assert len(cut) == pieces
    assert [spec for piece in cut for spec in piece] == members


@pytest.mark.parametrize(("cohorts", "slots"), [(3, 2), (1, 8), (2, 3), (5, 4)])
def test_no_slot_idles_for_long_while_another_has_a_cohort_left(cohorts: int, slots: int, store: Store) -> None:
    members = [spec for spec in planned(store, seeds=cohorts).trials if spec.direction == SYNTHETIC_TO_REAL]
    whole = [[spec for spec in members if spec.seed == seed] for seed in range(cohorts)]
    pieces = balanced(whole, slots, SCALE.rates)
    assert sorted(s.fingerprint for piece in pieces for s in piece) == sorted(s.fingerprint for s in members)
    task = sum(cohort_seconds(piece, SCALE.rates) for piece in pieces)
    busy = [0.0] * slots
    for seconds in sorted((cohort_seconds(piece, SCALE.rates) for piece in pieces), reverse=True):
        busy[busy.index(min(busy))] += seconds
    # Eight slots share 17 members, of which a shallow one costs nearly a whole training: they do not come out even.
    assert max(busy) < 1.35 * task / slots
    assert task < 1.6 * sum(cohort_seconds(piece, SCALE.rates) for piece in whole)


def test_cohorts_that_fill_the_slots_evenly_are_left_whole(store: Store) -> None:
    members = [spec for spec in planned(store, seeds=2).trials if spec.direction == SYNTHETIC_TO_REAL]
    whole = [[spec for spec in members if spec.seed == seed] for seed in range(2)]
    assert balanced(whole, 2, SCALE.rates) == whole


def test_sharing_a_trunk_is_estimated_cheaper_than_training_apart(store: Store) -> None:
    plan = planned(store)
    members = [spec for spec in plan.trials if spec.direction == SYNTHETIC_TO_REAL]
    assert cohort_seconds(members, SCALE.rates) < sum(cohort_seconds([spec], SCALE.rates) for spec in members)
    assert plan.seconds() < plan.seconds_alone()


def test_sharing_is_priced_as_counted_by_hand(store: Store) -> None:
    # Counted in forward passes of the whole network (benchmarks/README.md, "A cohort"): 17 trainings without
    # freezing-aware backward are 51, with it 33.5, on a shared trunk 25.75; a whole training is 3.
    rates = replace(SCALE.rates, prepared=1e12)
    members = [spec for spec in planned(store).trials if spec.direction == SYNTHETIC_TO_REAL]
    assert members[0].source is not None
    whole = cohort_seconds([members[0].source], rates)
    together = cohort_seconds(members, rates)
    apart = sum(cohort_seconds([member], rates) for member in members)
    assert 3 * together / whole == pytest.approx(25.75, rel=0.1)
    assert 3 * apart / whole == pytest.approx(33.5, rel=0.1)


def test_real_images_of_other_classes_are_refused_and_told_apart(tmp_path: Path) -> None:
    names = [name for name, _ in SCALE.classes]
    publish_dataset(
        tmp_path / "train", [[]], split="train", class_names=[names[1], names[0], *names[2:]], description={}
    )
    scale = SCALE.with_folders(images=tmp_path)
    with pytest.raises(InputError, match=rf"are not those of the scale pocket: it has the same .* 0 is {names[1]}, "):
        scale.dataset("real")


def test_a_pipeline_that_cannot_draw_the_set_is_refused_before_anything_runs(store: Store, tmp_path: Path) -> None:
    shutil.copytree(GENERATOR.pipeline, tmp_path / "other")
    index = json.loads((tmp_path / "other/model_index.json").read_text())
    (tmp_path / "other/model_index.json").write_text(json.dumps({**index, "_class_name": "AudioLDMPipeline"}))
    plan = make_plan(STUDY, SCALE.with_folders(generator=tmp_path / "other"), 1, store)
    assert any("is a AudioLDMPipeline, but" in sentence for sentence in plan.missing_inputs)
