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
    "none": (1, [0.1102, 0.9385, -0.3956, -0.2968, 0.3986, 1.0736]),
    "autoaugment": (1, [0.2035, 1.1399, 1.2419, -1.1681, 0.276, -0.2491]),
    "pytorch_example": (1, [0.0829, 0.9234, 1.5088, 0.4354, -0.0494, -1.0715]),
    "dino_multicrop": (1, [-0.0903, 0.9509, 1.05, 1.9023, 2.1855, -1.5505]),
    "augmix": (2, [0.1177, 0.9702, 0.6755, 0.602, -1.1192, 0.1425]),
    "pixmix": (2, [0.1328, 0.9838, 1.2514, -0.1767, -1.1783, 0.0764]),
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
    groups = Augmenter(spec, 8, IMAGENET)(images, torch.arange(8), 2)
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
