"""CLIPScore: how well images fit the prompts that they were drawn from (Hessel et al. 2021, without their factor)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datagen.core.device import this_device
from datagen.core.errors import InputError
from datagen.core.wording import one_line
from datagen.datasets.decoding import CorruptError, decoded_image, undecodable
from datagen.datasets.shards import read_manifest, read_rows

BATCH = 64
COLUMNS = ("image", "prompt")


def clip_scores(folder: Path, model: Path, progress: Callable[[int, int], None]) -> np.ndarray:
    """100 times the cosine of each image's and its prompt's embedding, at least 0: [n] float64.

    torchmetrics' `CLIPScore` computes the same; that of 1.9 does not run with transformers 5.

    Args:
        folder: the set's, whose images have prompts.
        model: the folder of a CLIP model with both towers, as the hub has it; weights as safetensors.
        progress: told the images that are done, of all.

    Raises:
        InputError: the folder holds no CLIP model, or the images have no prompts, or one is damaged.
    """
    import torch

    network, processor = _loaded(model)
    device = this_device()
    network.to(device)
    total, found = read_manifest(folder).rows, list[np.ndarray]()
    done = 0
    for images, prompts in _batches(folder):
        inputs = processor(text=prompts, images=images, return_tensors="pt", padding=True, truncation=True).to(device)
        with torch.inference_mode():
            told = network(**inputs)
        cosines = torch.nn.functional.cosine_similarity(told.image_embeds.double(), told.text_embeds.double())
        found.append((100 * cosines).clamp(min=0).cpu().numpy())
        done += len(prompts)
        progress(done, total)
    return np.concatenate(found)


def _loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import CLIPModel, CLIPProcessor

    try:
        network = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises nearly anything on folders that are none of its own
        raise InputError(
            f"{folder} holds no CLIP model with text and image towers as safetensors ({one_line(error)}). Fetch one: "
            "python -m datagen.fetch openai/clip-vit-large-patch14."
        ) from error
    return network, processor


def _batches(folder: Path) -> Any:
    held: list[tuple[Any, str]] = []
    for rows in read_rows(folder, COLUMNS):
        for row in rows.to_pylist():
            path = row["image"]["path"]
            if not row["prompt"]:
                raise InputError(
                    f"The image {path} in {folder} has no prompt: CLIPScore is of images drawn from prompts."
                )
            try:
                held.append((decoded_image(row["image"]["bytes"]), row["prompt"]))
            except CorruptError as error:
                raise undecodable(folder, path, error) from None
            if len(held) == BATCH:
                yield [image for image, _ in held], [prompt for _, prompt in held]
                held = []
    if held:
        yield [image for image, _ in held], [prompt for _, prompt in held]
