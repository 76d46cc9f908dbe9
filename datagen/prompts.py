"""Prompts: "<class name>, <definition>", the form both papers use (Mind the Gap, section 4.1)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from datagen.errors import InputError


@cache
def wordnet_definitions() -> dict[str, str]:
    """WordNet 3.0's definition of each of 21,844 noun synsets, by WordNet id ("n04197391"), as shipped with timm."""
    timm = find_spec("timm")
    if timm is None or timm.origin is None:
        raise InputError("timm is not installed; its WordNet files are needed for prompts. Run: pip install timm")
    # timm's folder is looked up, not imported: the import costs 3 seconds, which a plan should not.
    path = Path(timm.origin).parent / "data" / "_info" / "imagenet_synset_to_definition.txt"
    return dict(line.split("\t", 1) for line in path.read_text().splitlines())


def class_prompt(class_name: str, wordnet_id: str) -> str:
    """The definition prompt of a class, or "a photo of a <class>" where it has no WordNet id."""
    return definition_prompt(class_name, wordnet_id) if wordnet_id else f"a photo of a {class_name}"


def definition_prompt(class_name: str, wordnet_id: str) -> str:
    """The prompt "<class name>, <definition>" of a class.

    Raises:
        InputError: WordNet has no such id.
    """
    definitions = wordnet_definitions()
    if wordnet_id not in definitions:
        raise InputError(f"No definition is known for {wordnet_id} ({class_name}). Use a WordNet 3.0 noun id.")
    return f"{class_name}, {definitions[wordnet_id]}"
