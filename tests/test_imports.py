"""The layers of the house: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SHARED = {
    "datagen.core.errors",
    "datagen.core.identity",
    "datagen.datasets.shards",
    "datagen.datasets.spec",
    "datagen.datasets.pixel_statistics",
}
"""What other packages may use of `datagen`."""


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", sources("trainables") + sources("datagen"), ids=lambda p: str(p.relative_to(ROOT)))
def test_trainables_and_datagen_know_nothing_above_or_beside_them(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    other = {"trainables": "datagen", "datagen": "trainables"}[package]
    for name in imported_modules(path):
        top = name.split(".")[0]
        assert top not in ("orchestrator", "experiments"), name
        assert top != other or name in SHARED, f"{name} is internal to {other}"


@pytest.mark.parametrize("path", sources("trainables"), ids=lambda p: p.name)
def test_the_training_loop_knows_neither_ray_nor_mlflow(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported_modules(path)} & {"ray", "mlflow"}


def test_only_the_tracking_modules_know_mlflow() -> None:
    users = [
        p.name for p in sources("orchestrator") if any(name.split(".")[0] == "mlflow" for name in imported_modules(p))
    ]
    assert users == ["tracking.py", "tracking_reader.py", "tracking_server.py", "tracking_writers.py"]


def test_the_entry_module_is_short() -> None:
    assert len((ROOT / "orchestrator/sweep.py").read_text().splitlines()) < 100


def test_planning_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys; sys.argv = ['sweep', 'layer_importance', '--plan', 'json', '--store', 'no-such-store'];"
        "import orchestrator.sweep as sweep;"
        "sweep.main(standalone_mode=False);"
        "heavy = {'torch', 'ray', 'mlflow', 'diffusers', 'timm'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
