"""What the README promises can be done."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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
