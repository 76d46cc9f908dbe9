"""The ladder of the GPU recipe runs to its top on a CPU too, in small; what it says of a card is said of one only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import ladder
from benchmarks.cohorts import random_images
from trainables.models import compilation


def test_every_rung_trains_the_same_and_the_tiny_form_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compilation, "BACKEND", compilation.BACKEND)  # It is put back.
    out = tmp_path / "ladder.json"
    done = CliRunner().invoke(ladder.main, ["--tiny", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert not out.exists()
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [rung.name for rung in ladder.LADDER]
    assert "not neutral" not in done.stdout
    assert rows[0].endswith("| 0.00% |")
    torch._dynamo.reset()


def test_the_hours_and_the_share_follow_from_the_rate() -> None:
    told = ladder.told([1000.0, 2000.0, 1759.57], loss=1.0, flops=60e9, ceiling=660e12)
    assert told["hours"] == pytest.approx(2.0, rel=1e-4)  # 126,689 images, 100 times.
    assert told["share"] == pytest.approx(0.16, rel=1e-3)
    found = {"eager": {**told, "ratio": 1.0, "difference": 0.0}, "off": {**told, "ratio": 1.0, "difference": 0.021}}
    lines = ladder.markdown("network", found).splitlines()
    assert lines[2] == "| eager | 1000 | 1760 | 2000 | 1.00x | 2.00 | 16.0% | 0.00% |"
    assert lines[3].endswith("| 2.10%, **not neutral** |")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_no_table_of_one_is_written(tmp_path: Path) -> None:
    done = CliRunner().invoke(ladder.main, ["--out", str(tmp_path / "ladder.json")])
    assert done.exit_code == 2
    assert "Give --tiny" in done.output
    assert not list(tmp_path.iterdir())


def test_the_operations_of_a_step_are_counted_for_each_image_and_all_its_crops() -> None:
    images = random_images(4, 73)
    sizes = {"image_size": 64, "local_size": 64}
    one, three = (
        ladder.flops_per_sample(
            ladder._spec("test_resnet", 2, 1, local_crops=crops, **sizes),
            images,
            torch.device("cpu"),
        )
        for crops in (0, 2)
    )
    assert three == pytest.approx(3 * one)
