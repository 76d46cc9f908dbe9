"""Looks at a diffusion pipeline's folder without loading it: which class it is, and whether all its parts are there.

Reads small JSON files only, so a plan can say what is wrong before any work starts.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError
from datagen.core.wording import listed
from datagen.datasets.spec import DiffusionDataset, OracleDataset
from datagen.generation.pipeline_classes import check_draws_from_prompts, is_known_library

PIPELINES = {
    "image_to_image": ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
    "unclip": ("StableUnCLIPImg2ImgPipeline",),
}
"""The classes of `diffusers` that methods may be made with which draw from other images. From prompts any class of the
installed diffusers draws that is called with a prompt; nothing else that a folder names is ever imported."""
INDEX = "model_index.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
VARIANTS = ("fp16", "bf16")
DENOISERS = ("unet", "transformer")
"""The part of a pipeline that denoises, as diffusers call it."""
NOT_NEEDED = ("safety_checker", "image_encoder", "feature_extractor")
"""Parts that text-to-image pipelines do without. The safety checker is never loaded."""
_WITHOUT_WEIGHTS = re.compile(r"(Scheduler|Tokenizer|TokenizerFast|Processor|ProcessorPil|Extractor)$")


def method_of(spec: DiffusionDataset) -> str:
    """The key into `PIPELINES` of a data set's method."""
    return spec.method if isinstance(spec, OracleDataset) else "text_to_image"


def check_weights(spec: DiffusionDataset) -> str:
    """Checks the folders of a data set's pipeline and adapter, and returns the pipeline's class name.

    Raises:
        InputError: a folder is missing or incomplete, holds pickled weights only, or is of a class that does not fit.
    """
    class_name = pipeline_class(spec.pipeline_folder, PIPELINES.get(method_of(spec)))
    if spec.adapter_folder is not None:
        adapter_file(spec.adapter_folder)
    return class_name


def pipeline_class(folder: Path, allowed: tuple[str, ...] | None) -> str:
    """The class that a pipeline's `model_index.json` names, after a check that all its parts are there.

    Args:
        folder: the pipeline's.
        allowed: the classes that fit; None: all that draw an image from a prompt.

    Raises:
        InputError: see `check_weights`.
    """
    index = _read_index(folder)
    class_name = str(index.get("_class_name"))
    if allowed is None:
        check_draws_from_prompts(class_name, folder)
    elif class_name not in allowed:
        raise InputError(f"The pipeline in {folder} is a {class_name}, but {' or '.join(allowed)} is needed here.")
    optional = () if "unclip" in class_name.lower() else NOT_NEEDED
    parts = {
        name: part
        for name, part in index.items()
        if isinstance(part, list) and len(part) == 2 and part[1] is not None and name not in optional
    }
    if lacking := [name for name in parts if not (folder / name).is_dir()]:
        raise InputError(f"The pipeline in {folder} lacks {listed(lacking)}. Download it again, whole.")
    if foreign := [f"{name} of {part[0]}" for name, part in parts.items() if not is_known_library(str(part[0]))]:
        raise InputError(
            f"The pipeline in {folder} has parts that are neither diffusers' nor transformers': {listed(foreign)}. "
            "Such code is never loaded."
        )
    for name, (_, part_class) in parts.items():
        _check_part(folder / name, str(part_class))
    return class_name


def weights_variant(folder: Path) -> str | None:
    """The hub's "fp16" or "bf16" where a part is there in that precision only, under file names that say so.

    diffusers loads the other parts as they are then.
    """
    for variant in VARIANTS:
        for part in sorted(path for path in folder.iterdir() if path.is_dir()):
            names = [path.name for path in part.glob("*.safetensors")]
            if names and all(f".{variant}" in name for name in names):
                return variant
    return None


def adapter_file(folder: Path) -> Path:
    """The one safetensors file of a LoRA's folder.

    Raises:
        InputError: there is none, or more than one.
    """
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        pickled = [path.name for path in folder.glob("*") if path.suffix in PICKLES]
        also = f", but {listed(pickled)}, which is pickled and never loaded" if pickled and not found else ""
        raise InputError(f"{folder} must hold one LoRA as a .safetensors file; it holds {len(found)}{also}.")
    return found[0]


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} holds no diffusion pipeline ({INDEX} is missing). Point to its folder.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}). Download the pipeline again.") from None
    if not isinstance(index, dict):
        raise InputError(f"{path} is no index of a diffusion pipeline. Download the pipeline again.")
    return index


def _check_part(folder: Path, class_name: str) -> None:
    names = [path.name for path in folder.iterdir()]
    if not any(name.endswith(".json") for name in names):
        raise InputError(f"{folder} lacks its configuration (a .json file). Download the pipeline again, whole.")
    if _WITHOUT_WEIGHTS.search(class_name):
        return
    if "config.json" not in names:
        raise InputError(f"{folder} lacks config.json. Download the pipeline again, whole.")
    if any(name.endswith(".safetensors") for name in names):
        return
    pickled = [name for name in names if Path(name).suffix in PICKLES]
    if pickled:
        raise InputError(
            f"{folder} holds its weights only as {listed(pickled)}, which is pickled and never loaded. Download the "
            "pipeline with its .safetensors files, or convert it: save_pretrained(..., safe_serialization=True)."
        )
    raise InputError(f"{folder} has no weights (.safetensors). Download the pipeline again, whole.")
