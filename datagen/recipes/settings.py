"""Which settings a recipe's set has: the fields of its spec but those that the recipe's files and classes fill in."""

from __future__ import annotations

from datagen.core.identity import Allowed
from datagen.core.settings import Setting, Settings, settings_of
from datagen.datasets.spec import GeneratedDataset, OracleDataset, StylizedDataset
from datagen.recipes.prompt_styles import STYLES

_FILLED_IN = {
    *("name", "label", "class_names", "prompts", "source", "content", "method", "rate"),
    *("pipeline", "pipeline_digest", "pipeline_folder", "adapter", "adapter_digest", "adapter_folder"),
    *("network", "network_digest", "network_folder", "styles", "styles_digest", "styles_folder"),
}
PROMPT_STYLE = Setting("prompt_style", str, Allowed(choices=STYLES), "how prompts are made of the classes")
_DRAWN = settings_of([GeneratedDataset], without=_FILLED_IN)
_ORACLE = settings_of([OracleDataset], without=_FILLED_IN)
TEXT_TO_IMAGE = "text_to_image"
METHODS = (TEXT_TO_IMAGE, "unclip", "image_to_image")

STYLED = settings_of([StylizedDataset], without=_FILLED_IN)
"""The settings of stylized sets."""
GENERATION = Settings({**_ORACLE, **_DRAWN, PROMPT_STYLE.key: PROMPT_STYLE})
"""The settings of all sets that a diffusion pipeline draws."""


def settings_of_method(method: str) -> Settings:
    """The settings of sets that a pipeline draws by one of `METHODS`."""
    own = _DRAWN if method == TEXT_TO_IMAGE else _ORACLE
    return Settings({**own, PROMPT_STYLE.key: PROMPT_STYLE})
