"""Prompts of a class, in the styles that the papers compare (Mind the Gap, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from datagen.errors import InputError

STYLES = ("c", "c, d_c", "a photo of a c")
"""c: the class's name; d_c: its WordNet definition."""


def class_prompts(classes: Sequence[tuple[str, str]], style: str) -> tuple[tuple[str, ...], ...]:
    """The prompts of each class, in label order.

    Args:
        classes: (class name, WordNet id) in label order.
        style: one of `STYLES`. A class without a WordNet id has no definition.

    Raises:
        InputError: the style is unknown, or a class has no prompt in it.
    """
    if style not in STYLES:
        raise InputError(f"prompt_style must be one of {'; '.join(STYLES)}, not {style!r}.")
    if style == "c":
        return tuple((name,) for name, _ in classes)
    if style == "a photo of a c":
        return tuple((f"a photo of a {name}",) for name, _ in classes)
    return tuple((definition_prompt(name, wordnet_id),) for name, wordnet_id in classes)


@cache
def wordnet_definitions() -> dict[str, str]:
    """WordNet 3.0's definition of each of 21,844 noun synsets, by WordNet id ("n04197391"), as shipped with timm."""
    timm = find_spec("timm")
    if timm is None or timm.origin is None:
        raise InputError("timm is not installed; its WordNet files are needed for prompts. Run: pip install timm")
    # timm's folder is looked up, not imported: the import costs 3 seconds, which a plan should not.
    path = Path(timm.origin).parent / "data" / "_info" / "imagenet_synset_to_definition.txt"
    return dict(line.split("\t", 1) for line in path.read_text().splitlines())


def definition_prompt(class_name: str, wordnet_id: str) -> str:
    """The prompt "<class name>, <definition>" of a class.

    Raises:
        InputError: WordNet has no such id.
    """
    definitions = wordnet_definitions()
    if wordnet_id not in definitions:
        raise InputError(f"No definition is known for {wordnet_id} ({class_name}). Use a WordNet 3.0 noun id.")
    return f"{class_name}, {definitions[wordnet_id]}"
