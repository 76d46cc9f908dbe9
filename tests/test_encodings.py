"""Every text file is written and read as UTF-8, whatever the machine's locale."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = [
    path
    for folder in ("orchestrator", "trainables", "datagen", "experiments", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def in_the_locales_encoding(code: str) -> Iterator[int]:
    """The lines that open a text file without saying its encoding."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call) or any(key.arg in ("encoding", None) for key in node.keywords):
            continue
        method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[1 if name == "open" and not method else 0 :][:1]
        binary = any(isinstance(item, ast.Constant) and "b" in str(item.value) for item in first)
        mode = bool(first) and isinstance(first[0], ast.Constant) and set(str(first[0].value)) <= set("rwax+t")
        if (method and name in ("read_text", "write_text")) or (
            name == "open" and not binary and (not method or mode or bool(node.keywords and not node.args))
        ):
            yield node.lineno


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("open(path)", True),
        ("open(path, 'w')", True),
        ("path.open('w')", True),
        ("path.open(newline='')", True),
        ("path.read_text(encoding='utf-8')", False),
        ("open(path, 'rb')", False),
        ("path.open('ab')", False),
        ("store.open(spec)", False),
        ("write_text(path, text)", False),
    ],
)
def test_the_search_finds_what_depends_on_the_locale(code: str, found: bool) -> None:
    assert bool(list(in_the_locales_encoding(code))) is found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_depends_on_the_locale(path: Path) -> None:
    assert not list(in_the_locales_encoding(path.read_text(encoding="utf-8")))
