"""What the code makes of a spec does not change without its version, by which fingerprints move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from datagen.core.identity import derived_seed
from trainables.augmentations.apply import Augmenter, evaluation_images
from trainables.input.data import ImageSet
from trainables.input.pixel_statistics import IMAGENET
from trainables.loop import train_cohort
from trainables.spec import AUGMENTATION_VERSIONS, AUGMENTATIONS, TrainingSpec

AUGMENTED = {
    "none": (1, [0.1102, 0.9385, 1.0229, -0.3531, 0.3119, 0.0757]),
    "autoaugment": (1, [0.1828, 1.1674, 1.2844, 1.3337, 0.7487, -0.6821]),
    "pytorch_example": (1, [0.1154, 0.9329, 2.4792, -0.6849, 0.3025, 0.9954]),
    "dino_multicrop": (1, [-0.0377, 0.969, -0.9608, -0.7076, -0.8307, 0.3214]),
    "augmix": (2, [0.1046, 0.9677, 0.8092, 1.1695, 1.5908, 0.8231]),
    "randaugment": (1, [-0.0226, 1.1032, 2.4966, 0.3871, 0.5012, 2.4119]),
    "trivialaugment": (1, [-0.0171, 1.2246, 2.5537, 1.6125, 1.6882, 2.3136]),
    "pixmix": (2, [0.1789, 1.0891, 1.6241, -0.2669, 2.1002, 0.8713]),
}
EVALUATION = (1, [0.0931, 0.9105, 0.6509, 1.3465, 0.5865, -0.4366])
TRAINED = (1, [-0.0, 0.1097, -0.0338, 0.0693, -0.1934, -0.1598, 1.2324, 0.5784])
"""Versions, and what `summary` says of their outputs; of a training also the loss of both epochs."""


def summary(values: Tensor) -> list[float]:
    """Mean, deviation and products with four fixed patterns, so that hardly any change leaves all as they were."""
    values = values.double().flatten()
    generator = torch.Generator().manual_seed(derived_seed("summary"))
    patterns = torch.randn((4, len(values)), generator=generator, dtype=torch.float64) / len(values) ** 0.5
    return [round(float(value), 4) for value in (values.mean(), values.std(), *(patterns @ values))]


def raise_version(what: str, found: list[float]) -> str:
    return f"{what} gives other values. If that is meant, raise it and write here: {found}"


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Eight pictures of smooth colours, 40 x 48."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand((8, 3, 5, 6), generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (40, 48), mode="bilinear").to(torch.uint8)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_gives_what_its_version_gave(name: str, images: Tensor, base_spec: TrainingSpec) -> None:
    spec = replace(base_spec, augmentation=name, local_size=16, local_crops=2, seed=3)
    groups = Augmenter(spec, 64, IMAGENET)(images.repeat(8, 1, 1, 1), torch.arange(64), 2)
    found = summary(torch.cat([group.flatten() for group in groups]))
    version, expected = AUGMENTED[name]
    assert version == AUGMENTATION_VERSIONS[name], (
        f"Write down what version {AUGMENTATION_VERSIONS[name]} gives: {found}"
    )
    assert found == pytest.approx(expected, abs=2e-3), raise_version(f"AUGMENTATION_VERSIONS[{name!r}]", found)


def test_evaluation_sees_what_its_version_saw(images: Tensor, base_spec: TrainingSpec) -> None:
    found = summary(evaluation_images(images, replace(base_spec, image_size=64), IMAGENET))
    assert found == pytest.approx(EVALUATION[1], abs=2e-3), raise_version("TrainingSpec.VERSION", found)
    assert EVALUATION[0] == TrainingSpec.VERSION


def test_training_steps_lead_where_their_version_led(
    base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    """First weights, order of images, schedule, optimizer and loss, in six steps of which few can hide a change."""
    spec = replace(base_spec, augmentation="none", fraction=0.75)
    (trained,) = train_cohort([spec], train_images, validation_images)
    weights = torch.cat(
        [trained.state[key].flatten() for key in ("conv1.weight", "layer2.0.conv2.weight", "fc.weight")]
    )
    found = [*summary(weights), *(round(row["train_loss"], 4) for row in trained.history)]
    assert found == pytest.approx(TRAINED[1], abs=2e-3), raise_version("TrainingSpec.VERSION", found)
    assert TRAINED[0] == TrainingSpec.VERSION


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_raised_version_is_another_training(
    name: str, base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(base_spec, augmentation=name)
    other = replace(base_spec, augmentation="none" if name != "none" else "pixmix")
    before = spec.fingerprint, spec.cohort, other.fingerprint
    monkeypatch.setitem(AUGMENTATION_VERSIONS, name, AUGMENTATION_VERSIONS[name] + 1)
    raised, same = replace(spec), replace(other)
    assert raised.fingerprint != before[0]
    assert raised.cohort != before[1]
    assert same.fingerprint == before[2]
