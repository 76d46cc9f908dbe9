"""The training loop: frozen is frozen, a cohort is its members, and an interruption changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.checkpoint import CohortCheckpoint
from trainables.distributed import DistributedContext
from trainables.input.data import ImageSet
from trainables.loop import Trained, _Accuracy, train_cohort
from trainables.models.layers import LAYERS
from trainables.report import EpochReport
from trainables.spec import TrainingSpec
from trainables.timers import Timers
from trainables.trunk import Branch, compiles

DEPTHS = range(1, 18)


@pytest.fixture(scope="module")
def base(base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet) -> Trained:
    return train_cohort([base_spec], train_images, validation_images)[0]


@pytest.fixture(scope="module")
def transfer(base_spec: TrainingSpec) -> TrainingSpec:
    return replace(base_spec, source=base_spec, frozen_layers=1, seed=4)


@pytest.fixture(scope="module")
def cohort(
    transfer: TrainingSpec, base: Trained, train_images: ImageSet, validation_images: ImageSet
) -> dict[int, Trained]:
    members = [transfer.at_depth(depth) for depth in DEPTHS]
    results = train_cohort(members, train_images, validation_images, base.state)
    return {result.spec.frozen_layers: result for result in results}


def keys_of_layers(first: int, last: int, state: dict[str, torch.Tensor]) -> list[str]:
    names = [name for layer in LAYERS["resnet50_slim"][first:last] for name in layer.modules]
    return [key for key in state if any(key.startswith(f"{name}.") for name in names)]


def without_times(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if not key.startswith("seconds")}


@pytest.mark.parametrize("depth", DEPTHS)
def test_frozen_layers_keep_every_parameter_and_buffer_bit_for_bit(
    depth: int, cohort: dict[int, Trained], base: Trained
) -> None:
    frozen = keys_of_layers(0, depth, base.state)
    assert any("running_mean" in key for key in frozen)
    for key in frozen:
        assert torch.equal(cohort[depth].state[key], base.state[key]), key


@pytest.mark.parametrize("depth", DEPTHS)
def test_layers_above_the_cut_are_trained_anew(depth: int, cohort: dict[int, Trained], base: Trained) -> None:
    state = cohort[depth].state
    for key in keys_of_layers(depth, 18, state):
        if key.endswith("weight") and state[key].ndim > 1:
            assert not torch.equal(state[key], base.state[key]), key


@pytest.mark.parametrize("depth", [1, 8, 16, 17])
def test_a_cohort_trains_exactly_what_its_members_would_alone(
    depth: int,
    cohort: dict[int, Trained],
    base: Trained,
    train_images: ImageSet,
    validation_images: ImageSet,
) -> None:
    together = cohort[depth]
    alone = train_cohort([together.spec], train_images, validation_images, base.state)[0]
    assert alone.state.keys() == together.state.keys()
    for key, value in alone.state.items():
        assert torch.equal(value, together.state[key]), key
    for mine, theirs in zip(alone.history, together.history, strict=True):
        assert without_times(mine) == without_times(theirs)


def test_training_learns(base: Trained, cohort: dict[int, Trained]) -> None:
    assert base.history[-1]["train_loss"] < base.history[0]["train_loss"]
    assert all(result.history[-1]["train_loss"] < 3 for result in cohort.values())


def test_drifting_batchnorm_changes_frozen_statistics_and_no_parameter(
    transfer: TrainingSpec, base: Trained, train_images: ImageSet, validation_images: ImageSet
) -> None:
    spec = replace(transfer, frozen_layers=5, frozen_batchnorm="train")
    state = train_cohort([spec], train_images, validation_images, base.state)[0].state
    for key in keys_of_layers(0, 5, state):
        is_statistic = "running" in key or "num_batches" in key
        assert torch.equal(state[key], base.state[key]) != is_statistic, key


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    ("depths", "precision"), [([0], "float32"), ([2, 17], "float32"), ([0], "float16")], ids=["all", "two", "float16"]
)
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(
    depths: list[int],
    precision: str,
    base_spec: TrainingSpec,
    base: Trained,
    train_images: ImageSet,
    validation_images: ImageSet,
    tmp_path: Path,
) -> None:
    longer = replace(base_spec, epochs=6, precision=precision)
    source = base.state if depths != [0] else None
    members = [replace(longer, source=base_spec, frozen_layers=n) if n else longer for n in depths]
    whole = train_cohort(members, train_images, validation_images, source)
    seen = []

    def stop_after_three(report: EpochReport) -> None:
        seen.append(report.epoch)
        if report.epoch == 3:
            raise Interrupted

    checkpoint = CohortCheckpoint(tmp_path / "cohort")
    with pytest.raises(Interrupted):
        train_cohort(members, train_images, validation_images, source, checkpoint=checkpoint, report=stop_after_three)
    resumed = train_cohort(
        members,
        train_images,
        validation_images,
        source,
        checkpoint=checkpoint,
        report=lambda report: seen.append(report.epoch),
    )
    assert seen == [1, 2, 3, 4, 5, 6]
    for one, other in zip(whole, resumed, strict=True):
        assert all(torch.equal(one.state[key], other.state[key]) for key in one.state)
        assert [row["top1"] for row in one.history] == [row["top1"] for row in other.history]


def test_some_members_can_go_on_from_their_cohorts_checkpoint(
    transfer: TrainingSpec, base: Trained, train_images: ImageSet, validation_images: ImageSet, tmp_path: Path
) -> None:
    checkpoint = CohortCheckpoint(tmp_path / "cohort")
    members = [transfer.at_depth(depth) for depth in (3, 9, 15)]
    train_cohort(members, train_images, validation_images, base.state, checkpoint=checkpoint)
    epochs: list[int] = []
    train_cohort(
        members[1:],
        train_images,
        validation_images,
        base.state,
        checkpoint=checkpoint,
        report=lambda report: epochs.append(report.epoch),
    )
    assert epochs == []


def test_a_damaged_checkpoint_costs_a_repetition_only(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet, tmp_path: Path
) -> None:
    checkpoint = CohortCheckpoint(tmp_path)
    train_cohort([base_spec], train_images, validation_images, checkpoint=checkpoint)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    epochs: list[int] = []
    train_cohort(
        [base_spec],
        train_images,
        validation_images,
        checkpoint=checkpoint,
        report=lambda report: epochs.append(report.epoch),
    )
    assert epochs == [1, 2]


def test_a_branch_whose_loss_is_not_finite_fails_alone(
    transfer: TrainingSpec, base: Trained, train_images: ImageSet, validation_images: ImageSet
) -> None:
    broken = dict(base.state)
    broken["layer3.5.conv1.weight"] = torch.full_like(broken["layer3.5.conv1.weight"], float("nan"))
    shallow, deep = train_cohort([transfer.at_depth(2), transfer.at_depth(16)], train_images, validation_images, broken)
    assert shallow.failure is None
    assert len(shallow.history) == 2
    assert deep.failure == "the training loss was nan in epoch 1"


def test_a_cohort_whose_members_have_all_failed_stops(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    epochs: list[int] = []
    hopeless = replace(base_spec, epochs=6, learning_rate=1e30)
    (result,) = train_cohort(
        [hopeless], train_images, validation_images, report=lambda report: epochs.append(report.epoch)
    )
    assert result.failure is not None
    assert len(epochs) < 6


def test_members_must_be_of_one_cohort(
    transfer: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    with pytest.raises(ValueError, match="alike"):
        train_cohort([transfer, replace(transfer, seed=9)], train_images, validation_images)


def test_top5_counts_the_label_among_the_five_best(base: Trained) -> None:
    assert all(row["top5"] == 100 for row in base.history)  # Three classes: all are among the best five.
    assert all(0 <= row["top1"] <= 100 for row in base.history)


def test_at_the_depth_of_all_layers_the_source_is_only_evaluated(
    transfer: TrainingSpec, base: Trained, train_images: ImageSet, validation_images: ImageSet
) -> None:
    members = [transfer.at_depth(17), transfer.at_depth(18)]
    trained, evaluated = train_cohort(members, train_images, validation_images, base.state)
    assert all(torch.equal(evaluated.state[key], value) for key, value in base.state.items())
    assert [row["top1"] for row in evaluated.history] == [base.history[-1]["top1"]] * 2
    assert not torch.equal(trained.state["fc.weight"], base.state["fc.weight"])


def test_auto_precision_is_float32_on_a_cpu(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    one, other = (
        replace(base_spec, precision=precision, epochs=2, warmup_epochs=1) for precision in ("auto", "float32")
    )
    assert one.fingerprint != other.fingerprint
    states = [train_cohort([spec], train_images, validation_images)[0].state for spec in (one, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


@pytest.mark.parametrize(
    ("length", "expected"), [({"epochs": 10_000_000}, True), ({}, False), ({"compile": True}, True)]
)
def test_a_training_is_compiled_on_a_gpu_where_its_length_pays(
    length: dict, expected: bool, base_spec: TrainingSpec
) -> None:
    spec = replace(base_spec, **length)
    assert compiles(spec, torch.device("cuda")) is expected
    assert compiles(spec, torch.device("cpu")) is bool(spec.compile)
    assert not compiles(replace(spec, compile=False), torch.device("cuda"))


@pytest.mark.parametrize(
    "change",
    [
        {"augmentation": "dino_multicrop", "local_size": 16, "local_crops": 2},
        {"head": "linear"},
        {"normalization": "exact"},
        {"normalization": "batchnorm_train"},
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"fraction": 0.5, "fraction_sampling": "random"},
        {"model": "tiny_vit_5m_224", "batch_size": 16, "image_size": 32},
    ],
    ids=lambda change: "-".join(str(value) for value in change.values()),
)
def test_every_way_to_train_freezes_and_equals_its_members_alone(
    change: dict, base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    spec = replace(base_spec, **change)
    start = train_cohort([spec], train_images, validation_images)[0]
    assert start.failure is None
    members = [replace(spec, source=spec, frozen_layers=depth) for depth in (3, 12)]
    together = train_cohort(members, train_images, validation_images, start.state)
    alone = train_cohort(members[1:], train_images, validation_images, start.state)[0]
    assert all(torch.equal(alone.state[key], together[1].state[key]) for key in alone.state)
    frozen = [name for layer in LAYERS[spec.model][:12] for name in layer.modules]
    for key, value in start.state.items():
        if any(key.startswith(f"{name}.") for name in frozen):
            assert torch.equal(together[1].state[key], value), key


def test_the_multicrop_loss_is_the_plain_mean_over_all_crops(base_spec: TrainingSpec) -> None:
    branch = Branch(base_spec, lambda module: module, torch.device("cpu"))
    groups, labels = [torch.randn(2, 3, 32, 32), torch.randn(6, 3, 16, 16)], torch.tensor([0, 2])
    twin = Branch(base_spec, lambda module: module, torch.device("cpu"))
    twin.layers.train()
    losses = [
        torch.nn.functional.cross_entropy(row[None], label[None])
        for group in groups
        for row, label in zip(twin.layers(group), labels.repeat(len(group) // 2), strict=True)
    ]
    branch.step(groups, labels, 0.1, Timers(torch.device("cpu")))
    assert float(branch.take_mean_loss()) == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-5)


def test_a_step_whose_float16_gradients_overflow_is_skipped_without_a_trace(base_spec: TrainingSpec) -> None:
    branch = Branch(replace(base_spec, precision="float16"), lambda module: module, torch.device("cpu"))
    before = {key: value.clone() for key, value in branch.layers.named_parameters()}
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    timers = Timers(torch.device("cpu"))
    # A scale beyond float16: the first step's gradients are infinite.
    branch.scaler.load_state_dict({**branch.scaler.state_dict(), "scale": 2.0**40})
    branch.step([images], labels, 0.1, timers)
    assert all(torch.equal(value, before[key]) for key, value in branch.layers.named_parameters())
    assert not any(bool(momentum.any()) for momentum in branch.optimizer_state()[0].values())
    branch.scaler.update(2.0**8)
    branch.step([images], labels, 0.1, timers)
    assert all(bool(torch.isfinite(value).all()) for value in branch.layers.parameters())
    assert any(bool(momentum.any()) for momentum in branch.optimizer_state()[0].values())


def test_batchnorm_by_the_batch_leaves_no_trace(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    spec = replace(base_spec, normalization="batchnorm_train")
    plain = train_cohort([base_spec], train_images, validation_images)[0]
    other = train_cohort([spec], train_images, validation_images)[0]
    assert all(torch.equal(plain.state[key], other.state[key]) for key in plain.state)
    assert [row["top1"] for row in plain.history] != [row["top1"] for row in other.history]


def evaluated(spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet, **changes: Any) -> Trained:
    changed = replace(spec, normalization="batchnorm_train", **changes)
    return train_cohort([changed], train_images, validation_images)[0]


def test_batchnorm_by_the_batch_may_move_running_statistics_if_asked_to(
    base_spec: TrainingSpec, base: Trained, train_images: ImageSet, validation_images: ImageSet
) -> None:
    drifted = evaluated(base_spec, train_images, validation_images, batchnorm_evaluation_statistics="drifting")
    for key, value in base.state.items():
        is_statistic = "running" in key or "num_batches" in key
        assert torch.equal(drifted.state[key], value) != is_statistic, key


def test_batchnorm_by_the_batch_in_the_last_epoch_only(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    spec = replace(base_spec, batch_size=7, batchnorm_evaluation_order="by_label")
    plain = train_cohort([spec], train_images, validation_images)[0]
    every = evaluated(spec, train_images, validation_images)
    last = evaluated(spec, train_images, validation_images, batchnorm_evaluation_epochs="last")
    curves = [[row["top1"] for row in result.history] for result in (plain, every, last)]
    assert curves[2] == [curves[0][0], curves[1][1]]
    assert curves[0][0] != curves[1][0]


def test_batchnorm_by_the_batch_depends_on_the_order_of_the_images(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    # By label, batches of seven are of one class each: their statistics take away the brightness that tells it.
    spec = replace(base_spec, batch_size=7, batchnorm_evaluation_order="by_label")
    by_label, shuffled = (
        evaluated(spec, train_images, validation_images, batchnorm_evaluation_order=order).history[-1]["top1"]
        for order in ("by_label", "shuffled")
    )
    assert by_label < 50 < shuffled


@pytest.mark.parametrize("classes", [3, 12])
def test_accuracies_are_those_of_torchmetrics_to_the_bit(classes: int) -> None:
    from torchmetrics.classification import MulticlassAccuracy

    mine, context = _Accuracy(classes, torch.device("cpu")), DistributedContext()
    tops = {"top1": 1, "top5": min(5, classes)}
    theirs = {name: MulticlassAccuracy(classes, top_k=top, average="micro") for name, top in tops.items()}
    for size in (7, 250, 64):
        logits, labels = torch.randn(size, classes).round(decimals=1), torch.randint(classes, (size,))
        logits[:3] = 0.0  # A network that tells nothing apart.
        mine.update(logits, labels)
        for metric in theirs.values():
            metric.update(logits, labels)
    assert mine.compute(context) == {name: float(metric.compute()) * 100 for name, metric in theirs.items()}
