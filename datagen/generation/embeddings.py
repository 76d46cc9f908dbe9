"""Text embeddings of prompts, computed once for each distinct prompt."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from datagen.core.errors import InputError

FLUX = "FluxPipeline"
ENCODED_ONCE = (
    *("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableUnCLIPImg2ImgPipeline"),
    *("StableDiffusionXLPipeline", "StableDiffusion3Pipeline"),
)
"""Pipelines whose `encode_prompt` gives embeddings and those of the empty prompt in turn."""
KEPT = 512
"""Prompts whose embeddings are kept: ImageNet-100 has 100; of the Pets set's 9,805 each is used once, and SDXL's would
fill 3 GB."""


def takes(pipeline: Any) -> frozenset[str]:
    """The names of the arguments that a pipeline is called with."""
    return frozenset(inspect.signature(type(pipeline).__call__).parameters)


def prompts_for(
    pipeline: Any, guidance: float, device: torch.device, more: Mapping[str, Any]
) -> PromptEmbeddings | Prompts:
    """What turns prompts into a pipeline's arguments: embeddings that are kept, where its way to make them is known.

    Args:
        pipeline: the pipeline.
        guidance: classifier-free guidance's scale.
        device: where its encoders are.
        more: further arguments of the pipeline; those that concern the encoding are taken for it.
    """
    class_name = type(pipeline).__name__
    if class_name == FLUX:
        return FluxEmbeddings(pipeline, guidance, device, more)
    if class_name in ENCODED_ONCE:
        return PromptEmbeddings(pipeline, guidance, device, more)
    return Prompts(guidance)


class Prompts:
    """Prompts as they are, for pipelines whose embeddings have a form of their own: encoded anew in each batch."""

    own: frozenset[str] = frozenset()
    """Further arguments of the pipeline that the encoding has taken, so that the pipeline itself is not given them."""

    def __init__(self, guidance: float) -> None:
        self.guided = guidance > 1

    def of(self, prompts: Sequence[str]) -> dict[str, Any]:
        """The pipeline's arguments for a batch of prompts."""
        return {"prompt": list(prompts)}


class PromptEmbeddings:
    """The embeddings of prompts as a pipeline's `__call__` takes them.

    Each prompt is encoded alone, so its embedding does not depend on the batch.

    Attributes:
        guided: whether classifier-free guidance is used, which needs the embedding of the empty prompt beside each.
    """

    def __init__(
        self, pipeline: Any, guidance: float, device: torch.device, more: Mapping[str, Any] | None = None
    ) -> None:
        self.guided = guidance > 1  # as diffusers has it (StableDiffusionPipeline.do_classifier_free_guidance)
        self._pipeline, self._device = pipeline, device
        self._pooled = hasattr(pipeline, "text_encoder_2")  # SDXL: two encoders, and a pooled embedding of the second
        # The same prompt for every encoder, which SD 3 wants to be told.
        taken = inspect.signature(pipeline.encode_prompt).parameters
        encoders: dict[str, Any] = {name: None for name in ("prompt_2", "prompt_3") if name in taken}
        own = {name: value for name, value in (more or {}).items() if name in taken}
        self._same_for_all, self.own = encoders | own, frozenset(own)
        self._known: OrderedDict[str, tuple[torch.Tensor, ...]] = OrderedDict()
        self._negative: tuple[torch.Tensor, ...] = ()

    def of(self, prompts: Sequence[str]) -> dict[str, torch.Tensor | None]:
        """The pipeline's arguments for a batch of prompts."""
        found = [self._embedding(prompt) for prompt in prompts]
        names = ("prompt_embeds", "pooled_prompt_embeds") if self._pooled else ("prompt_embeds",)
        arguments: dict[str, torch.Tensor | None] = {}
        for part, name in enumerate(names):
            arguments[name] = torch.cat([embedding[part] for embedding in found])
            negative = None
            if self.guided:
                negative = self._negative[part].expand(len(prompts), *self._negative[part].shape[1:])
            arguments[f"negative_{name}"] = negative
        return arguments

    def _embedding(self, prompt: str) -> tuple[torch.Tensor, ...]:
        if prompt not in self._known:
            self._known[prompt] = self._encoded(prompt)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(prompt)
        return self._known[prompt]

    def _encoded(self, prompt: str) -> tuple[torch.Tensor, ...]:
        # The empty prompt is encoded with the first prompt only; it is the same for all. None lets SDXL have zeros.
        first = self.guided and not self._negative
        with torch.inference_mode():
            encoded = self._pipeline.encode_prompt(
                prompt=prompt,
                device=self._device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=first,
                **self._same_for_all,
            )
        if first:
            self._negative = tuple(encoded[1::2])
        return tuple(encoded[0::2])


class FluxEmbeddings(PromptEmbeddings):
    """The same for FLUX, whose guidance is an input of the denoiser, so that no empty prompt is encoded."""

    def __init__(
        self, pipeline: Any, guidance: float, device: torch.device, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(pipeline, guidance, device, more)
        self.guided = False

    def of(self, prompts: Sequence[str]) -> dict[str, torch.Tensor | None]:
        """The pipeline's arguments for a batch of prompts."""
        found = [self._embedding(prompt) for prompt in prompts]
        names = ("prompt_embeds", "pooled_prompt_embeds")
        return {name: torch.cat([embedding[part] for embedding in found]) for part, name in enumerate(names)}

    def _encoded(self, prompt: str) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            encoded = self._pipeline.encode_prompt(prompt=prompt, device=self._device, **self._same_for_all)
        return tuple(encoded[:2])


def check_lengths(pipeline: Any, prompts: Iterable[str]) -> None:
    """Refuses prompts with more tokens than a text encoder takes, which it would cut off unseen.

    Raises:
        InputError: names the first such prompt and the number of its tokens.
    """
    names = [name for name in ("tokenizer", "tokenizer_2", "tokenizer_3") if getattr(pipeline, name, None) is not None]
    sequence = inspect.signature(type(pipeline).__call__).parameters.get("max_sequence_length")
    for prompt in dict.fromkeys(prompts):
        for name in names:
            tokenizer = getattr(pipeline, name)
            # The last of several encoders is a language model, which a pipeline gives as many tokens as it likes.
            limit = [sequence.default] if sequence is not None and name == names[-1] else []
            longest = min(tokenizer.model_max_length, *limit) if limit else tokenizer.model_max_length
            tokens = len(tokenizer(prompt, truncation=False).input_ids)
            if tokens > longest:
                raise InputError(
                    f"The prompt {prompt!r} has {tokens} tokens, more than the {longest} that the "
                    "text encoder takes. Shorten it, or give long_prompts=truncate."
                )
