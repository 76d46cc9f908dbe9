"""The script for a machine with one GPU: its steps are commands that exist, end by themselves, and fail alone."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from benchmarks import evening
from datagen.datasets.shards import read_manifest
from tests.conftest import ROOT

STAND_IN = """#!/usr/bin/env bash
echo "$*" >> "$(dirname "$0")/commands.txt"
case "$*" in *benchmarks.generate*) exit 7 ;; esac
"""


@pytest.fixture(params=["tiny", "gpu"])
def steps(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[list[str]], int]:
    """What the script has written, the commands that it gave, and how it ended; on a GPU that is pretended."""
    for name, text in (("python", STAND_IN), ("nvidia-smi", "#!/usr/bin/env bash\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    options = ["--tiny"] if request.param == "tiny" else []
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "benchmarks" / "gpu_day.sh", str(tmp_path / "tables"), *options],
        env={**os.environ, "PATH": path, "PYTHON": str(tmp_path / "python")},
        capture_output=True,
        check=False,
    )
    commands = [shlex.split(line) for line in (tmp_path / "commands.txt").read_text().splitlines()]
    return tmp_path / "tables", commands, done.returncode


def test_a_step_that_fails_leaves_the_others_and_is_told(steps: tuple[Path, list[list[str]], int]) -> None:
    folder, commands, code = steps
    assert code == 1
    told = [line.split(",")[0] for line in (folder / "steps.txt").read_text().splitlines()]
    names = ("tests", "ladder", "generate", "cohorts", "evening")
    assert told == [f"{name}: exit code {7 if name == 'generate' else 0}" for name in names]
    assert len(commands) == len(names)
    assert all((folder / f"{name}.log").exists() for name in names)


def test_its_steps_are_given_options_that_exist(steps: tuple[Path, list[list[str]], int]) -> None:
    _, commands, _ = steps
    for _, module, *arguments in commands:
        if module == "pytest":
            assert all((ROOT / path).exists() for path in arguments if path.startswith("tests"))
            continue
        command: click.Command = importlib.import_module(module).main
        command.make_context(module, list(arguments))


def test_the_limits_of_its_steps_are_25_minutes_together() -> None:
    script = (ROOT / "benchmarks" / "gpu_day.sh").read_text()
    on_gpu = script.split("\nelse\n")[0]
    limits = [int(line.split()[2]) for line in on_gpu.splitlines() if line.strip().startswith("step ")]
    assert len(limits) == 5 and sum(limits) <= 25 * 60


def test_the_photographs_are_a_scales_images(tmp_path: Path) -> None:
    evening.write_photographs(tmp_path, 4)
    train, validation = read_manifest(tmp_path / "train"), read_manifest(tmp_path / "validation")
    assert (train.rows, validation.rows) == (40, 20)
    assert train.class_names == validation.class_names and train.class_names[0] == "tench"


def test_what_a_sweep_says_becomes_a_row() -> None:
    output = "Device: 1 x H100\nsynthetic->real N=1..17 s0 went on as N=1..9 and N=10..17: memory.\n"
    found = evening.told(output, 0, 12.34)
    assert found == {"exit": 0, "seconds": 12.3, "device": "1 x H100", "divided": [output.splitlines()[1]]}
    assert evening.table({"alone": [found]}).splitlines()[-1] == "| alone | 0 | 12.3 | 1 |"
