"""One estimate of what a data set costs: the sweep's plan and `datagen.generate --plan` say the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.datasets.rates import Rate
from datagen.datasets.spec import DerivedDataset
from datagen.plan import plan_dataset
from datagen.recipes.load import load_recipe, make_spec
from datagen.recipes.recipe import DiffusionRecipe
from datagen.storage.store import DatasetStore
from orchestrator.planning.catalog import load_scale
from orchestrator.planning.cost import making_seconds
from orchestrator.scale import Scale


def of_sweep(scale: Scale, choices: dict[str, object]) -> float:
    spec = scale.dataset(str(choices.pop("kind", "synthetic")), choices)
    assert isinstance(spec, DerivedDataset)
    return making_seconds(spec, scale.rates)


@pytest.mark.parametrize(
    ("recipe", "scale", "choices", "hours"),
    [
        ("imagenet100_sd14", "imagenet100", {}, 130_000 * 100 / 130 / 3600),
        ("imagenet100_sd21", "imagenet100", {"generator": "untuned"}, 130_000 * 100 / 130 / 3600),
        ("imagenet100_unclip", "imagenet100", {"generator": "oracle"}, 126_689 * 40 / 43 / 3600),
        ("imagenet100_stylized", "imagenet100", {"kind": "real", "stylized": True}, 126_689 / 50 / 3600),
        ("oxford_pets_sdxl", "oxford_pets", {}, 9_805 * 6 / 9 / 3600),
        ("pocket", "pocket", {}, 2_560 * 20 / 1300 / 3600),
        ("pocket_oracle", "pocket", {"generator": "oracle"}, 2_560 * 12 / 1300 / 3600),
        ("pocket_stylized", "pocket", {"kind": "real", "stylized": True}, 2_560 / 600 / 3600),
    ],
)
def test_both_commands_say_the_same_hours(
    recipe: str, scale: str, choices: dict[str, object], hours: float, tmp_path: Path
) -> None:
    file = load_recipe(recipe)
    planned = plan_dataset(file, make_spec(file), DatasetStore(tmp_path)).hours
    assert planned == pytest.approx(hours)
    assert of_sweep(load_scale(scale), choices) / 3600 == pytest.approx(planned)


def test_a_step_costs_by_the_pixels() -> None:
    scale = load_scale("pocket")
    assert of_sweep(scale, {"width": 64, "height": 64}) == pytest.approx(4 * of_sweep(scale, {}))


def test_a_rate_is_no_part_of_what_a_set_is() -> None:
    scale = load_scale("pocket")
    default = scale.generators["default"]
    assert isinstance(default, DiffusionRecipe)
    slow = replace(default, rate=None)
    other = replace(scale, generators={**scale.generators, "default": slow})
    assert other.dataset("synthetic").fingerprint == scale.dataset("synthetic").fingerprint
    assert of_sweep(other, {}) == 0


def test_a_guess_is_called_a_guess() -> None:
    default = load_scale("oxford_pets").generators["default"]
    assert isinstance(default, DiffusionRecipe)
    assert "guess" in str(default.rate)
    with pytest.raises(InputError, match="basis of a Rate must be one of measured, published, derived, guess"):
        Rate(1, "one GPU", "rumour")
    with pytest.raises(InputError, match="above 0"):
        Rate(0, "one GPU", "guess")
