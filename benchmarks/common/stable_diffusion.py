"""The architecture of Stable Diffusion 1.x with random weights: timing does not depend on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from datagen import pocket


def save_random_pipeline(folder: Path, seed: int = 0) -> Path:
    """Saves a pipeline of the published sizes: 860 M parameters of denoiser, 84 of autoencoder, 123 of text encoder.

    The tokenizer is the pocket one, with room for CLIP's 77 tokens; prompts cost the same.
    """
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(pocket.GENERATOR / "tokenizer", local_files_only=True)
    tokenizer.model_max_length = 77
    pipeline: Any = StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                projection_dim=768,
                num_hidden_layers=12,
                num_attention_heads=12,
                max_position_embeddings=77,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        ),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
            set_alpha_to_one=False,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    # Saved in half precision, so that loading does not read twice as much.
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    return folder
