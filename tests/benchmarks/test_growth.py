"""The benchmark of growth finds laws that are there, measures every axis, and says where growth stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.growth import curves, points
from benchmarks.growth.laws import laws
from benchmarks.growth.points import POINTS

SIZES = (10, 100, 1000, 10000, 100000)


def test_a_quadratic_cost_is_found_to_be_one() -> None:
    best, other = laws(SIZES, [3e-6 * size**2 for size in SIZES])
    assert (best.kind, other.kind) == ("power", "linear")
    assert best.second == pytest.approx(2)
    assert best.reaches(3e-6 * 1e12) == pytest.approx(1e6)
    assert best.formula("s") == "3e-06 n^2.00 s"


def test_a_fixed_part_and_a_part_for_each_is_a_line() -> None:
    best, other = laws(SIZES, [80 + 0.02 * size for size in SIZES])
    assert best.kind == "linear" and best.residual < 1e-9 < other.residual
    assert best.formula("MB") == "80 + 0.02 n MB"
    assert best.reaches(280) == pytest.approx(10000)


def test_what_does_not_grow_stops_nowhere() -> None:
    for law in laws(SIZES, [400, 401, 402, 400, 401]):
        assert law.flat and law.reaches(1000) is None
    assert all(law.reaches(1) is None for law in laws(SIZES, [16, 8, 4, 2, 1]))


def series(**changes: Any) -> curves.Series:
    return curves.Series(**{"point": "plan", "label": "a plan", "sizes": SIZES, "tiny": (1, 2), **changes})


def measured(seconds: list[float], megabytes: list[float], **changes: Any) -> curves.Measured:
    return curves.Measured(series(**changes), SIZES, tuple(seconds), tuple(megabytes), (9.0,) * 5)


def test_the_first_limit_is_named_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_limits", lambda: {"this machine": 24e3, "disk": 12e3, "files": 1024.0})
    slow = measured([0.001 * size for size in SIZES], [80.0] * 5)
    assert curves.where_it_stops(slow) == "about 3,600,000 (extrapolated; 1 h of time)"
    large = measured([0.001 * size for size in SIZES], [80 + 0.2 * size for size in SIZES])
    assert curves.where_it_stops(large) == "about 120,000 (extrapolated; this machine: 24 GB)"
    few = measured([0.001 * size for size in SIZES], [80.0] * 5, last=(17, "all there are"))
    assert curves.where_it_stops(few) == "not reached: 17 are all there are"
    assert curves.where_it_stops(measured([1.0] * 5, [80.0] * 5)) == "nothing seen"


def test_every_curve_has_its_point() -> None:
    assert {one.point for axis in curves.AXES for one in axis.series} == set(POINTS)


@pytest.mark.parametrize("point", ["plan", "load", "epoch", "prompts", "sampler", "head", "branches"])
def test_a_size_is_measured(point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "EPOCH_IMAGES", 128)
    size = {"load": 64, "epoch": 128}.get(point, 2)
    row = curves.run_point(point, size, tmp_path, 1)
    assert row["seconds"] > 0 and row["files"] > 0
    if point == "load":  # The megabytes that a node shares: the pixels, and the labels.
        pixels = 64 * 3 * 32 * 32 / 1e6
        assert pixels <= row["megabytes"] <= pixels + 0.02
    else:
        assert row["megabytes"] > 50


def test_an_axis_is_written_drawn_and_tabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "AXES", (curves.Axis("classes", "classes", curves.AXES[2].series[:1]),))
    done = CliRunner().invoke(curves.main, ["--tiny", "--axis", "classes", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (plot,) = (tmp_path / "growth").iterdir()
    assert plot.read_bytes().startswith(b"\x89PNG") and plot.stat().st_size < 60_000
    found = json.loads((tmp_path / "growth.json").read_text())["results"]["classes"]["prompts"]
    assert found["sizes"] == [2, 4] and set(found["laws"]["seconds"]) == {"power", "linear"}
    assert f"![time and memory against classes](results/growth/{plot.name})" in done.output
    assert "| prompts and fingerprint of a set | 2 to 4 |" in done.output


def test_a_point_that_fails_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="absent of 1 failed"):
        curves.fresh_process("absent", 1, tmp_path, 1)
