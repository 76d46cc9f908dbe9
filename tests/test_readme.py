"""What README and docs promise can be done: every command is run, every file of the guide, every name exists."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import orchestrator.api
import orchestrator.sweep
from datagen.core.own_code import name_of
from orchestrator.cli.overrides import apply_overrides
from orchestrator.mindgap import door
from orchestrator.planning.catalog import load, study_names
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.recipes import training_recipe
from orchestrator.storage.store import Store
from tests.conftest import ROOT
from trainables.input.data import ImageSet
from trainables.loop import train_cohort
from trainables.spec import TrainingSpec

PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
README = TEXT["README.md"]
MODULES = {
    "orchestrator.sweep": "orchestrator.sweep",
    "orchestrator.report": "orchestrator.report",
    "orchestrator.representations": "orchestrator.representations",
    "orchestrator.clean": "orchestrator.clean",
    "datagen.generate": "datagen.generate",
    "datagen.prompts": "datagen.prompts",
    "datagen.fetch": "datagen.fetch",
    "datagen.preview": "datagen.preview",
    "datagen.measure": "datagen.measure",
    "datagen.import_images": "datagen.import_images",
    "trainables.models": "trainables.models.__main__",
}
"""The commands of the package, and the module with `main` of each."""
PACKAGES = ("orchestrator", "trainables", "datagen")
CHECKED_ELSEWHERE = ("make", "pytest", "pip", "pre-commit", "git", "venv", ".")


def commands(text: str) -> Iterator[str]:
    """The commands of a page: lines set off by four spaces, and Python's between backticks."""
    for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines():
        if line.startswith("    "):
            yield line.split("  #")[0].split(" # ")[0].strip()
    yield from re.findall(r"`((?:python -m (?:orchestrator|datagen|trainables)|mindgap\b)[^`]*)`", text)


COMMANDS = sorted({command for text in TEXT.values() for command in commands(text)})
OURS = [command for command in COMMANDS if command.startswith(("python -m ", "mindgap")) and "pytest" not in command]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: a store, the guide's files, and what the pages call DIR and FOLDER."""
    folder = tmp_path_factory.mktemp("user")
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TEXT["docs/guide.md"], flags=re.DOTALL):
        (folder / name).write_text(code)
    Store(folder / "store").create()
    (folder / "datagen").symlink_to(ROOT / "datagen")
    (folder / "FOLDER").symlink_to(ROOT / "datagen/pocket/images/train")
    (folder / "DIR").symlink_to(ROOT / "datagen/pocket/generator")
    return folder


def light(arguments: list[str], module: str) -> list[str]:
    """The arguments of a command, so that it looks and does not run for minutes."""
    if module == "orchestrator.sweep" and arguments and not {"--plan", "--status", "--logs"} & set(arguments):
        return [*arguments, "--plan"]
    if module == "datagen.generate" and arguments and "--plan" not in arguments:
        return [*arguments, "--plan"]
    if module in ("datagen.import_images", "datagen.fetch"):
        return ["--help"]  # Whether its options are there is asked below.
    return arguments


def run(command: str) -> Result:
    if command.startswith("mindgap"):
        return CliRunner().invoke(door, [*shlex.split(command)[1:], "--help"])
    module, *arguments = shlex.split(command)[2:]
    main = importlib.import_module(MODULES[module]).main
    if "--store" in arguments:  # s3://bucket/folder is nowhere.
        place = arguments.index("--store")
        del arguments[place : place + 2]
    return CliRunner().invoke(main, light(arguments, module), env={"COLUMNS": "200"})


def test_there_are_commands_to_run() -> None:
    assert len(OURS) >= 20
    assert {command.split()[2] for command in OURS if command.startswith("python")} >= set(MODULES)


