"""Promise 1: a fingerprint is what the artifact is, on every machine, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from datagen.core.errors import InputError
from datagen.core.identity import Spec, derived_seed, identity, runtime
from datagen.datasets.spec import GeneratedDataset, RealDataset
from trainables.spec import TrainingSpec

REAL = RealDataset(
    name="real", class_names=("a", "b"), split="train", digest="d" * 64, rows=20, folder=Path("anywhere")
)
VALIDATION = replace(REAL, name="validation", split="validation")
SYNTHETIC = GeneratedDataset(
    name="synthetic",
    class_names=("a", "b"),
    pipeline="tiny",
    pipeline_digest="e" * 64,
    prompts=(("a, first",), ("b, second",)),
    images_per_class=10,
    pipeline_folder=Path("anywhere"),
)
BASE = TrainingSpec(train=SYNTHETIC, validation=VALIDATION)
TRANSFER = TrainingSpec(train=REAL, validation=VALIDATION, source=BASE, frozen_layers=16)

GOLDEN = {
    "real": "c7dc50b248cd06bd5fd1f6d8f875f0fb7ed47b6c210ea0e481d4c3dc440aaf61",
    "synthetic": "ecd7567ae3501402ec3217d8e836d3291ff201a1353bf4aaa2a7fba8a5e2405c",
    "base": "1d6c2aafa103e19e26bc6d91e25061abcf4a783ef170bc2a8bd2eda0c87207ab",
    "transfer": "fe61cc4b237b910a02b0d8b24d118cee71edf7b05e525357c772367e21abdf76",
}


@pytest.mark.parametrize(
    ("name", "spec"),
    [("real", REAL), ("synthetic", SYNTHETIC), ("base", BASE), ("transfer", TRANSFER)],
)
def test_fingerprints_are_the_same_on_every_machine_and_in_every_version(name: str, spec: Spec) -> None:
    assert spec.fingerprint == GOLDEN[name]


@pytest.mark.parametrize("spec", [REAL, SYNTHETIC, TRANSFER])
def test_every_field_is_declared_identity_or_runtime(spec: Spec) -> None:
    assert {f.metadata.get("role") for f in fields(spec)} <= {"identity", "runtime"}


def test_a_field_that_is_neither_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Careless(Spec):
        forgotten: int = 1

    with pytest.raises(TypeError, match="forgotten is declared neither"):
        Careless()


def test_a_default_and_the_same_value_spelled_out_are_the_same() -> None:
    assert replace(BASE, epochs=100, temperature=0.1).fingerprint == BASE.fingerprint


def test_a_field_that_is_added_with_a_default_leaves_old_fingerprints_alone() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Early(Spec):
        size: int = identity(8)

    @dataclass(frozen=True, kw_only=True)
    class Late(Spec):
        size: int = identity(8)
        colour: str = identity("grey")

    Late.__name__ = Early.__name__
    assert Late(size=4).fingerprint == Early(size=4).fingerprint
    assert Late(size=4, colour="red").fingerprint != Early(size=4).fingerprint


def test_an_integer_given_for_a_float_is_the_same() -> None:
    assert replace(SYNTHETIC, guidance=2).fingerprint == replace(SYNTHETIC, guidance=2.0).fingerprint


def test_numbers_of_numpy_and_fractions_are_the_same_as_pythons() -> None:
    assert replace(BASE, epochs=np.int64(20), fraction=Fraction(1, 8)) == replace(BASE, epochs=20, fraction=0.125)  # type: ignore[arg-type]
    assert repr(replace(BASE, fraction=np.float64(0.5)).fraction) == "0.5"


def test_runtime_fields_leave_the_fingerprint_alone() -> None:
    elsewhere = replace(SYNTHETIC, pipeline_folder=Path("elsewhere"), rows_per_shard=7, images_at_once=3)
    assert elsewhere.fingerprint == SYNTHETIC.fingerprint
    assert replace(BASE, workers=4).fingerprint == BASE.fingerprint


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"epochs": 99}, {"augmentation": "none"}, {"fraction": 0.5}, {"train": REAL}, {"learning_rate": 0.2}],
)
def test_every_identity_field_changes_the_fingerprint(change: dict) -> None:
    assert replace(BASE, **change).fingerprint != BASE.fingerprint


def test_a_change_far_down_changes_everything_made_from_it() -> None:
    other_base = replace(BASE, train=replace(SYNTHETIC, steps=49))
    assert replace(TRANSFER, source=other_base).fingerprint != TRANSFER.fingerprint


def test_one_worker_is_the_same_with_batchnorm_synchronized_or_not() -> None:
    assert replace(BASE, sync_batchnorm=False).fingerprint == BASE.fingerprint
    assert replace(BASE, sync_batchnorm=True, workers=4).fingerprint == BASE.fingerprint


def test_batchnorm_of_each_worker_alone_is_another_training_for_each_number_of_workers() -> None:
    own = [replace(BASE, sync_batchnorm=False, workers=workers) for workers in (1, 2, 4)]
    assert len({spec.fingerprint for spec in own}) == 3
    assert len({spec.cohort for spec in own}) == 3
    assert [spec.described()["sync_batchnorm"] for spec in own] == [True, 2, 4]


def test_a_cohort_is_all_that_differs_in_freeze_depth_only() -> None:
    assert TRANSFER.at_depth(3).cohort == TRANSFER.cohort
    assert replace(TRANSFER, seed=1).cohort != TRANSFER.cohort
    assert BASE.cohort != TRANSFER.cohort


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fraction": 0.0}, "fraction must be above 0 and at most 1, not 0.0"),
        ({"fraction": 2}, "fraction must be above 0 and at most 1, not 2"),
        ({"frozen_layers": 19}, "frozen_layers must be from 0 .* to 17 .* 18"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": "many"}, "epochs must be a whole number, at least 1, not 'many'"),
        ({"epochs": True}, "epochs must be a whole number, at least 1, not True"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number, above 0, not nan"),
        ({"weight_decay": float("inf")}, "weight_decay must be a finite number, at least 0, not inf"),
        ({"learning_rate": 10**5000}, "learning_rate must be a number, above 0, not a value of type int"),
        ({"epochs": 10**5000}, "epochs must be a whole number below 2\\^63, at least 1, not a value of type int"),
        ({"epochs": 2**63}, "epochs must be a whole number below 2\\^63, at least 1, not 9223372036854775808"),
        ({"model": 3}, "model must be a text, not 3"),
        ({"augmentation": "blur"}, "augmentation must be one of none, .* not 'blur'"),
        ({"frozen_layers": 0}, "needs a source"),
        ({"warmup_epochs": 100}, "warmup_epochs"),
        ({"workers": 21}, "workers=21 is more than there are images in a batch"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(TRANSFER, **change)


def test_seeds_of_different_purposes_are_unrelated_and_stable() -> None:
    assert derived_seed("x", 1) == derived_seed("x", 1)
    assert len({derived_seed(0, purpose) for purpose in ("order", "views", "subset", "initialization")}) == 4
    assert all(0 <= derived_seed(n) < 2**63 for n in range(100))

    @dataclass(frozen=True, kw_only=True)
    class Declared(Spec):
        one: int = identity(1)
        two: int = runtime(2)

    assert Declared().fingerprint == Declared(two=3).fingerprint
