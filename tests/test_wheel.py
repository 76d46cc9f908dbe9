"""A wheel of the project works from any folder, with what ships and without what made it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("orchestrator", "trainables", "datagen", "experiments")
DATA = (".parquet", ".safetensors", ".json", ".png", ".csv", ".j2", ".typed", ".md")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an unpacked wheel, built from a copy of the sources."""
    sources, folder = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, sources / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder)], cwd=sources, check=True, capture_output=True)
    (wheel,) = folder.glob("mindgap-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "unpacked")
    return folder / "unpacked"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_holds_all_code_and_data_but_what_made_the_pocket(installed: Path) -> None:
    wanted = {
        f"{package}/{name}"
        for package in PACKAGES
        for name in files(ROOT / package)
        if name.endswith((".py", *DATA)) and not name.startswith("pocket/making/")
    }
    held = files(installed)
    assert wanted <= held, wanted - held
    assert not [name for name in held if name.startswith(("tests/", "benchmarks/", "datagen/pocket/making/"))]


def test_it_holds_the_licenses_and_says_that_it_is_typed(installed: Path) -> None:
    (about,) = installed.glob("mindgap-*.dist-info")
    assert {"LICENSE", "NOTICE", "datagen/pocket/LICENSE.fashion-mnist"} <= files(about / "licenses")
    assert "License-Expression: Apache-2.0" in (about / "METADATA").read_text()
    assert all((installed / package / "py.typed").is_file() for package in PACKAGES)


def test_a_study_is_planned_from_any_folder_with_it(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys, orchestrator.sweep as sweep;"
        f"assert sweep.__file__.startswith({str(installed)!r}), sweep.__file__;"
        "sys.argv = ['sweep', 'layer_importance', '--plan']; sweep.main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "36 trials, 0 to reuse, 36 to run" in done.stdout
    assert not list(tmp_path.iterdir())
