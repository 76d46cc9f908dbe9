"""Tables of settings: what a key and a value mean, and what is said of those that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from datagen.core.errors import InputError, said_of
from datagen.core.identity import Spec, identity
from datagen.core.settings import Setting, Settings, nearest, settings_of


@dataclass(frozen=True, kw_only=True)
class Recipe(Spec):
    learning_rate: float = identity(0.1, above=0)
    augmentation: str = identity("none", choices=("none", "flip"), formerly="views")
    epochs: int = identity(3, minimum=1)
    filled_in: str = identity("")


TABLE = settings_of([Recipe], without=["filled_in"])


def test_a_table_has_the_fields_of_its_specs_less_those_that_are_filled_in() -> None:
    assert set(TABLE) == {"learning_rate", "augmentation", "epochs"}


def test_values_are_taken_in_the_type_of_their_field() -> None:
    assert repr(TABLE.checked({"learning_rate": 1, "epochs": 2})) == "{'learning_rate': 1.0, 'epochs': 2}"


def test_a_former_name_means_the_new_one() -> None:
    assert TABLE.checked({"views": "flip"}) == {"augmentation": "flip"}
    assert TABLE.named("views").key == "augmentation"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epoch": 3}, "There is no setting 'epoch'. Did you mean 'epochs'?"),
        ({"lr": 3}, "There is no setting 'lr'. Did you mean 'learning_rate'?"),
        ({"zzz": 3}, "There is no setting 'zzz'. There are: augmentation, epochs, learning_rate."),
        ({3: 3}, "There is no setting 3. There are: augmentation, epochs, learning_rate."),
        ({"views": "none", "augmentation": "none"}, "augmentation is given twice, also as views. Leave one out."),
        ({"epochs": "3"}, "epochs must be a whole number, at least 1, not '3'."),
        ({"epochs": 0}, "epochs must be at least 1, not 0."),
        ({"augmentation": ["none"]}, "augmentation must be one of none, flip, not ['none']."),
        (["epochs"], "Settings are a dictionary such as {'epochs': 3}, not ['epochs']."),
        ({"epochs": "x" * 1000}, "epochs must be a whole number, at least 1, not 'xxx"),
    ],
)
def test_what_means_nothing_is_told_in_one_short_sentence(values: object, sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        TABLE.checked(values)
    assert str(refusal.value).startswith(sentence)
    assert len(str(refusal.value)) < 200


def test_what_some_call_a_setting_is_suggested_and_not_taken() -> None:
    table = Settings({"frozen_layers": Setting("frozen_layers", int, also=("N",))})
    with pytest.raises(InputError, match=r"There is no setting 'N'\. Did you mean 'frozen_layers'\?"):
        table.named("N")


def test_a_setting_may_refuse_or_translate_what_its_type_allows() -> None:
    assert (
        Setting("direction", str, meaning={"RDTL": "real->synthetic"}.__getitem__).checked("RDTL") == "real->synthetic"
    )


def test_the_nearest_name_is_the_likest_or_that_of_the_initials() -> None:
    known = ["batch_size", "base_steps", "learning_rate"]
    assert nearest("lr", known) == "Did you mean 'learning_rate'?"
    assert nearest("batchsize", known) == "Did you mean 'batch_size'?"
    assert nearest("q", ["one", "two"]) == "There are: one, two."


def test_a_sentence_says_what_it_is_about() -> None:
    with pytest.raises(InputError, match=r"^The scale mine: there is no image\.$"), said_of("The scale mine"):
        raise InputError("there is no image.")
