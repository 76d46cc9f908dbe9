"""What the README promises can be done."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.planning.catalog import load, study_names
from orchestrator.planning.plan import make_plan
from orchestrator.storage.store import Store
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = sorted(
    {
        match.strip()
        for line in README.splitlines()
        if line.startswith("    ")
        for match in re.findall(r"python -m orchestrator\.sweep[^#]*", line)
    }
)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_sweep_command_of_the_readme_can_be_planned(command: str, tmp_path: Path) -> None:
    arguments = shlex.split(command)[3:]
    if arguments and "--plan" not in arguments:
        arguments.append("--plan")
    if arguments:
        arguments += ["--store", str(tmp_path / "store")]
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.sweep", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["sweep", "test"])
def test_the_two_make_commands_exist_and_do_what_the_readme_says(target: str) -> None:
    assert f"    make {target} " in README
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    shown = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    ).stdout
    expected = {"sweep": ["-m orchestrator.sweep layer_importance"], "test": ["ruff check", "mypy", "-m pytest"]}
    for part in expected[target]:
        assert part in shown


def test_every_file_and_folder_that_the_readme_names_exists() -> None:
    for name in re.findall(r"[`(]((?:[a-z_]+/)+[\w.]*)[`)]", README):
        if not name.startswith("store"):
            assert (ROOT / name).exists(), name


def test_ci_runs_the_readmes_own_test_command() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_readmes_own_study_can_be_planned_and_names_what_it_missing_input(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "my_study.py"
    path.write_text(code)
    plan = make_plan(*load(str(path), None), 1, Store(tmp_path / "store").open())
    assert [trial.spec.title for trial in plan.grid][:3] == ["real s0", "synthetic s0", "synthetic->real N=1 s0"]
    assert len(plan.grid) == 7 and {spec.depth for spec in plan.trials} == {6}
    assert any("store/imported/birds" in sentence for sentence in plan.missing_inputs)


@pytest.mark.parametrize("study", study_names())
def test_a_study_reads_in_one_screen(study: str) -> None:
    assert len((ROOT / f"experiments/{study}.py").read_text().splitlines()) <= 50
