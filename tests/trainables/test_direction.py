"""Directions: one type, and one text for it that is read as it is written."""

from __future__ import annotations

import re

import pytest

from datagen.core.errors import InputError
from tests.conftest import ROOT
from trainables.direction import DIRECTIONS, KINDS, REAL_TO_SYNTHETIC, SYNTHETIC_TO_REAL, Direction

EVERY = [Direction(source, target) for source in (None, *KINDS) for target in KINDS]


@pytest.mark.parametrize("direction", EVERY, ids=str)
def test_a_direction_is_read_as_it_is_written(direction: Direction) -> None:
    assert Direction.parse(str(direction)) == direction
    assert Direction.parse(direction) is direction


def test_the_text_is_that_of_the_result_tables() -> None:
    assert [str(direction) for direction in DIRECTIONS] == ["real->synthetic", "synthetic->real"]
    assert str(Direction(None, "real")) == "real"


def test_the_papers_names_are_understood() -> None:
    assert Direction.parse("RDTL") == REAL_TO_SYNTHETIC
    assert Direction.parse("SDTL") == SYNTHETIC_TO_REAL


@pytest.mark.parametrize("text", ["", "up", "->real", "real->", "real->synthetic->real", "real-to-synthetic", "reel"])
def test_what_is_no_direction_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="direction must be one of real->synthetic, synthetic->real, RDTL, SDTL, real"):
        Direction.parse(text)


def test_the_arrow_is_read_and_written_in_one_file_only() -> None:
    by_hand = re.compile(r"""partition\(["']->|split\(["']->|["']->["'] in |["']->["']|\}->\{""")
    files = [
        path
        for folder in ("orchestrator", "trainables", "datagen", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    ]
    found = [path.name for path in files if by_hand.search(path.read_text(encoding="utf-8"))]
    assert found == ["direction.py", "wording.py"]  # The latter writes an arrow in file names, whatever it stands for.
