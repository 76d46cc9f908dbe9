"""Draws images with a text-to-image diffusion pipeline: one code for Stable Diffusion 1.4 and the pocket pipeline."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from datagen.errors import InputError
from datagen.shards import ImageRow
from datagen.spec import GeneratedDataset

CPU_BATCH_MULTIPLE = 16
"""On a CPU oneDNN picks its kernels by batch size: with batches of 1, 3 or 7 about a tenth of the images differed in a
pixel from those of a batch of 64, with multiples of 16 none did. So a batch is padded to such a multiple."""


class TextToImage:
    """A loaded diffusion pipeline that draws the images of one generated data set.

    The safety checker is off: it replaces pictures it suspects by black ones, which would poison a data set unseen.
    Text embeddings are computed once for each distinct prompt.

    Raises:
        InputError: the pipeline's folder is missing, incomplete, or holds weights only in a pickled form.
    """

    def __init__(self, spec: GeneratedDataset, device: str = "cpu") -> None:
        self.spec = spec
        self.device = torch.device(device)
        self._pipeline = _load_pipeline(spec, self.device)
        self._embeddings: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = {}
        self._encoders = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")

    def draw(self, positions: Sequence[tuple[int, int]]) -> list[ImageRow]:
        """Draws the images at `positions`, pairs of (label, index within the class), in that order.

        Each image's noise comes from its own generator, seeded by (data set, class, index), so it is the same whatever
        else is drawn beside it.
        """
        encoded = []
        for start in range(0, len(positions), self.spec.images_at_once):
            batch = positions[start : start + self.spec.images_at_once]
            images = self._draw_batch(batch)
            # Encoded on a thread of its own while the next batch is drawn.
            encoded.append(self._encoders.submit(self._encode_batch, batch, images))
        return [row for future in encoded for row in future.result()]

    def _draw_batch(self, batch: Sequence[tuple[int, int]]) -> list[Image.Image]:
        spec, wanted = self.spec, len(batch)
        if self.device.type == "cpu":
            batch = [*batch, *[batch[-1]] * (-wanted % CPU_BATCH_MULTIPLE)]
        embeddings = [self._embedding(spec.prompt(label, index)) for label, index in batch]
        guided = embeddings[0][1] is not None
        generators = [
            torch.Generator("cpu").manual_seed(spec.image_seed(spec.class_names[label], index))
            for label, index in batch
        ]
        with torch.inference_mode():
            output = self._pipeline(
                prompt_embeds=torch.cat([prompt for prompt, _ in embeddings]),
                negative_prompt_embeds=torch.cat([n for _, n in embeddings if n is not None]) if guided else None,
                num_inference_steps=spec.steps,
                guidance_scale=spec.guidance,
                width=spec.width,
                height=spec.height,
                generator=generators,
                output_type="pil",
            )
        images: list[Image.Image] = output.images[:wanted]
        return images

    def _embedding(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        if prompt not in self._embeddings:
            # diffusers applies guidance only above 1 (StableDiffusionPipeline.do_classifier_free_guidance).
            with torch.inference_mode():
                self._embeddings[prompt] = self._pipeline.encode_prompt(
                    prompt, self.device, 1, self.spec.guidance > 1, negative_prompt=""
                )
        return self._embeddings[prompt]

    def _encode_batch(self, batch: Sequence[tuple[int, int]], images: Sequence[Image.Image]) -> list[ImageRow]:
        return [self._encode(label, index, image) for (label, index), image in zip(batch, images, strict=True)]

    def _encode(self, label: int, index: int, image: Image.Image) -> ImageRow:
        spec, class_name = self.spec, self.spec.class_names[label]
        buffer = io.BytesIO()
        options = {"quality": spec.jpeg_quality} if spec.image_format == "jpeg" else {}
        image.save(buffer, spec.image_format, **options)
        return ImageRow(
            image=buffer.getvalue(),
            path=f"{class_name}/{index:06d}.{spec.image_format}",
            label=label,
            class_name=class_name,
            index=index,
            prompt=spec.prompt(label, index),
            seed=spec.image_seed(class_name, index),
        )


def _load_pipeline(spec: GeneratedDataset, device: torch.device) -> StableDiffusionPipeline:
    folder = spec.pipeline_folder
    if not (folder / "model_index.json").is_file():
        raise InputError(f"{folder} holds no diffusion pipeline (model_index.json is missing). Point to its folder.")
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder,
            dtype=getattr(torch, spec.precision),
            safety_checker=None,
            requires_safety_checker=False,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"The diffusion pipeline in {folder} cannot be loaded: {reason}") from error
    pipeline.set_progress_bar_config(disable=True)
    loaded: StableDiffusionPipeline = pipeline.to(device)
    return loaded
