"""A study with a mistake is refused when it is written down, in one sentence, before anything is planned or run."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from datagen.core.errors import InputError
from experiments.claims.papers import STYLIZED
from orchestrator.axes import Drop
from orchestrator.planning.catalog import load_study, study_names
from orchestrator.search_space import Range, Search
from orchestrator.study import Figure, Study
from trainables.direction import SYNTHETIC_TO_REAL, Direction

AXES = {"direction": ("real", "synthetic"), "learning_rate": (0.1, 0.2)}
GOOD: dict[str, Any] = {
    "name": "mine",
    "question": "Does it?",
    "axes": AXES,
    "figure": Figure("bars", axis="learning_rate"),
}
SPACE = {"frozen_layers": (0, 8), "learning_rate": Range(0.1, 0.8)}


def study(**changes: Any) -> Study:
    return Study(**{**GOOD, **changes})


def axes(**values: Any) -> dict[str, Any]:
    return {"axes": {**AXES, **values}}


def search(**changes: Any) -> Search:
    return Search(**{"space": SPACE, "trials": 3, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (axes(learnin_rate=(0.1, 0.2)), "axes: There is no setting 'learnin_rate'. Did you mean 'learning_rate'?"),
        (axes(lr=(0.1, 0.2)), "axes: There is no setting 'lr'. Did you mean 'learning_rate'?"),
        (axes(seed=(0, 1)), "axes: There is no setting 'seed'."),
        (axes(learning_rate=()), "axes: learning_rate has no values. Give at least one, or leave it out."),
        (axes(learning_rate=(0.1, 0.2, 0.1)), "axes: learning_rate has 0.1 twice. Leave one out."),
        (axes(frozen_layers=(1, True)), "axes: frozen_layers must be a whole number, at least 0, not True."),
        (axes(learning_rate=0.1), "axes: learning_rate must have several values in an order"),
        (axes(learning_rate={0.1, 0.2}), "axes: learning_rate must have several values in an order"),
        (axes(augmentation="none"), "axes: augmentation must have several values in an order"),
        (axes(learning_rate=(0.1, math.nan)), "axes: learning_rate must be a finite number, above 0, not nan."),
        (axes(learning_rate=(0.1, "0.2")), "axes: learning_rate must be a number, above 0, not '0.2'."),
        (axes(fraction=(1, 2)), "axes: fraction must be above 0 and at most 1, not 2."),
        (axes(augmentation=("none", "blur")), "axes: augmentation must be one of none, "),
        (axes(views=("none",), augmentation=("augmix",)), "axes: augmentation is an axis twice."),
        (axes(direction=("real", "up")), "axes: direction must be one of real->synthetic"),
        (axes(direction=("synthetic->real", SYNTHETIC_TO_REAL)), "axes: direction has 'synthetic->real' twice."),
        (axes(direction=("SDTL", "synthetic->real")), "axes: direction has 'synthetic->real' twice."),
        ({"axes": [("direction", "real")]}, "axes: Axes are a dictionary"),
        ({"axes": {3: (1, 2)}}, "axes: An axis is the name of a setting, or a tuple of names, not 3."),
        ({"axes": {("direction", "frozen_layers"): (("real", 0), ("synthetic->real",))}}, "must be a tuple of 2, not"),
        ({"axes": {("direction", "frozen_layers"): ("ab", "cd")}}, "must be a tuple of 2, not 'ab'"),
        ({"axes": {("direction", "direction"): (("real", "real"),)}}, "direction is an axis twice"),
        ({"axes": {"learning_rate": (0.1, 0.2)}}, "Points have no direction."),
        ({"axes": {name: range(1, 400) for name in ("epochs", "warmup_epochs", "batch_size")}}, "more than 1,000,000"),
        ({"axes": {}, "baselines": ()}, "neither axes nor baselines nor a search"),
        ({"fixed": {"epoch": 3}}, "fixed: There is no setting 'epoch'. Did you mean 'epochs'?"),
        ({"baselines": ("synthetik",)}, "baselines: direction must be one of "),
        ({"baselines": "synthetic"}, "baselines: Give several in a tuple"),
        ({"baselines": ({"direction": "real", "strt": "pretrained"},)}, "baselines: There is no setting 'strt'."),
        ({"baselines": ({"start": "pretrained"},)}, "Points have no direction."),
        ({"transfer_only": ("fractoin",)}, "transfer_only: There is no setting 'fractoin'. Did you mean 'fraction'?"),
        ({"transfer_only": "fraction"}, "transfer_only: Give several in a tuple"),
        ({"drop": (Drop("not these", lambda point: True),)}, "All points of the grid are dropped: not these."),
        (
            {"drop": (Drop("deep", lambda point: point["frozen_layers"] > 3),)},
            "The drop 'deep' fails at {'direction': 'real', 'learning_rate': 0.1}: KeyError: 'frozen_layers'.",
        ),
        ({"drop": (lambda point: True,)}, "drop is a list of Drop(reason, function)."),
        ({"figure": "bars"}, "figure must be of type Figure, not 'bars'."),
        ({"figure": Figure("bars", axis="epochs")}, "The figure shows epochs, which is no axis."),
        ({"figure": Figure("bars", axis="learning_rate", series="epochs")}, "The figure shows epochs"),
        (
            {**axes(augmentation=("none", "augmix")), "figure": Figure("curves", axis="augmentation")},
            "Curves need numbers on their axis, which augmentation has not. Draw bars.",
        ),
        (
            {**axes(real_share=(0.0, 1.0)), "figure": Figure("curves", axis="real_share", logarithmic=True)},
            "A logarithmic axis needs values above 0, and real_share has 0.0.",
        ),
        ({"published": "stylised"}, "The papers have no table 'stylised'. Did you mean 'stylized'?"),
        ({"variants": {(("stylised", True),): "stylized"}}, "variants: There is no setting 'stylised'."),
        ({"variants": {("stylized", True): "stylized"}}, "variants: ('stylized', True) is no tuple of pairs"),
        (
            {"published": "stylized", "variants": {(("stylized", True),): "styled"}},
            "variants: The papers have no variant in the table stylized 'styled'. Did you mean 'stylized'?",
        ),
        ({"claims": STYLIZED}, "A claim names the variant 'stylized'."),
        ({"claims": ("it is better",)}, "claims are those of orchestrator.claims.kinds, not 'it is better'."),
        ({"search": SPACE}, "search must be of type Search or nothing"),
        ({"name": "bird's eye"}, "A name is of letters, digits, '_', '-' and '.'"),
        ({"name": "../up"}, "A name is of letters"),
        ({"name": ""}, "A name is of letters"),
        ({"name": 3}, "name must be a text, not 3."),
        ({"question": None}, "question must be a text, not None."),
    ],
)
def test_a_mistake_is_told_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        study(**changes)
    assert str(refusal.value).startswith("The study")
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("curve", "fraction"), "kind must be one of curves, bars, effects, pareto, not 'curve'."),
        (("bars", "fractoin"), "There is no setting 'fractoin'. Did you mean 'fraction'?"),
        (("bars", "direction"), "axis and series are both direction."),
        (("bars", "real_images"), "real_images is no axis"),
        (("pareto", "fraction"), "pareto is drawn over real_images, not over fraction."),
        (("bars", "fraction", "direction", True, True), "logarithmic is for curves, not for bars."),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused(words: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        Figure(*words)
    assert str(refusal.value).startswith("The figure: ") and sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"space": {}}, "The space is a dictionary"),
        ({"space": {"learnin_rate": (0.1,)}}, "There is no setting 'learnin_rate'. Did you mean 'learning_rate'?"),
        ({"space": {"learning_rate": ()}}, "learning_rate has no values."),
        ({"space": {"learning_rate": (0.1, 0.1)}}, "learning_rate has 0.1 twice."),
        ({"space": {"learning_rate": Range(-1, 1)}}, "learning_rate must be above 0, not -1.0."),
        ({"space": {"epochs": Range(1, 9)}}, "epochs takes no Range, which has fractions. List its values."),
        ({"space": {"direction": ("real",)}}, "The space has a direction"),
        ({"space": {"views": ("none",), "augmentation": ("none",)}}, "augmentation is in the space twice"),
        ({"trials": 0}, "trials must be from 1 to 999999, not 0."),
        ({"reduction": 1}, "reduction must be at least 2, not 1."),
        ({"random_first": "few"}, "random_first must be a whole number, at least 0, not 'few'."),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        search(**changes)
    assert str(refusal.value).startswith("The search: ") and sentence in str(refusal.value)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_a_range_goes_from_a_lower_to_a_higher_number(ends: tuple[float, float]) -> None:
    with pytest.raises(InputError):
        Range(*ends)
    with pytest.raises(InputError, match="begins above 0"):
        Range(0, 1, logarithmic=True)


def test_a_former_name_means_the_new_one_wherever_a_key_may_stand() -> None:
    written = study(
        axes={"direction": ("real",), "views": ("none", "augmix")},
        fixed={"views": "augmix"},
        baselines=({"direction": "real", "views": "none"},),
        drop=(Drop("none", lambda point: point["views"] == "none"),),
        figure=Figure("bars", axis="views"),
        variants={(("views", "augmix"),): "augmix"},
        transfer_only=("fraction", "views"),
        published="augmentation",
    )
    same = study(
        axes={"direction": ("real",), "augmentation": ("none", "augmix")},
        fixed={"augmentation": "augmix"},
        baselines=({"direction": "real", "augmentation": "none"},),
        drop=written.drop,
        figure=Figure("bars", axis="augmentation"),
        variants={(("augmentation", "augmix"),): "augmix"},
        transfer_only=("fraction", "augmentation"),
        published="augmentation",
    )
    assert written == same
    assert [point["augmentation"] for point in written.points()] == ["none", "augmix"]
    assert search(space={"views": ("none",)}) == search(space={"augmentation": ("none",)})


def test_values_stand_in_their_types_however_they_are_written() -> None:
    written = study(
        axes={
            "direction": (Direction("synthetic", "real"), "RDTL"),
            "frozen_layers": np.arange(1, 3),
            "fraction": [1, Fraction(1, 8)],
        },
        figure=Figure("curves", axis="fraction"),
    )
    assert repr(dict(written.axes)) == (
        "{'direction': ('synthetic->real', 'real->synthetic'), 'frozen_layers': (1, 2), 'fraction': (1.0, 0.125)}"
    )


def test_values_that_can_be_read_once_only_are_kept() -> None:
    written = study(axes={"direction": ("real",), "learning_rate": (rate / 10 for rate in range(1, 4))})
    assert len(written.points()) == len(written.points()) == 3


def test_endless_values_are_refused() -> None:
    def powers() -> Any:
        while True:
            yield 0.5

    with pytest.raises(InputError, match="learning_rate has more than 100,000 values"):
        study(axes={"direction": ("real",), "learning_rate": powers()})


def test_a_name_is_one_name_however_its_letters_are_composed() -> None:
    names = {study(name=unicodedata.normalize(form, "été-2.a_b")).name for form in ("NFC", "NFD")}
    assert names == {"été-2.a_b"}


@pytest.mark.parametrize("name", study_names())
def test_the_studies_that_ship_are_none_of_these(name: str) -> None:
    assert replace(load_study(name)) == load_study(name)