@pytest.mark.parametrize("command", OURS)
def test_every_command_of_the_pages_runs(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = run(command)
    assert done.exit_code == 0, done.output


def test_every_other_command_is_one_that_is_checked_elsewhere() -> None:
    for command in COMMANDS:
        words = set(command.split())
        assert command in OURS or words & set(CHECKED_ELSEWHERE) or command.startswith("deploy"), command


def test_the_options_of_the_import_are_there() -> None:
    shown = CliRunner().invoke(importlib.import_module("datagen.import_images").main, ["--help"]).output
    for text in TEXT.values():
        for line in re.findall(r"(?:datagen\.import_images[^`\n]*|`--(?:pets|val-labels)[^`]*`)", text):
            for option in re.findall(r"--[a-z-]+", line):
                assert option in shown, option


@pytest.mark.parametrize("target", ["sweep", "test"])
def test_the_two_make_commands_exist_and_do_what_the_readme_says(target: str) -> None:
    assert f"    make {target} " in README
    shown = made(target)
    expected = {"sweep": ["-m orchestrator.sweep layer_importance"], "test": ["ruff check", "mypy", "-m pytest"]}
    for part in expected[target]:
        assert part in shown


def test_every_target_of_make_that_a_page_names_exists() -> None:
    for text in (*TEXT.values(), (ROOT / "benchmarks/README.md").read_text()):
        for target in re.findall(r"(?:^    |`)make (\w+)", text, flags=re.MULTILINE):
            made(target)


def made(target: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    ).stdout


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_folder_that_a_page_names_exists(page: str) -> None:
    # A name with a slash at its end or a dot in it; README's table of folders names sub-folders by themselves.
    for name in re.findall(r"[`(]((?:[a-z_]+/)+(?:\w+\.\w+)?|[A-Z]+\.md)[`)]", TEXT[page]):
        if not name.startswith("store"):
            assert any((ROOT / package / name).exists() for package in ("", *PACKAGES)), name


def test_the_pages_that_code_cites_are_in_the_repository() -> None:
    for package in (*PACKAGES, "experiments", "benchmarks", "tests"):
        for path in (ROOT / package).rglob("*.py"):
            for name in re.findall(r"\b((?:docs|benchmarks|datagen|reference)/[\w/]*\.md)\b", path.read_text()):
                assert (ROOT / name).is_file(), f"{path}: {name}"


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len(README.splitlines()) <= 120


def test_the_exit_codes_of_the_pages_are_the_sweeps() -> None:
    told = re.findall(r"^\| (\d+) \| ", TEXT["docs/cluster.md"], flags=re.MULTILINE)
    documented = re.search(r"Exit codes: (.*?)\. ", orchestrator.sweep.__doc__ or "", flags=re.DOTALL)
    assert documented
    assert told == re.findall(r"(?:^|;)\s*(\d+)", documented[1])


def test_ci_runs_the_readmes_own_test_command() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_guides_study_can_be_planned_and_names_the_input_that_is_missing(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(*load(str(folder / "my_study.py"), None), 1, Store(tmp_path / "store").create())
    assert [trial.spec.title for trial in plan.grid][:2] == ["real s0", "synthetic s0"]
    assert len(plan.grid) == 2 + 2 * 17
    assert any("store/imported/birds" in sentence and "--name birds" in sentence for sentence in plan.missing_inputs)
    assert not any("ImageNet" in sentence for sentence in plan.missing_inputs)


def test_the_guides_network_is_cut_into_its_own_layers(folder: Path, tmp_path: Path) -> None:
    own = f"model={folder / 'my_net.py'}:bagnet"
    study, scale = apply_overrides(*load("layer_importance", None), [own, "frozen_layers=1..4"])
    plan = make_plan(study, scale, 1, Store(tmp_path / "store").create())
    assert {(name_of(spec.model), spec.depth) for spec in plan.trials} == {("bagnet", 5)}


def test_the_guides_augmentations_and_loss_train_and_its_recipe_is_taken(
    folder: Path, base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet
) -> None:
    recipe = training_recipe(str(folder / "my_recipe.py"))
    for view in ("strong", "noisy"):
        own = {"augmentation": f"{folder}/my_views.py:{view}", "loss": f"{folder}/my_views.py:focal"}
        spec = replace(base_spec, **{**recipe, "cutmix": 0.0, **own})
        (trained,) = train_cohort([spec], train_images, validation_images)
        assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"] < 1


def test_the_guides_notebook_plans_runs_and_holds_the_results(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran: list[Plan] = []
    monkeypatch.setattr(orchestrator.api, "run", ran.append)
    held: dict[str, Any] = {}
    exec((folder / "my_notebook.py").read_text(), held)
    assert ran == [held["planned"]]
    assert len(held["table"]) == 2 * (2 + 8) and set(held["table"]["status"]) == {"missing"}


def test_the_guides_metric_says_how_much_of_the_gap_is_closed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = tmp_path / "store/studies/layer_importance/pocket"
    tables.mkdir(parents=True)
    rows = [("real", 0, 80.0), ("synthetic", 0, 70.0), ("synthetic->real", 1, 78.0), ("real->synthetic", 17, 75.0)]
    trials = pd.DataFrame(rows, columns=["direction", "frozen_layers", "top1_mean"]).assign(status="done")
    trials.to_parquet(tables / "trials.parquet")
    monkeypatch.chdir(tmp_path)
    exec((folder / "my_metric.py").read_text(), {})
    shown = capsys.readouterr().out
    assert re.search(r"^1 +NaN +0.8$", shown, flags=re.MULTILINE)
    assert re.search(r"^17 +0.5 +NaN$", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("study", study_names())
def test_a_study_reads_in_one_screen(study: str) -> None:
    assert len((ROOT / f"experiments/{study}.py").read_text().splitlines()) <= 50
