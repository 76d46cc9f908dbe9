"""Files of users and of `experiments/`: found by name or path, and told with file and line where they are wrong."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.core.python_files import EXPERIMENTS, load_file, shipped_names
from tests.conftest import ROOT


def written(folder: Path, content: str | bytes, name: str = "mine.py") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("x = 1\ny = x +\n", "mine.py, line 2 cannot be run: SyntaxError: invalid syntax"),
        ("x = 1\n\nimport no_such_module\n", "mine.py, line 3 cannot be run: ModuleNotFoundError"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", "mine.py, line 2 cannot be run: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "mine.py, line 2 cannot be run: SystemExit: 3"),
        ("def f():\n    f()\nf()\n", "mine.py, line 2 cannot be run: RecursionError"),
        ("raise ValueError('a\\n  b')\n", "mine.py, line 1 cannot be run: ValueError: a b"),
        (b"# \xe9t\xe9\n", "mine.py: it is not in UTF-8. Save it as UTF-8."),
        ("x = 1".encode("utf-16"), "mine.py: it is not in UTF-8. Save it as UTF-8."),
        (b"x = 1\0", "mine.py cannot be run: "),
        (
            "from datagen.core.errors import InputError\n\nraise InputError('no such key.')",
            "mine.py, line 3: no such key.",
        ),
    ],
)
def test_a_mistake_is_told_with_file_and_line(content: str | bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        load_file(written(tmp_path, content), "study")
    assert str(refusal.value).startswith(str(tmp_path))
    assert sentence in str(refusal.value)


def test_a_mistake_in_a_file_that_the_users_file_imports_is_told_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    written(tmp_path, "def half(x):\n    return x / 0\n", "helper_of_mine.py")
    path = written(tmp_path, "import helper_of_mine\nX = helper_of_mine.half(1)\n")
    with pytest.raises(InputError, match=r"helper_of_mine\.py, line 2 cannot be run: ZeroDivisionError"):
        load_file(path, "study")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("layer_importanc", "There is no study 'layer_importanc'. Did you mean 'layer_importance'?"),
        ("nowhere/x.py", "There is no study file nowhere/x.py."),
        ("deploy/slurm.sh", "deploy/slurm.sh is not a Python file. A study is one, ending in .py."),
    ],
)
def test_a_file_that_is_not_there_is_refused(name: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError) as refusal:
        load_file(name, "study")
    assert str(refusal.value).startswith(sentence)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert load_file(written(tmp_path, b"\xef\xbb\xbfX = '\xc3\xa9'\r\n"), "study").X == "é"


def test_a_file_is_found_however_its_name_is_composed(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        written(tmp_path, "X = 1", f"{unicodedata.normalize(form, 'é')}{form}.py")
        for spelled in ("NFC", "NFD"):
            name = f"{unicodedata.normalize(spelled, 'é')}{form}.py"
            assert load_file(str(tmp_path / name), "study").X == 1


def test_a_changed_file_is_read_again_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    assert load_file(written(tmp_path, "X = 1"), "study").X == 1
    assert load_file(written(tmp_path, "X = 2"), "study").X == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_a_file_may_declare_dataclasses(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass, KW_ONLY\n"
        "@dataclass\nclass Box:\n    _: KW_ONLY\n    x: int = 3\nX = Box().x\n"
    )
    assert load_file(written(tmp_path, text), "study").X == 3


LISTED = (
    "from datagen.core.python_files import load_file; load_file('pocket', 'scale', 'scales');"
    "print(load_file('layer_importance', 'study').__file__)"
)


def study_found_from(folder: Path, code: str) -> str:
    """The file of the study that a process finds whose working directory, searched first, is a folder."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("files", [[], ["__init__.py"], ["__init__.py", "layer_importance.py"]])
def test_a_folder_called_experiments_in_the_working_directory_hides_nothing_and_is_not_run(
    files: list[str], tmp_path: Path
) -> None:
    (tmp_path / "experiments").mkdir()
    for name in files:
        (tmp_path / "experiments" / name).write_text("raise SystemExit('the wrong file was run')")
    assert study_found_from(tmp_path, LISTED) == str(EXPERIMENTS / "layer_importance.py")


@pytest.mark.parametrize("name", ["experiments/__init__.py", "experiments.py"])
def test_a_module_called_experiments_that_was_imported_before_hides_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("MINE = True")
    code = f"import experiments; assert experiments.MINE; {LISTED}"
    assert study_found_from(tmp_path, code) == str(EXPERIMENTS / "layer_importance.py")


def test_what_ships_is_listed_by_name() -> None:
    assert "layer_importance" in shipped_names() and "pocket" in shipped_names("scales")
    assert not [name for name in shipped_names() if name.startswith("_")]
