"""Optimizers, schedules, mixed images, averages: as their sources define them, exact when interrupted or shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from datagen.core.errors import InputError
from tests.trainables.interrupted import alone_and_resumed
from trainables.augmentations.batch_mixing import BatchMixing
from trainables.input.data import ImageSet
from trainables.input.prefetch import Inputs
from trainables.loop import Trained, train_cohort
from trainables.recipe import build_optimizer, learning_rates
from trainables.spec import OPTIMIZERS, TrainingSpec
from trainables.timers import Timers
from trainables.trunk import Branch

CPU = torch.device("cpu")
RATES = {"sgd": 0.4, "nesterov": 0.4, "muon": 0.05, "lion": 1e-3}
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"optimizer": name} for name in OPTIMIZERS},
    "mixed and smoothed": {"mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1, "augmentation": "none"},
    "clipped and averaged": {"gradient_clipping": 0.5, "weights_average": 0.9, "optimizer": "adamw"},
    "crops mixed": {"cutmix": 1.0, "augmentation": "dino_multicrop", "local_size": 16, "local_crops": 2},
    "stepwise": {"schedule": "step", "decay_epochs": 2, "weight_decay_on": "all"},
    "in parts, noisy and erased": {"accumulate": 3, "gaussian_noise": 0.1, "random_erasing": 0.5},
    "consistent": {"augmentation": "augmix", "jensen_shannon": 12.0},
}


@pytest.fixture(scope="module")
def base(base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet) -> Trained:
    return train_cohort([base_spec], train_images, validation_images)[0]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_cohort_interrupted_ends_with_what_its_members_train_alone(
    name: str,
    base_spec: TrainingSpec,
    base: Trained,
    train_images: ImageSet,
    validation_images: ImageSet,
    tmp_path: Path,
) -> None:
    changes = SETTINGS[name]
    rate = RATES.get(str(changes.get("optimizer", "sgd")), 0.01)
    spec = replace(base_spec, source=base_spec, frozen_layers=15, epochs=3, learning_rate=rate, **changes)
    members = [spec, spec.at_depth(17)]
    alone, resumed = alone_and_resumed(members, train_images, validation_images, base.state, tmp_path)
    assert all(torch.equal(value, resumed.state[key]) for key, value in alone.state.items())
    assert alone.history[-1]["top1"] == resumed.history[-1]["top1"]
    assert alone.history[-1]["train_loss"] < 3
    plain = replace(base_spec, source=base_spec, frozen_layers=15, epochs=3, learning_rate=rate)
    assert (alone.spec.fingerprint != plain.fingerprint) == (name != "sgd")


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "sgd"])
def test_an_optimizer_is_timms_of_that_name(name: str, base_spec: TrainingSpec) -> None:
    mine, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(mine.state_dict())
    groups = [
        {"params": [theirs.weight], "weight_decay": 0.1},
        {"params": [theirs.bias], "weight_decay": 0.0},
    ]
    pair = (
        build_optimizer(mine, replace(base_spec, optimizer=name, weight_decay=0.1)),
        create_optimizer_v2(groups, name, lr=0.05, momentum=0.9),
    )
    images = torch.randn(4, 3)
    for _ in range(3):
        for layer, optimizer in zip((mine, theirs), pair, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = 0.05
            layer(images).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(mine.weight, theirs.weight)
    torch.testing.assert_close(mine.bias, theirs.bias)


def test_a_step_schedule_decays_by_epochs_and_a_constant_one_never(base_spec: TrainingSpec) -> None:
    spec = replace(base_spec, epochs=5, warmup_epochs=1, batch_size=16, learning_rate=1.6, decay_epochs=2)
    stepwise = learning_rates(replace(spec, schedule="step", decay_rate=0.5), 3)
    assert stepwise[3:] == pytest.approx([0.1] * 3 + [0.05] * 6 + [0.025] * 3)
    assert stepwise[:3] == learning_rates(spec, 3)[:3]
    assert learning_rates(replace(spec, schedule="constant"), 3)[3:] == pytest.approx([0.1] * 12)


def test_mixed_labels_say_how_much_of_each_image_there_is(base_spec: TrainingSpec) -> None:
    crops = torch.stack([torch.full((3, 8, 8), float(value)) for value in (0, 1, 2)])
    inputs = Inputs(torch.arange(3), torch.tensor([0, 1, 2]), [crops])
    ways: list[dict[str, Any]] = [{"mixup": 1.0}, {"cutmix": 1.0}]
    for way in ways:
        mixed = BatchMixing(replace(base_spec, **way))(inputs, epoch=1)
        # An image of value v and its neighbour of value v - 1 (the first's is the last), in the shares of the labels.
        shares = mixed.labels @ torch.tensor([0.0, 1.0, 2.0])
        torch.testing.assert_close(mixed.crops[0].mean((1, 2, 3)), shares)
        torch.testing.assert_close(mixed.labels.sum(1), torch.ones(3))
        assert not torch.equal(mixed.labels, torch.eye(3))


def test_mixing_is_drawn_from_the_seed_and_leaves_torchs_generator_alone(base_spec: TrainingSpec) -> None:
    inputs = Inputs(torch.arange(6), torch.tensor([0, 1, 2, 0, 1, 2]), [torch.randn(6, 3, 8, 8)])
    spec, before = replace(base_spec, mixup=1.0, cutmix=1.0), torch.random.get_rng_state()
    labels = [BatchMixing(spec)(inputs, epoch).labels for epoch in (1, 1, 2)]
    other = BatchMixing(replace(spec, seed=1))(inputs, 1).labels
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(labels[0], labels[1])
    assert not torch.equal(labels[0], labels[2])
    assert not torch.equal(labels[0], other)


def test_gradients_are_clipped_to_their_norm_over_all_layers_of_a_branch(base_spec: TrainingSpec) -> None:
    spec = replace(base_spec, gradient_clipping=1e-3, momentum=0.0, weight_decay=0.0)
    branch = Branch(spec, lambda module: module, CPU)
    before = {name: value.clone() for name, value in branch.layers.named_parameters()}
    branch.step([torch.randn(4, 3, 32, 32)], torch.tensor([0, 1, 2, 0]), 1.0, Timers(CPU))
    moved = torch.cat([(value - before[name]).flatten() for name, value in branch.layers.named_parameters()])
    assert float(moved.norm().detach()) == pytest.approx(1e-3, rel=1e-3)


def test_the_average_of_the_weights_is_what_is_evaluated(base_spec: TrainingSpec) -> None:
    branch = Branch(replace(base_spec, weights_average=0.75), lambda module: module, CPU)
    head = dict(branch.layers.named_parameters())
    expected = {name: value.detach().clone() for name, value in head.items()}
    for _ in range(3):
        branch.step([torch.randn(4, 3, 32, 32)], torch.tensor([0, 1, 2, 0]), 0.1, Timers(CPU))
        expected = {name: 0.75 * value + 0.25 * head[name].detach() for name, value in expected.items()}
    averaged = dict(branch.evaluated.named_parameters())
    assert all(torch.allclose(averaged[name], value, atol=1e-6) for name, value in expected.items())
    images = torch.randn(2, 3, 32, 32)
    branch.evaluated.eval()
    assert torch.equal(branch.logits(images), branch.evaluated(images))


def test_each_worker_mixes_its_own_images_so_that_their_number_is_another_training(base_spec: TrainingSpec) -> None:
    mixed = replace(base_spec, mixup=0.2)
    assert replace(mixed, workers=2).fingerprint != mixed.fingerprint
    assert replace(base_spec, workers=2).fingerprint == base_spec.fingerprint


def test_settings_that_change_nothing_make_no_other_training(base_spec: TrainingSpec) -> None:
    without_effect: list[dict[str, Any]] = [
        *({"second_momentum": 0.9}, {"decay_epochs": 5, "decay_rate": 0.5}, {"jensen_shannon": 12.0}),
        {"randaugment_operations": 3, "randaugment_magnitude": 1},
    ]
    for idle in without_effect:
        assert replace(base_spec, **idle).fingerprint == base_spec.fingerprint
    adam = replace(base_spec, optimizer="adam")
    assert replace(adam, second_momentum=0.9).fingerprint != adam.fingerprint
    frozen = replace(base_spec, source=base_spec, frozen_layers=18)
    assert replace(frozen, optimizer="adam", mixup=1.0).fingerprint == frozen.fingerprint


def test_the_last_rate_is_part_of_a_cosine_alone(base_spec: TrainingSpec) -> None:
    other = replace(base_spec, final_learning_rate=1e-3)
    assert other.fingerprint != base_spec.fingerprint
    for schedule in ("step", "constant"):
        pair = [replace(spec, schedule=schedule) for spec in (base_spec, other)]
        assert learning_rates(pair[0], 3) == learning_rates(pair[1], 3)
        assert pair[0].fingerprint == pair[1].fingerprint
        assert pair[1].without_effect()["final_learning_rate"] == f"schedule is {schedule}"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimizer": "adam", "momentum": 1.0}, "momentum must be below 1 with optimizer=adam, not 1."),
        ({"optimizer": "adamw", "second_momentum": 1.0}, "second_momentum must be below 1 with optimizer=adamw"),
        ({"optimizer": "nesterov", "momentum": 0.0}, "optimizer=nesterov needs a momentum above 0"),
        ({"weights_average": 1.0}, "weights_average must be below 1"),
        ({"label_smoothing": 1.0}, "label_smoothing must be below 1"),
        ({"fewest_workers": 2}, "fewest_workers=2 must be at most workers=1."),
        (
            {"fewest_workers": 2, "workers": 3, "sync_batchnorm": False},
            "With sync_batchnorm=False a result depends on how many workers there are: leave fewest_workers out.",
        ),
        ({"jensen_shannon": 12.0, "augmentation": "augmix", "cutmix": 1.0}, "it goes with neither mixup nor cutmix"),
    ],
)
def test_what_cannot_train_is_refused_in_a_sentence(
    changes: dict[str, Any], sentence: str, base_spec: TrainingSpec
) -> None:
    with pytest.raises(InputError) as raised:
        replace(base_spec, **changes)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_every_optimizer_that_is_not_refused_can_be_made(name: str, momentum: float, base_spec: TrainingSpec) -> None:
    if (name, momentum) != ("nesterov", 0.0):
        build_optimizer(nn.Linear(3, 2), replace(base_spec, optimizer=name, momentum=momentum, second_momentum=0.5))
