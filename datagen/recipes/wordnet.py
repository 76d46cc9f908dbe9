"""What prompts need of WordNet 3.0: definitions and lemmas from timm's files, hypernyms from a file.

timm ships lemmas and definitions of 21,844 noun synsets, but no hypernyms. Those of the 100 ImageNet classes and of
the pocket classes are in `hypernyms.csv`; any other class needs WordNet's own `data.noun`, as Debian's package
wordnet-base has it in /usr/share/wordnet (format: wndb(5WN)).
"""

from __future__ import annotations

import csv
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from datagen.core.errors import InputError

FOLDER_VARIABLE = "MINDGAP_WORDNET"
"""Environment variable with the folder that holds WordNet 3.0's `data.noun`."""
_USUAL_FOLDER = Path("/usr/share/wordnet")
_HYPERNYM_POINTERS = ("@", "@i")  # of a class, and of an instance


def definition(wordnet_id: str) -> str | None:
    """WordNet 3.0's definition of a noun synset ("n04197391"), None for an id that timm does not know."""
    return wordnet_definitions().get(wordnet_id)


def first_lemma(wordnet_id: str) -> str | None:
    """The first of a synset's words, which names the class; None for an id that timm does not know."""
    return _timm_file("imagenet_synset_to_lemma.txt").get(wordnet_id, "").split(",")[0] or None


def wordnet_definitions() -> dict[str, str]:
    """The definition of each of 21,844 noun synsets, by WordNet id."""
    return _timm_file("imagenet_synset_to_definition.txt")


def hypernym(wordnet_id: str) -> str | None:
    """The first lemma of a synset's first direct hypernym, None where it is not known.

    Raises:
        InputError: the folder that the environment variable names holds no WordNet.
    """
    known = _shipped_hypernyms().get(wordnet_id)
    if known is None and (folder := wordnet_folder()) is not None and re.fullmatch(r"n\d{8}", wordnet_id):
        known = _hypernym_in(folder / "data.noun", int(wordnet_id[1:]))
    return known


def wordnet_folder() -> Path | None:
    """The folder of WordNet's files, None if there is none.

    Raises:
        InputError: the environment variable names a folder without `data.noun`.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else _USUAL_FOLDER
    if (folder / "data.noun").is_file():
        return folder
    if named:
        raise InputError(f"{FOLDER_VARIABLE}={named} holds no WordNet 3.0 (data.noun). Point it to one that does.")
    return None


def _hypernym_in(path: Path, offset: int) -> str | None:
    try:
        with path.open("rb") as file:
            _, pointers = _synset(file, offset)
            above = next((target for symbol, target in pointers if symbol in _HYPERNYM_POINTERS), None)
            return None if above is None else _synset(file, above)[0]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path} is no data.noun of WordNet 3.0 ({error}). Point {FOLDER_VARIABLE} to one.") from None


def _synset(file: BinaryIO, offset: int) -> tuple[str, list[tuple[str, int]]]:
    """First lemma and (pointer symbol, offset) of the synset at a byte offset of `data.noun`."""
    file.seek(offset)
    fields = file.readline().decode("ascii").split(" | ")[0].split()
    if int(fields[0]) != offset:
        raise ValueError(f"no synset at byte {offset}")
    # offset, file number, part of speech, count of words (hexadecimal), then a word and its id for each
    pointers_at = 4 + 2 * int(fields[3], 16)
    first, count = pointers_at + 1, int(fields[pointers_at])
    pointers = [(fields[at], int(fields[at + 1])) for at in range(first, first + 4 * count, 4)]
    return fields[4].replace("_", " "), pointers


@cache
def _shipped_hypernyms() -> dict[str, str]:
    with (Path(__file__).parent / "hypernyms.csv").open(newline="", encoding="utf-8") as file:
        return {row["wordnet_id"]: row["hypernym"] for row in csv.DictReader(file)}


@cache
def _timm_file(name: str) -> dict[str, str]:
    timm = find_spec("timm")
    if timm is None or timm.origin is None:
        raise InputError("timm is not installed; its WordNet files are needed for prompts. Run: pip install timm")
    # timm's folder is looked up, not imported: the import costs 3 seconds, which a plan should not.
    lines = (Path(timm.origin).parent / "data" / "_info" / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines)
