"""What a recipe may say: settings, the fields of its set's spec less those that files and classes fill in; classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datagen.core.errors import InputError
from datagen.core.identity import Allowed, shown
from datagen.core.settings import Setting, Settings, settings_of
from datagen.datasets.spec import GeneratedDataset, OracleDataset, StylizedDataset
from datagen.recipes.prompt_styles import STYLES
from datagen.recipes.wordnet import first_lemma

_FILLED_IN = {
    *("name", "label", "class_names", "prompts", "source", "content", "method", "rate"),
    *("pipeline", "pipeline_digest", "pipeline_folder", "adapter", "adapter_digest", "adapter_folder"),
    *("network", "network_digest", "network_folder", "styles", "styles_digest", "styles_folder"),
}
PROMPT_STYLE = Setting("prompt_style", str, Allowed(choices=STYLES), "how prompts are made of the classes")
_DRAWN = settings_of([GeneratedDataset], without=_FILLED_IN)
_ORACLE = settings_of([OracleDataset], without=_FILLED_IN)
TEXT_TO_IMAGE = "text_to_image"
IMPORTED = "imported"
"""The method of images that exist already."""
METHODS = (TEXT_TO_IMAGE, "unclip", "image_to_image")

STYLED = settings_of([StylizedDataset], without=_FILLED_IN)
"""The settings of stylized sets."""
GENERATION = Settings({**_ORACLE, **_DRAWN, PROMPT_STYLE.key: PROMPT_STYLE})
"""The settings of all sets that a diffusion pipeline draws."""


def settings_of_method(method: str) -> Settings:
    """The settings of sets that a pipeline draws by one of `METHODS`.

    Any may say `images_per_class`, so that recipes can share settings; sets that are drawn for another set's images
    have as many as that.
    """
    if method == IMPORTED:
        return Settings({})
    own = _DRAWN if method == TEXT_TO_IMAGE else _ORACLE
    return Settings({"images_per_class": _DRAWN["images_per_class"], **own, PROMPT_STYLE.key: PROMPT_STYLE})


def named_classes(classes: Any) -> tuple[tuple[str, str], ...]:
    """(class name, WordNet id) of each class, in label order: of a WordNet id alone the name is its first lemma.

    Raises:
        InputError: there are none, one is neither a pair nor the id of a noun, or two have the same name.
    """
    if isinstance(classes, str | Mapping) or not isinstance(classes, Iterable):
        raise InputError(f"Classes are pairs of class name and WordNet id, in label order, not {shown(classes)}.")
    pairs: list[tuple[str, str]] = []
    for item in classes:
        if isinstance(item, str):
            if (name := first_lemma(item)) is None:
                raise InputError(f"{shown(item)} is no noun of WordNet 3.0. Give the class a name with it.")
            pairs.append((name, item))
        elif isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(part, str) for part in item):
            pairs.append((item[0], item[1]))
        else:
            raise InputError(f"A class is a pair of its name and its WordNet id (or ''), not {shown(item)}.")
    if not pairs:
        raise InputError("There are no classes. Give pairs of class name and WordNet id, in label order.")
    names = [name for name, _ in pairs]
    if double := next((name for place, name in enumerate(names) if not name or name in names[:place]), None):
        raise InputError(f"Two classes are called {double!r}. Give each a name of its own.")
    return tuple(pairs)
