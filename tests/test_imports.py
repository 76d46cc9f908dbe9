"""The layers of the house: who may import whom, and how large a room may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("orchestrator", "trainables", "datagen", "experiments")
MAY_IMPORT: dict[str, set[str]] = {
    # The folders of each package, and what each may import of its own package: "*" is everything. A file at a package's
    # top stands for itself.
    "datagen/core": set(),
    "datagen/datasets": {"datagen/core"},
    "datagen/hub": {"datagen/core", "datagen/datasets"},
    "datagen/recipes": {"datagen/core", "datagen/datasets", "datagen/hub"},
    "datagen/storage": {"datagen/core", "datagen/datasets"},
    "datagen/measuring": {"datagen/core", "datagen/datasets"},
    "datagen/generation": {"datagen/core", "datagen/datasets", "datagen/storage"},
    "datagen/importing": {"datagen/core", "datagen/datasets", "datagen/hub", "datagen/recipes"},
    "datagen/pocket": {"datagen/core", "datagen/datasets", "datagen/hub", "datagen/recipes"},
    "datagen/pocket/making": {"*"},
    "trainables/direction": set(),
    "trainables/spec": {"trainables/direction", "trainables/models"},
    "trainables/report": set(),
    "trainables/timers": set(),
    "trainables/partition": {"trainables/spec"},
    "trainables/models": set(),
    "trainables/input": {"trainables/spec"},
    "trainables/augmentations/operators": {"trainables/input", "trainables/spec"},
    "trainables/augmentations": {"trainables/augmentations/operators", "trainables/input", "trainables/spec"},
    "trainables/memory": {"*"},
    "trainables/evaluation": {"*"},
    "orchestrator/provisions": set(),
    "orchestrator/settings": set(),
    "orchestrator/axes": {"orchestrator/settings"},
    "orchestrator/search_space": {"orchestrator/axes", "orchestrator/settings"},
    "orchestrator/recipes": {"orchestrator/settings"},
    "orchestrator/evaluation": set(),
    "orchestrator/scale": {
        *("orchestrator/claims", "orchestrator/recipes", "orchestrator/settings", "orchestrator/evaluation"),
        "orchestrator/provisions",
    },
    "orchestrator/claims": set(),
    "orchestrator/study": {
        *("orchestrator/axes", "orchestrator/claims", "orchestrator/scale"),
        *("orchestrator/search_space", "orchestrator/settings"),
    },
    "orchestrator/storage": {"orchestrator/evaluation"},
    "orchestrator/planning": {
        *("orchestrator/axes", "orchestrator/settings", "orchestrator/provisions"),
        *("orchestrator/scale", "orchestrator/study", "orchestrator/storage"),
    },
    "orchestrator/execution": {
        "orchestrator/scale",
        "orchestrator/planning",
        "orchestrator/study",
        "orchestrator/storage",
    },
    "orchestrator/reporting": {
        *("orchestrator/scale", "orchestrator/study", "orchestrator/claims", "orchestrator/planning"),
        *("orchestrator/settings", "orchestrator/storage", "orchestrator/evaluation"),
    },
    "orchestrator/tracking": {
        *("orchestrator/scale", "orchestrator/study", "orchestrator/planning", "orchestrator/storage"),
        *("orchestrator/claims", "orchestrator/execution"),
    },
    "orchestrator/cli": {
        *("orchestrator/recipes", "orchestrator/provisions"),
        *("orchestrator/axes", "orchestrator/settings"),
        *("orchestrator/scale", "orchestrator/study", "orchestrator/planning", "orchestrator/storage"),
        "orchestrator/execution",
    },
    "experiments/datasets": set(),
    "experiments/claims": set(),
    "experiments/recipes": set(),
    "experiments/scales": {"experiments/datasets"},
}
SHARED = ("datagen.core", "datagen.datasets")
"""What `trainables` may use of `datagen`."""
MOST_FILES = 15


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def imported_modules(path: Path) -> frozenset[str]:
    """What a file imports, anywhere in it: modules of the project by their own name, others as they are written."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules() else node.module)
    return frozenset(found)


