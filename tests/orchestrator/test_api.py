"""Studies from Python: planned, run and held as a table in five lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.core.errors import InputError
from orchestrator import Figure, Study, plan, results, run
from orchestrator.planning.catalog import load_scale

SHORT = ("epochs=1", "warmup_epochs=0", "batch_size=32", "images_per_class=8", "steps=1")


def test_a_study_of_ones_own_is_planned_without_a_file(tmp_path: Path) -> None:
    study = Study(
        name="mine",
        question="Does a lower rate help?",
        axes={"direction": ("real",), "learning_rate": (0.1, 0.2)},
        figure=Figure("curves", axis="learning_rate"),
    )
    planned = plan(study, "epochs=12", scale=load_scale("pocket"), seeds=2, store=tmp_path / "none")
    assert [spec.learning_rate for spec in planned.trials] == [0.1, 0.1, 0.2, 0.2]
    assert {spec.epochs for spec in planned.trials} == {12}
    assert planned.overridden == ("epochs=12",)
    assert not (tmp_path / "none").exists()


def test_the_results_of_what_was_not_run_are_missing(tmp_path: Path) -> None:
    planned = plan("layer_importance", "frozen_layers=1,17", store=tmp_path / "none", only="seed == 0 and N == 1")
    assert len(planned.part.trials) == 2
    table = results(planned)
    assert set(table["status"]) == {"missing"}
    assert len(table) == len(planned.grid)


def test_mistakes_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'epochs'"):
        plan("layer_importance", "epoch=3", store=tmp_path)
    with pytest.raises(InputError, match="Did you mean 'mixing'"):
        plan("mixin", store=tmp_path)
    with pytest.raises(InputError, match="seeds must be 1 or more"):
        plan("mixing", seeds=0, store=tmp_path)


def test_a_plan_prints_as_a_sentence(tmp_path: Path) -> None:
    planned = plan("layer_importance", "frozen_layers=1,17", store=tmp_path / "none", only="N == 17")
    assert str(planned) == (
        "layer_importance on scale pocket: 2 trials, 0 to reuse, 2 to run; 2 bases to train for transfers."
    )


def test_five_lines_plan_run_and_hold_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "runs [v2]"
    planned = plan("layer_importance", *SHORT, "frozen_layers=17", store=store, only="direction == 'real'")
    code = run(planned, dashboard=False)
    table = results(planned)
    told = capsys.readouterr().out
    assert code == 0, told
    (row,) = table[table["status"] == "done"].to_dict("records")
    assert (row["direction"], row["epochs"]) == ("real", 1)
    assert 0 < row["top1_mean"] <= 100
    report = store / "studies" / "layer_importance" / "pocket" / "report.html"
    assert str(report) in told
    assert "Settings given in place of the study's and the scale's own: epochs=1" in report.with_suffix(
        ".md"
    ).read_text(encoding="utf-8")
