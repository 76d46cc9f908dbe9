"""Study files with anything in them: refused in one sentence, or planned so that nothing is misread.

Never a traceback, and never two points of one training that the plan does not tell.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from datagen.core.errors import InputError
from orchestrator.cli.plan_view import plan_document
from orchestrator.planning.catalog import load, load_scale
from orchestrator.planning.plan import make_plan
from orchestrator.settings import POINT
from orchestrator.storage.store import Store
from orchestrator.study import Figure, Range, Search, Study
from orchestrator.sweep import main

POCKET = load_scale("pocket")
NO_STORE = Store(Path("no-such-store"))
REPRODUCIBLY = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

FORMER = [setting.formerly for setting in POINT.values() if setting.formerly]
WRONG_KEYS = ["learnin_rate", "epoch", "lr", "seed", "train", "source", "label", "", "a b", "é", "__class__", 3, None]
WRONG_VALUES = [
    *(None, True, -1, 0, 1e400, math.nan, 10**400, "", "none", "x" * 500, b"none", (), [], {}, {1, 2}, object()),
    *("real->", "->real", "real->real->real", "a\nb", "\0", range(0), (1, (2,)), {"a": 1}, lambda: 1, Range(1, 2)),
]


def fitting(key: str) -> some.SearchStrategy[Any]:
    """Values that a setting takes."""
    setting = POINT[key]
    if key == "direction":
        return some.sampled_from(["real", "synthetic", "mixed", "synthetic->real", "RDTL", "real->mixed"])
    if key == "generator":
        return some.sampled_from(["default", "untuned", "oracle", "nowhere"])
    if setting.allowed.choices:
        return some.sampled_from(setting.allowed.choices)
    kinds: dict[Any, some.SearchStrategy[Any]] = {
        bool: some.booleans(),
        int: some.integers(0, 20),
        float: some.sampled_from([0.0, 0.1, 1 / 3, 0.5, 1, 2.0]),
        str: some.sampled_from(["resnet50", "resnet50_slim", "fractals", "x"]),
    }
    return kinds.get(setting.declared, some.sampled_from([(), ("stem",), "here"]))


KEYS = some.one_of(
    *(some.sampled_from(sorted(POINT)) for _ in range(8)), some.sampled_from(FORMER), some.sampled_from(WRONG_KEYS)
)
ANYTHING = some.sampled_from(WRONG_VALUES)


@some.composite
def value_of(draw: some.DrawFn, key: Any) -> Any:
    right = isinstance(key, str) and key in POINT and draw(some.integers(0, 30))
    return draw(fitting(key)) if right else draw(ANYTHING)


@some.composite
def points(draw: some.DrawFn) -> Any:
    if draw(some.integers(0, 3)):
        return draw(value_of("direction"))
    return {key: draw(value_of(key)) for key in ("direction", *draw(some.lists(KEYS, max_size=2)))}


@some.composite
def axes(draw: some.DrawFn) -> dict[Any, Any]:
    grid: dict[Any, Any] = {}
    names = draw(some.lists(KEYS, min_size=0, max_size=3))
    if draw(some.integers(0, 9)):
        names = ["direction", *names]
    if len(names) > 1 and not draw(some.integers(0, 4)):
        together = tuple(names[:2])
        size = draw(some.sampled_from([2, 2, 2, 2, 1, 3]))
        item = some.tuples(*(value_of(name) for name in (*together, "epochs")[:size]))
        grid[together] = draw(some.lists(item, max_size=3))
        names = names[2:]
    for name in names:
        grid[name] = draw(some.one_of(some.lists(value_of(name), max_size=3), *([ANYTHING] if name == 3 else [])))
    return grid


DEPENDENT = [
    *("augmentation", "local_crops", "minimum_crop", "head", "temperature", "normalization", "exact_statistics"),
    *("fraction", "fraction_sampling", "generator", "guidance", "strength", "stylized", "image_format", "jpeg_quality"),
    *("real_share", "batch_size", "learning_rate_scaling", "workers", "frozen_batchnorm"),
]
"""Settings whose effect depends on others, and those that they depend on."""
BY_HAND: dict[str, list[Any]] = {
    **{"local_crops": [1, 2], "temperature": [0.1, 0.2], "strength": [0.4, 0.6], "jpeg_quality": [90, 95]},
    **{"fraction": [0.5, 1.0], "minimum_crop": [0.1, 0.6], "batch_size": [128, 256], "workers": [1, 2]},
}


@some.composite
def sound_studies(draw: some.DrawFn) -> dict[str, Any]:
    """Studies without a mistake in their words; whether their axes have an effect is another question."""
    names = draw(some.lists(some.sampled_from(DEPENDENT), min_size=1, max_size=3, unique=True))
    grid: dict[Any, Any] = {"direction": draw(some.sampled_from([("real",), ("synthetic",), ("real", "mixed")]))}
    for name in names:
        values: some.SearchStrategy[Any] = some.sampled_from(BY_HAND[name]) if name in BY_HAND else fitting(name)
        grid[name] = draw(some.lists(values, min_size=1, max_size=3, unique=True))
    return {"name": "fuzz", "question": "?", "axes": grid, "figure": ("bars", names[0])}


@some.composite
def wrong_studies(draw: some.DrawFn) -> dict[str, Any]:
    """Studies with mistakes, mostly."""
    grid = draw(axes())
    names = [name for axis in grid for name in (axis if isinstance(axis, tuple) else (axis,))]
    shown = draw(some.sampled_from([*names, "epochs", "real_images", "nothing"]))
    kind = draw(some.sampled_from(["bars", "bars", "curves", "effects", "pareto", "curve"]))
    parts: dict[str, Any] = {"name": "fuzz", "question": "?", "axes": grid, "figure": (kind, shown)}
    if draw(some.booleans()):
        parts["baselines"] = draw(some.lists(points(), max_size=2))
    if draw(some.booleans()):
        parts["fixed"] = {key: draw(value_of(key)) for key in draw(some.lists(KEYS, max_size=2))}
    if not draw(some.integers(0, 5)):
        part = draw(some.sampled_from(["name", "question", "axes", "drop", "variants", "claims", "search"]))
        parts[part] = draw(ANYTHING)
    if not draw(some.integers(0, 9)):
        parts["space"] = {key: [draw(value_of(key))] for key in draw(some.lists(KEYS, max_size=2))}
    return parts


def make(parts: dict[str, Any]) -> Study:
    space = parts.get("space")
    rest = {key: value for key, value in parts.items() if key not in ("figure", "space")}
    search = {} if space is None else {"search": Search(space=space, trials=2)}
    return Study(**{**rest, **search}, figure=Figure(*parts["figure"]))


@pytest.mark.parametrize(("studies", "planned_at_least"), [(sound_studies(), 30), (wrong_studies(), 0)])
def test_a_study_is_refused_in_a_sentence_or_says_which_of_its_points_are_one_training(
    studies: some.SearchStrategy[dict[str, Any]], planned_at_least: int
) -> None:
    repeating: list[bool] = []

    @REPRODUCIBLY
    @given(parts=studies)
    def holds(parts: dict[str, Any]) -> None:
        try:
            study = make(parts)
            plan = make_plan(study, POCKET, 1, NO_STORE)
        except InputError as refusal:
            assert "\n" not in str(refusal) and len(str(refusal)) < 2000
            return
        json.dumps(plan_document(plan), allow_nan=False)
        on_the_grid = {
            tuple(trial.point[name] for name in study.axis_names): trial.spec.fingerprint
            for trial in plan.grid
            if study.axes and set(study.axis_names) <= trial.point.keys()
        }
        repeated = sum(count for count in Counter(on_the_grid.values()).values() if count > 1)
        told = sum(int(sentence.split(" ", 1)[0].replace(",", "")) for sentence in plan.repetitions)
        assert told == repeated
        repeating.append(bool(repeated))

    holds()
    # So that the test cannot pass because nothing is ever planned, or nothing ever repeated.
    assert len(repeating) >= planned_at_least and sum(repeating) >= planned_at_least / 10


FILE = """
from orchestrator.study import Drop, Figure, Range, Search, Study
STUDY = Study(name="mine", question="?", {parts})
"""


@pytest.mark.parametrize(
    "parts",
    [
        'axes={"direction": ("real", "synthetic"), "learnin_rate": (.1, .2)}, figure=Figure("bars", "learnin_rate")',
        'axes={"direction": ("real",), "epochs": (2, 3)}, figure=Figure("curve")',
        'axes={"direction": ("real",), "epochs": (2, 3)}, figure=Figure("curve", "epochs")',
        'axes={"direction": ("real",), "epochs": (2, 3)}, figure=Figure("bars", "epochs"), baselines=("synthetik",)',
        'axes={"direction": ("real",), "epochs": ()}, figure=Figure("bars", "epochs")',
        'axes={"direction": ("real",), "epochs": (2, 2)}, figure=Figure("bars", "epochs")',
        'axes={"direction": ("real",), "workers": (1, 2)}, figure=Figure("bars", "workers")',
        'axes={"direction": ("real",), "frozen_layers": (3,)}, figure=Figure("bars", "frozen_layers")',
        'axes={"direction": ("real",), "warmup_epochs": (30,)}, figure=Figure("bars", "warmup_epochs")',
        'axes={"direction": ("synthetic->real",), "frozen_layers": (99,)}, figure=Figure("bars", "frozen_layers")',
        'axes={"direction": ("real",), "image_size": (10**30,)}, figure=Figure("bars", "image_size"), nme=3',
        "axes={}",
        'figure=Figure("pareto", "real_images"), search=Search(space={"direction": ("real",)}, trials=1)',
        'figure=Figure("pareto", "real_images"), search=Search(space={"epochs": (3,)}, trials=1)',
        "\n",
    ],
)
def test_the_command_refuses_a_wrong_file_in_a_sentence_with_exit_code_2(parts: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FILE.format(parts=parts))
    done = CliRunner().invoke(main, [str(path), "--plan", "json", "--store", str(tmp_path / "store")])
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit), done.output
    assert done.output.startswith("Error: ") and "Traceback" not in done.output


def test_a_mistake_in_a_scale_of_a_users_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import replace\nfrom experiments.layer_importance import STUDY\n"
        "from experiments.scales.pocket import SCALE\n\nSCALE = replace(SCALE, recipe={'epoch': 3})\n"
    )
    with pytest.raises(InputError, match=r"mine\.py, line 5: The scale pocket: recipe: There is no setting 'epoch'"):
        load(str(path), None)