def place(module: str) -> str:
    """The folder of a module; of a file at a package's top, the file itself."""
    path = modules()[module]
    folder = path.parent.relative_to(ROOT).as_posix()
    return folder if "/" in folder else f"{folder}/{path.stem}"


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = {name: imported_modules(path) & modules().keys() for name, path in modules().items()}
    list(TopologicalSorter(graph).static_order())  # A circle raises, and names its files.


def test_the_spelled_out_folders_have_no_circle() -> None:
    list(TopologicalSorter({folder: may - {"*"} for folder, may in MAY_IMPORT.items()}).static_order())


@pytest.mark.parametrize("module", modules())
def test_a_folder_imports_what_it_may(module: str) -> None:
    here = place(module)
    if here not in MAY_IMPORT:
        assert not (ROOT / here).is_dir(), f"{here} is not spelled out"
        return  # A file at a package's top, such as a command, stands above the folders.
    others = {place(name) for name in imported_modules(modules()[module]) & modules().keys()} - {here}
    own = {other for other in others if other.split("/")[0] == here.split("/")[0]}
    assert "*" in MAY_IMPORT[here] or own <= MAY_IMPORT[here]


@pytest.mark.parametrize("path", sources("trainables") + sources("datagen"), ids=lambda p: str(p.relative_to(ROOT)))
def test_trainables_and_datagen_know_nothing_above_or_beside_them(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    other = {"trainables": "datagen", "datagen": "trainables"}[package]
    for name in imported_modules(path):
        top = name.split(".")[0]
        assert top not in ("orchestrator", "experiments"), name
        assert top != other or name.startswith(SHARED), f"{name} is internal to {other}"


@pytest.mark.parametrize("path", sources("trainables"), ids=lambda p: p.name)
def test_the_training_loop_knows_neither_ray_nor_mlflow(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported_modules(path)} & {"ray", "mlflow"}


def test_only_the_tracking_folder_knows_mlflow() -> None:
    users = {
        path.parent.name
        for package in PACKAGES
        for path in sources(package)
        if any(name.split(".")[0] == "mlflow" for name in imported_modules(path))
    }
    assert users == {"tracking"}


def test_a_report_looks_up_no_study_or_scale_by_name() -> None:
    for path in sources("orchestrator/reporting"):
        assert "orchestrator.planning.catalog" not in imported_modules(path), path


def test_running_needs_no_command() -> None:
    commands = {"orchestrator.report", "orchestrator.sweep", "orchestrator.clean", "orchestrator.mindgap"}
    for name, path in modules().items():
        if name not in commands:
            assert not imported_modules(path) & commands, name


def test_nothing_but_its_own_scripts_needs_what_made_the_pocket() -> None:
    for name, path in modules().items():
        if not name.startswith("datagen.pocket.making"):
            assert not any(item.startswith("datagen.pocket.making") for item in imported_modules(path)), name


@pytest.mark.parametrize("package", [*PACKAGES, "benchmarks", "tests"])
def test_no_folder_has_more_files_than_can_be_seen_at_once(package: str) -> None:
    for folder in {path.parent for path in sources(package)}:
        assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder


@pytest.mark.parametrize(
    "folder", sorted({p.parent for package in (*PACKAGES, "benchmarks") for p in sources(package)}), ids=str
)
def test_every_folder_says_in_five_lines_what_lives_there(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert text and "Start reading with" in text
    assert len([line for line in text.splitlines() if line.strip()]) <= 5


@pytest.mark.parametrize("entry", ["sweep", "report"])
def test_the_entry_modules_are_short(entry: str) -> None:
    assert len((ROOT / f"orchestrator/{entry}.py").read_text(encoding="utf-8").splitlines()) < 100


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


def test_a_users_study_file_loads_nothing_heavy() -> None:
    code = (
        "import sys; import orchestrator.study, orchestrator.scale; from orchestrator import Figure, Scale, Study;"
        "heavy = {'torch', 'ray', 'mlflow', 'diffusers', 'timm', 'pandas'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
