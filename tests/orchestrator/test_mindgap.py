"""One door to all commands: it lists them without loading them, and passes on what it is given."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from orchestrator.mindgap import COMMANDS, door
from tests.conftest import ROOT


def test_the_console_script_is_the_door() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["mindgap"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_behind_it(name: str) -> None:
    told = CliRunner().invoke(door, [name, "--help"], prog_name="mindgap")
    assert told.exit_code == 0
    assert told.output.startswith(f"Usage: mindgap {name} ")


def test_its_help_lists_the_commands_and_loads_none() -> None:
    code = (
        "import sys; from orchestrator.mindgap import COMMANDS, main; sys.argv = ['mindgap', '--help']\n"
        "try:\n    main()\nfinally:\n"
        "    loaded = {'numpy', 'pandas', 'pyarrow', 'torch', 'ray'} & set(sys.modules)\n"
        "    assert not loaded, loaded\n"
        "    assert not {entry.module for entry in COMMANDS.values()} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = done.stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line] == list(COMMANDS)


def test_an_unknown_command_is_refused_with_the_nearest() -> None:
    told = CliRunner().invoke(door, ["swep"], prog_name="mindgap")
    assert told.exit_code == 2
    assert "There is no command 'swep'. Did you mean 'sweep'?" in told.output


def test_mistakes_keep_their_exit_code_behind_the_door(tmp_path: Path) -> None:
    arguments = ["report", "layer_importance", "--store", str(tmp_path / "runs [v2] x[/y]")]
    told = CliRunner().invoke(door, arguments, prog_name="mindgap")
    assert told.exit_code == 2
    assert told.stderr.startswith(f"Error: There is no store in {tmp_path / 'runs [v2] x[/y]'}. ")


def test_every_entry_is_a_click_command() -> None:
    for entry in COMMANDS.values():
        assert isinstance(importlib.import_module(entry.module).main, click.Command)
