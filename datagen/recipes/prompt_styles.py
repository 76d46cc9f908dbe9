"""Prompts of a class, in the styles that the papers compare: python -m datagen.prompts SPEC prints a set's.

The styles are those of Sariyildiz et al., Fake it till you make it (2023), that Mind the Gap builds on (section 4.1),
and the attributes of Popp et al. that Fine-Tuning Role used for pets (section 3.1).
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from datagen.core.errors import InputError
from datagen.core.files import read_text
from datagen.core.identity import derived_seed
from datagen.core.wording import as_utf8, listed
from datagen.recipes.wordnet import FOLDER_VARIABLE, definition, hypernym

STYLES = ("c", "c, d_c", "c, h_c", "c, h_c inside b", "a photo of a c", "pet attributes", "no prompt")
"""c: the class's name; d_c: its WordNet definition; h_c: its hypernym; b: a scene. "no prompt" is the empty text."""
SCENES_VARIABLE = "MINDGAP_SCENES"
"""Environment variable with a file of scenes, one a line; the list of Places365 is read as it is published."""


def class_prompts(
    classes: Sequence[tuple[str, str]], style: str, prompts_file: Path | None = None
) -> tuple[tuple[str, ...], ...]:
    """The prompts of each class, in label order; image number i of a class takes prompt i modulo their number.

    Args:
        classes: (class name, WordNet id) in label order.
        style: one of `STYLES`.
        prompts_file: a CSV file with the columns `class` and `prompt`, any number of rows a class, instead of a style.

    Raises:
        InputError: the style is unknown, a class has no prompt in it, or a file that it needs is not there.
    """
    if prompts_file is not None:
        return _prompts_from_file(prompts_file, [name for name, _ in classes])
    if style not in STYLES:
        raise InputError(f"prompt_style must be one of {'; '.join(STYLES)}, not {style!r}.")
    if style == "c, h_c inside b":
        return _scene_prompts(classes)
    if style == "pet attributes":
        from datagen.recipes.pet_prompts import attribute_prompts

        return tuple(attribute_prompts(name) for name, _ in classes)
    prompt: dict[str, Callable[[str, str], str]] = {
        "c": lambda name, _: name,
        "c, d_c": definition_prompt,
        "c, h_c": hypernym_prompt,
        "a photo of a c": lambda name, _: f"a photo of a {name}",
        "no prompt": lambda name, _: "",
    }
    return tuple((prompt[style](name, wordnet_id),) for name, wordnet_id in classes)


def definition_prompt(class_name: str, wordnet_id: str) -> str:
    """The prompt "<class name>, <definition>" of a class.

    Raises:
        InputError: WordNet has no such id.
    """
    if (text := definition(wordnet_id)) is None:
        raise InputError(
            f"No definition is known for {wordnet_id or 'a class without WordNet id'} ({class_name}). "
            "Use a WordNet 3.0 noun id, or the prompt style 'a photo of a c'."
        )
    return f"{class_name}, {text}"


def hypernym_prompt(class_name: str, wordnet_id: str) -> str:
    """The prompt "<class name>, <hypernym>" of a class.

    Raises:
        InputError: no hypernym is known.
    """
    if (above := hypernym(wordnet_id)) is None:
        raise InputError(
            f"No hypernym is known for {wordnet_id or 'a class without WordNet id'} ({class_name}). Set "
            f"{FOLDER_VARIABLE} to the folder of WordNet 3.0's data.noun (Debian: wordnet-base, in /usr/share/wordnet)."
        )
    return f"{class_name}, {above}"


def read_scenes(path: Path | None = None) -> list[str]:
    """The scenes of a file: one a line, or as Places365 lists them ("/a/apartment_building/outdoor 8").

    Raises:
        InputError: no file is named, or it cannot be read or holds no scene.
    """
    named = path or (Path(text) if (text := os.environ.get(SCENES_VARIABLE)) else None)
    if named is None:
        raise InputError(
            f"The prompt style 'c, h_c inside b' needs a list of scenes: set {SCENES_VARIABLE} to a text file with one "
            "scene a line, for example categories_places365.txt of Places365."
        )
    try:
        lines = [line.strip() for line in read_text(named).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list of scenes {named} cannot be read: {error}.") from error
    scenes = [re.sub(r"^/[a-z]/", "", re.sub(r"\s+\d+$", "", line)) for line in lines]
    scenes = [" ".join(scene.replace("_", " ").replace("/", " ").split()) for scene in scenes]
    if not (found := list(dict.fromkeys(scene for scene in scenes if scene))):
        raise InputError(f"The list of scenes {named} is empty. Write one scene a line.")
    return found


def _scene_prompts(classes: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """One prompt for each scene, in an order drawn for each class, so that a few images meet different scenes too."""
    scenes = read_scenes()
    prompts = []
    for name, wordnet_id in classes:
        start = hypernym_prompt(name, wordnet_id)
        order = sorted(scenes, key=lambda scene: derived_seed("scenes", wordnet_id, scene))
        prompts.append(tuple(f"{start} inside {scene}" for scene in order))
    return tuple(prompts)


def _prompts_from_file(path: Path, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    prompts: dict[str, list[str]] = {as_utf8(name): [] for name in class_names}
    others: list[str] = []
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
        if not {"class", "prompt"} <= set(reader.fieldnames or ()):
            raise InputError(f"{path} must have the columns class and prompt; it has {reader.fieldnames}.")
        for row in reader:
            name, prompt = as_utf8((row["class"] or "").strip()), (row["prompt"] or "").strip()
            if not prompt:
                raise InputError(f"{path}, line {reader.line_num}: {name or 'a class'} has an empty prompt.")
            prompts.get(name, others).append(prompt if name in prompts else name)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}. Name a CSV file with the columns class and prompt.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}.") from error
    if without := [name for name, found in prompts.items() if not found]:
        unknown = f" It has prompts for {listed(sorted(set(others)))}, which are no classes." if others else ""
        raise InputError(f"{path} has no prompt for {listed(without)}.{unknown} Add one; names must agree exactly.")
    return tuple(tuple(found) for found in prompts.values())
