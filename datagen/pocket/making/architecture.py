"""What the pocket generator is made of: tokenizer, text encoder, autoencoder, denoiser and scheduler.

About 1.3 million parameters in all, 2.7 MB in half precision. The classes are recognisable at this size, and twice the
channels in the denoiser would cost five times the time.
"""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from datagen.pocket import IMAGE_SIZE

TOKENS = 32
"""Length of a tokenized prompt. The longest of the ten captions has 26 tokens, with its start and its end."""

TEXT_WIDTH = 64
"""Width of the text embedding, and of what the denoiser attends to."""

LATENT_CHANNELS = 4

Pipeline: TypeAlias = Any
"""A ``StableDiffusionPipeline``. Diffusers loads its classes lazily, and type checkers see placeholders instead."""

Autoencoder: TypeAlias = Any
"""An ``AutoencoderKL``."""

Denoiser: TypeAlias = Any
"""A ``UNet2DConditionModel``."""

Scheduler: TypeAlias = Any
"""One of the schedulers of diffusers."""

NOISE_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
"""The noise schedule of Stable Diffusion 1.4, which every sampler of the pipeline shares."""


def build_pipeline(captions: Sequence[str]) -> Pipeline:
    """Build an untrained pipeline, whose weights depend on the captions and on torch's global random state.

    Args:
        captions: Every prompt the generator will be trained on; the tokenizer is learnt from them.

    Returns:
        A pipeline in single precision on the CPU, without a safety checker.
    """
    tokenizer = learn_tokenizer(captions)
    pipeline: Pipeline = StableDiffusionPipeline(
        vae=build_autoencoder(),
        text_encoder=build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=build_denoiser(),
        scheduler=DDIMScheduler(
            **NOISE_SCHEDULE, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def build_autoencoder() -> Autoencoder:
    """Build the untrained autoencoder, which maps 3 x 32 x 32 pixels to 4 x 8 x 8 latents and back."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 32),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=IMAGE_SIZE,
        mid_block_add_attention=False,
    )


def build_denoiser() -> Denoiser:
    """Build the untrained denoiser, which predicts the noise in 4 x 8 x 8 latents given 32 x 64 text embeddings."""
    return UNet2DConditionModel(
        sample_size=IMAGE_SIZE // 4,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # In this class of diffusers the number of heads, whatever the name says.
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Build the untrained text encoder, which maps 32 tokens to 32 embeddings of 64 numbers."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def learn_tokenizer(captions: Sequence[str]) -> CLIPTokenizer:
    """Learn a byte-pair encoding in which every word of the captions is one token and any other text still encodes.

    The vocabulary is ordered as CLIP's own: 256 bytes, the same bytes at the end of a word, the merges, and the two
    tokens for start and end. Equal counts are decided by the alphabet, so that the result is the same everywhere.

    Args:
        captions: The text to learn from.

    Returns:
        A tokenizer whose prompts have at most ``TOKENS`` tokens.
    """
    words = Counter(word for caption in captions for word in _split_into_words(caption))
    pieces = {word: (*word[:-1], word[-1] + "</w>") for word in words}
    merges: list[Any] = []  # Pairs of text; transformers takes them, although it declares text.
    while pairs := _count_pairs(pieces, words):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merge(parts, best) for word, parts in pieces.items()}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Two paths of merges can end in the same token, which must appear in the vocabulary once.
    tokens = dict.fromkeys([*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(pair) for pair in merges)])
    vocabulary = {token: number for number, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)


def save_pipeline(pipeline: Pipeline, folder: Path) -> None:
    """Save a pipeline with weights in half precision.

    Args:
        pipeline: What to save. It is converted to half precision and should not be used afterwards.
        folder: Where to save it; it need not exist.
    """
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    # Transformers loads a model in the precision its configuration names, diffusers in single precision. Naming single
    # precision here lets a plain from_pretrained return a pipeline of one precision, which a CPU needs.
    text_config = folder / "text_encoder" / "config.json"
    settings = json.loads(text_config.read_text(encoding="utf-8")) | {"dtype": "float32"}
    text_config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)  # safetensors writes files that only their owner can read.


def load_pipeline(folder: Path) -> Pipeline:
    """Load a saved pipeline in single precision, ready for sampling on the CPU.

    Args:
        folder: Where the pipeline was saved.

    Returns:
        The pipeline, in evaluation mode and without a progress bar.
    """
    pipeline: Pipeline = StableDiffusionPipeline.from_pretrained(
        folder,
        safety_checker=None,
        requires_safety_checker=False,
        low_cpu_mem_usage=False,
        use_safetensors=True,
        local_files_only=True,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _split_into_words(text: str) -> list[str]:
    """Split a text into words exactly as the tokenizer will, each as a string of byte symbols."""
    backend = CLIPTokenizer().backend_tokenizer
    normalized = backend.normalizer.normalize_str(text)
    return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalized)]


def _count_pairs(pieces: dict[str, tuple[str, ...]], words: Counter[str]) -> Counter[tuple[str, str]]:
    """Count how often two pieces follow each other, over all words."""
    pairs: Counter[tuple[str, str]] = Counter()
    for word, parts in pieces.items():
        for pair in pairwise(parts):
            pairs[pair] += words[word]
    return pairs


def _merge(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """Join every occurrence of a pair within a word, from left to right."""
    merged: list[str] = []
    for part in parts:
        # A piece that was just joined is longer than the pair's first half, so it cannot be joined a second time.
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)
