"""Which pipelines of the installed diffusers draw images from prompts, told from its source: nothing is imported.

So a plan can say what fits, in no time, and a folder can never have anything loaded but diffusers' own classes.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
from functools import cache
from pathlib import Path

from datagen.core.errors import InputError

NEEDED = frozenset({"prompt", "num_inference_steps", "generator", "output_type", "width", "height"})
"""Arguments of a pipeline that draws an image from a prompt and a seed."""
OTHER_INPUTS = frozenset(
    {
        *("image", "mask_image", "control_image", "control_video", "image_embeds", "prior_latents"),
        *("video", "video_length", "num_frames", "frames", "audio_length_in_s"),
    }
)
"""Arguments of pipelines that need something else, or draw something else."""


def call_arguments(class_name: str) -> frozenset[str]:
    """The names of the arguments that a pipeline of the installed diffusers is called with.

    Raises:
        InputError: there is no such class.
    """
    found = _sources().get(class_name)
    if found is None:
        version = importlib.metadata.version("diffusers")
        raise InputError(f"{class_name} is no class of the installed diffusers {version}. Install one that has it.")
    for node in ast.walk(ast.parse(found.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__call__":
                    arguments = item.args
                    return frozenset(a.arg for a in (*arguments.args, *arguments.kwonlyargs)) - {"self"}
            bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in _sources()]
            return call_arguments(bases[0]) if bases else frozenset()
    return frozenset()


def check_draws_from_prompts(class_name: str, folder: Path) -> None:
    """Refuses pipelines that do not draw an image from a prompt.

    Raises:
        InputError: it says why.
    """
    arguments = call_arguments(class_name)
    lacking, other = sorted(NEEDED - arguments), sorted(OTHER_INPUTS & arguments)
    if lacking or other:
        reason = f"takes {other[0]}" if other else f"takes no {lacking[0]}"
        raise InputError(
            f"The pipeline in {folder} is a {class_name}, but one that draws an image from a prompt is needed here: it "
            f"{reason}."
        )


def is_known_library(name: str) -> bool:
    """Whether a part of a pipeline may come from a library: diffusers, one of its pipelines' folders, transformers."""
    return name in ("diffusers", "transformers") or name in {path.parent.name for path in _sources().values()}


@cache
def _sources() -> dict[str, Path]:
    """The file of each pipeline class in diffusers."""
    found = importlib.util.find_spec("diffusers")
    if found is None or found.origin is None:
        raise InputError("diffusers is not installed. Install it: pip install diffusers.")
    files = sorted((Path(found.origin).parent / "pipelines").rglob("pipeline_*.py"))
    pattern = re.compile(r"^class (\w+Pipeline)\(", re.MULTILINE)
    return {name: file for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))}
