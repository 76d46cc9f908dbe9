"""A label never says two things: points that differ have names, cells, ticks and runs that differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datagen.core.wording import file_safe, number_words, percent_words, share_words
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import make_plan
from orchestrator.reporting.figures import _value_label
from orchestrator.reporting.formatting import display_table, varied_settings
from orchestrator.reporting.tables import point_name, point_table, trial_table
from orchestrator.storage.store import Store
from orchestrator.study import Figure

CLOSE: dict[str, list[Any]] = {
    "fraction": [1.0, 0.75, 0.6, 0.5, 0.4, 1 / 3, 0.33, 0.3, 1 / 8, 0.12, 0.1249, 1 / 128, 0.0078],
    "learning_rate": [0.1, 0.1000001, 0.10000012, 1e-5, 1.0000001e-5, 0.3, 0.1 + 0.2],
    "weight_decay": [0.0, 1e-4, 1.00000001e-4, 0.00012],
    "temperature": [0.1, 0.12, 0.1204, 0.12041],
}


def test_numbers_and_shares_are_written_as_short_as_they_can_be_told_apart() -> None:
    assert [share_words(share) for share in (1.0, 0.75, 0.6, 0.5, 0.4, 0.125)] == "1/1 0.75 0.6 1/2 0.4 1/8".split()
    assert [number_words(value) for value in (0.1, 2e-5, 16.0, 0.1234567)] == ["0.1", "2e-05", "16", "0.1234567"]
    assert [percent_words(share) for share in (0.25, 0.125, 0.07, 1.0)] == ["25%", "12.5%", "7%", "100%"]
    for words in (share_words, number_words, percent_words):
        values = [value for several in CLOSE.values() for value in several]
        assert len({words(value) for value in values}) == len(set(values)), words


@pytest.mark.parametrize("setting", CLOSE)
def test_points_that_differ_are_called_differently_everywhere(tmp_path: Path, setting: str) -> None:
    values = CLOSE[setting]
    study, scale = load("data_reduction", "pocket")
    axes: dict[str | tuple[str, ...], Any] = {
        ("direction", "frozen_layers"): (("synthetic->real", 16), ("real", 0)),
        setting: values,
    }
    asked = replace(study, axes=axes, figure=Figure("curves", axis=setting))
    plan = make_plan(asked, scale, 2, Store(tmp_path / "store").create())
    assert len({spec.fingerprint for spec in plan.trials}) == len({spec.title for spec in plan.trials})
    assert len({file_safe(spec.title) for spec in plan.trials}) == len({spec.title for spec in plan.trials})
    points = point_table(trial_table(plan, {}))
    assert len(points) == 2 * len(values)
    settings = varied_settings(points)
    assert len({point_name(row, settings) for row in points.to_dict("records")}) == len(points)
    assert not display_table(points).duplicated().any()
    assert len({_value_label(setting, value) for value in values}) == len(values)


def test_mixtures_of_close_shares_are_told_apart(tmp_path: Path) -> None:
    study, scale = load("mixing", "pocket")
    shares = (0.5, 0.125, 0.12, 0.124, 0.375)
    axes = {**study.axes, "real_share": shares}
    plan = make_plan(replace(study, axes=axes), scale, 1, Store(tmp_path / "store").create())
    mixtures = {spec.train.title for spec in plan.trials if spec.train.name == "mixed"}
    assert len(mixtures) == len(shares)
    assert len({spec.title for spec in plan.trials}) == len(plan.trials)
