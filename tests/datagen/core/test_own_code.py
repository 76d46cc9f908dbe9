"""A user's own code: known by its file's text, carried with the spec, refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.core.own_code import is_own, loaded, name_of, taken

CODE = "from math import floor\nfactor: int = 3\n\ndef times(value):\n    return factor * value\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


def test_code_is_taken_with_its_text_and_runs_where_the_file_is_not(file: Path) -> None:
    reference, sources = taken(f"{file}:times", ())
    file.unlink()
    assert loaded(reference, sources)(2) == 6
    assert (is_own(reference), name_of(reference), sources) == (True, "times", (CODE,))
    assert taken(reference, sources) == (reference, sources)


def test_another_text_is_another_reference_wherever_the_file_lies(file: Path, tmp_path: Path) -> None:
    first, sources = taken(f"{file}:times", ())
    (tmp_path / "copy.py").write_text(CODE)
    assert taken(f"{tmp_path}/copy.py:times", ())[0] == first
    file.write_text(CODE.replace("3", "4"))
    second, both = taken(f"{file}:times", sources)
    assert second != first
    assert [loaded(reference, both)(1) for reference in (first, second)] == [3, 4]


@pytest.mark.parametrize("value", ["pytorch_example", "a:b", "mine.py:", "mine.py:1st", "name@12", 3])
def test_what_is_no_reference_is_none(value: object) -> None:
    assert not is_own(value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mine.py:tines", r"defines no tines. Did you mean 'times'\?"),
        ("away.py:times", r"away.py cannot be read: No such file or directory"),
        ("broken.py:times", r"broken.py, line 2, is no Python: "),
        ("times@0123456789abcdef", r"is not at hand. Name it as FILE.py:NAME"),
    ],
)
def test_each_mistake_is_one_sentence(name: str, sentence: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "broken.py").write_text("a = 1\ndef (")
    monkeypatch.chdir(file.parent)
    with pytest.raises(InputError, match=sentence):
        taken(name, ())


def test_planning_reads_a_file_and_does_not_run_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import a_package_that_is_not_there\ndef times(value): ...\n")
    reference, sources = taken(f"{tmp_path}/mine.py:times", ())
    with pytest.raises(InputError, match="cannot be run: ModuleNotFoundError: No module named 'a_package"):
        loaded(reference, sources)
