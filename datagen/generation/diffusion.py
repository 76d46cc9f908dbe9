"""Draws images with a diffusion pipeline: one code for all pipelines, from the pocket one to SDXL and unCLIP."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from datagen.core.errors import InputError
from datagen.datasets.pictures import stored_bytes
from datagen.datasets.shards import ImageRow
from datagen.datasets.spec import DiffusionDataset, GeneratedDataset
from datagen.generation.embeddings import check_lengths, prompts_for, takes
from datagen.generation.pipelines import compiles, load_pipeline
from datagen.generation.variants import DeepFeatures

CPU_BATCH_MULTIPLE = 16
"""On a CPU oneDNN picks its kernels by batch size: with batches of 1, 3 or 7 about a tenth of the images differed in a
pixel from those of a batch of 64, with multiples of 16 none did. So a batch is padded to such a multiple."""


SET_BY_THE_SPEC = frozenset(
    {
        *("self", "prompt", "width", "height", "num_inference_steps", "guidance_scale", "generator", "output_type"),
        *("return_dict", "num_images_per_prompt", "latents", "image", "strength", "noise_level"),
        *("callback_on_step_end", "callback_on_step_end_tensor_inputs", "callback", "callback_steps", "kwargs"),
        *("prompt_embeds", "pooled_prompt_embeds", "negative_prompt_embeds", "negative_pooled_prompt_embeds"),
    }
)
"""Arguments of pipelines that other settings say, or that would change what one image is."""


@dataclass(frozen=True)
class Subject:
    """An image to draw: its label, its index within the class, and the source image that conditions it, if any."""

    label: int
    index: int
    source: Image.Image | None = None


class DiffusionPainter(ABC):
    """A loaded diffusion pipeline that draws the images of one data set.

    Each image's noise comes from its own generator on the CPU, seeded by (data set, class, index), so it is the same
    whatever else is drawn beside it, on whatever device. Reading sources and encoding images run on threads while the
    next batch is drawn.

    Raises:
        InputError: the pipeline is missing, incomplete or pickled, or a prompt is too long.
    """

    def __init__(self, spec: DiffusionDataset, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._spec = spec
        self._pipeline = load_pipeline(spec, self.device)
        reused = spec.deepcache_interval > 1
        self._deep_features = DeepFeatures(self._pipeline.unet, spec.deepcache_interval) if reused else None
        more = further_arguments(spec, self._pipeline)
        self._embeddings = prompts_for(self._pipeline, spec.guidance, self.device, more)
        self._arguments = {name: value for name, value in more.items() if name not in self._embeddings.own}
        if "guidance_scale" in takes(self._pipeline):
            self._arguments["guidance_scale"] = spec.guidance
        self._fits = spec.images_at_once
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read")
        # A worker on the CPU has one core; beside a GPU, JPEG of 512 x 384 takes a core 4 ms.
        encoders = 1 if self.device.type == "cpu" else min(4, os.cpu_count() or 1)
        self._encoders = ThreadPoolExecutor(encoders, thread_name_prefix="encode")

    def draw(self, positions: Sequence[Any]) -> list[ImageRow]:
        """Draws the images at `positions` (see `datagen.generation.generators.ImageGenerator`), in that order.

        Raises:
            InputError: the GPU's memory does not hold one image, or a source image cannot be read.
            ArithmeticError: an image is not a number; half precision does not fit every pipeline.
        """
        encoded: list[Future[ImageRow]] = []
        for subjects in self._read_ahead(positions):
            pairs = zip(subjects, self._draw_as_fits(subjects), strict=True)
            encoded.extend(self._encoders.submit(self._encode, subject, image) for subject, image in pairs)
        return [future.result() for future in encoded]

    @abstractmethod
    def _subjects(self, positions: Sequence[Any]) -> list[Subject]:
        """What is at these positions; called on the reader's thread."""

    @abstractmethod
    def _conditions(self, subjects: Sequence[Subject]) -> dict[str, Any]:
        """The pipeline's arguments beside those that all methods share."""

    def _prompt(self, subject: Subject) -> str:
        return self._spec.prompt(subject.label, subject.index)

    def _read_ahead(self, positions: Sequence[Any]) -> Iterator[list[Subject]]:
        size = self._spec.images_at_once
        batches = [positions[first : first + size] for first in range(0, len(positions), size)]
        coming = [self._reader.submit(self._subjects, batch) for batch in batches[:1]]
        for number in range(len(batches)):
            coming += [self._reader.submit(self._subjects, batch) for batch in batches[number + 1 : number + 2]]
            yield coming.pop(0).result()

    def _draw_as_fits(self, subjects: Sequence[Subject]) -> np.ndarray:
        """Pixels (images, height, width, 3), uint8, in batches that the GPU's memory holds: no image depends on them.

        The card may be small, or another process may hold part of it: the batch is halved until it fits, and stays so.
        """
        drawn: list[np.ndarray] = []
        done = 0
        while done < len(subjects):
            batch = subjects[done : done + self._fits]
            try:
                drawn.append(self._draw_batch(batch))
                done += len(batch)
            except torch.OutOfMemoryError as error:
                if len(batch) == 1 or self._fits == 1:
                    raise InputError(
                        f"The GPU's memory does not hold one image of {self._spec.width} x {self._spec.height} pixels. "
                        "See what else is on it (nvidia-smi), make images smaller, or give denoiser_weights=float8."
                    ) from error
                self._fits = len(batch) // 2
        return np.concatenate(drawn)

    def _draw_batch(self, subjects: Sequence[Subject]) -> np.ndarray:
        """Pixels (images, height, width, 3), uint8."""
        padded = self._padded(subjects)
        spec = self._spec
        generators = [torch.Generator("cpu").manual_seed(self._seed(subject)) for subject in padded]
        if self._deep_features is not None:
            self._deep_features.begin()
        with torch.inference_mode():
            images = self._pipeline(
                **self._embeddings.of([self._prompt(subject) for subject in padded]),
                **self._conditions(padded),
                num_inference_steps=spec.steps,
                **self._arguments,
                generator=generators,
                output_type="pt",
            ).images[: len(subjects)]
            # Rounded on the device: a quarter of the bytes to fetch, and one wait for the whole batch.
            whole = torch.isfinite(images).flatten(1).all(1)
            pixels = (images.float().nan_to_num() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()
        if not whole.all():
            raise ArithmeticError(
                f"the pipeline's output is not a number in {spec.precision}; SDXL's autoencoder needs one made for "
                "half precision, or precision=float32"
            )
        return pixels.numpy()

    def _padded(self, subjects: Sequence[Subject]) -> list[Subject]:
        multiple = 1
        if self.device.type == "cpu":
            multiple = CPU_BATCH_MULTIPLE
        elif compiles(self._spec, self.device):
            multiple = self._fits  # Another shape would be compiled anew, for minutes.
        return [*subjects, *[subjects[-1]] * (-len(subjects) % multiple)]

    def _seed(self, subject: Subject) -> int:
        return self._spec.image_seed(self._spec.class_names[subject.label], subject.index)

    def _encode(self, subject: Subject, pixels: np.ndarray) -> ImageRow:
        spec, class_name = self._spec, self._spec.class_names[subject.label]
        return ImageRow(
            image=stored_bytes(pixels, spec.image_format, spec.jpeg_quality, spec.stored_size),
            path=f"{class_name}/{subject.index:06d}.{spec.image_format}",
            label=subject.label,
            class_name=class_name,
            index=subject.index,
            prompt=self._prompt(subject),
            seed=self._seed(subject),
        )


def further_arguments(spec: DiffusionDataset, pipeline: Any) -> dict[str, Any]:
    """The spec's further arguments of the pipeline.

    Raises:
        InputError: the pipeline does not take one, or the spec has a setting for it.
    """
    arguments: dict[str, Any] = json.loads(spec.pipeline_arguments or "{}")
    possible = takes(pipeline) - SET_BY_THE_SPEC
    if unknown := [name for name in arguments if name not in possible]:
        raise InputError(
            f"pipeline_arguments has {unknown[0]}, but a {type(pipeline).__name__} takes of them: "
            f"{', '.join(sorted(possible))}."
        )
    return arguments


class TextToImage(DiffusionPainter):
    """Draws images from prompts; a position is a pair (label, index within the class)."""

    def __init__(self, spec: GeneratedDataset, device: str = "cpu") -> None:
        super().__init__(spec, device)
        if spec.long_prompts == "refuse":
            check_lengths(self._pipeline, (prompt for prompts in spec.prompts for prompt in prompts))

    def _subjects(self, positions: Sequence[tuple[int, int]]) -> list[Subject]:
        return [Subject(label, index) for label, index in positions]

    def _conditions(self, subjects: Sequence[Subject]) -> dict[str, Any]:
        return {"width": self._spec.width, "height": self._spec.height}
