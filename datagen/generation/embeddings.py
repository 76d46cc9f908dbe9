"""Text embeddings of prompts, computed once for each distinct prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from datagen.core.errors import InputError

KEPT = 512
"""Prompts whose embeddings are kept: ImageNet-100 has 100; of the Pets set's 9,805 each is used once, and SDXL's would
fill 3 GB."""


class PromptEmbeddings:
    """The embeddings of prompts as a pipeline's `__call__` takes them.

    Each prompt is encoded alone, so its embedding does not depend on the batch.

    Attributes:
        guided: whether classifier-free guidance is used, which needs the embedding of the empty prompt beside each.
    """

    def __init__(self, pipeline: Any, guidance: float, device: torch.device) -> None:
        self.guided = guidance > 1  # as diffusers has it (StableDiffusionPipeline.do_classifier_free_guidance)
        self._pipeline, self._device = pipeline, device
        self._pooled = hasattr(pipeline, "text_encoder_2")  # SDXL: two encoders, and a pooled embedding of the second
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
                prompt=prompt, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=first
            )
        if first:
            self._negative = tuple(encoded[1::2])
        return tuple(encoded[0::2])


def check_lengths(pipeline: Any, prompts: Iterable[str]) -> None:
    """Refuses prompts with more tokens than a text encoder takes, which it would cut off unseen.

    Raises:
        InputError: names the first such prompt and the number of its tokens.
    """
    tokenizers = [pipeline.tokenizer, *([pipeline.tokenizer_2] if hasattr(pipeline, "tokenizer_2") else [])]
    for prompt in dict.fromkeys(prompts):
        for tokenizer in tokenizers:
            tokens = len(tokenizer(prompt, truncation=False).input_ids)
            if tokens > tokenizer.model_max_length:
                raise InputError(
                    f"The prompt {prompt!r} has {tokens} tokens, more than the {tokenizer.model_max_length} that the "
                    "text encoder takes. Shorten it, or give long_prompts=truncate."
                )
