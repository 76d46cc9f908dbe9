"""Diffusion pipelines of the published classes with a few thousand random weights, saved as the hub has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    StableUnCLIPImg2ImgPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from datagen import pocket

SIDE = 32
WIDTH = 16
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def save_sdxl(folder: Path) -> Path:
    """A StableDiffusionXLPipeline: two text encoders, pooled embeddings, Euler."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    second = CLIPTextModelWithProjection(_text_config(tokenizer))
    unet = _unet(
        cross_attention_dim=2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        transformer_layers_per_block=1,
    )
    pipeline: Any = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=_tokenizer(),
        unet=unet,
        scheduler=EulerDiscreteScheduler(**NOISE),
        add_watermarker=False,
    )
    return _saved(pipeline, folder)


def save_lora(sdxl: Path, folder: Path) -> Path:
    """A LoRA for the denoiser of `save_sdxl`'s pipeline."""
    torch.manual_seed(1)
    unet: Any = UNet2DConditionModel.from_pretrained(sdxl / "unet", low_cpu_mem_usage=False)
    unet.add_adapter(LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=layers, safe_serialization=True)
    return folder


def save_unclip(folder: Path) -> Path:
    """A StableUnCLIPImg2ImgPipeline: the CLIP embedding of an image conditions the denoiser."""
    torch.manual_seed(2)
    tokenizer = _tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
    )
    pipeline: Any = StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessor(crop_size=SIDE, size=SIDE),
        image_encoder=CLIPVisionModelWithProjection(vision),
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=WIDTH),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=tokenizer,
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        unet=_unet(
            cross_attention_dim=WIDTH, class_embed_type="projection", projection_class_embeddings_input_dim=2 * WIDTH
        ),
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        vae=_vae(),
    )
    return _saved(pipeline, folder)


def save_sd3(folder: Path) -> Path:
    """A StableDiffusion3Pipeline: a transformer, three text encoders, flow matching."""
    torch.manual_seed(3)
    tokenizer = _tokenizer()
    pipeline: Any = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=SIDE // 2,
            patch_size=1,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * WIDTH,
            out_channels=4,
            pos_embed_max_size=SIDE,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.06, scaling_factor=1.5),
        text_encoder=CLIPTextModelWithProjection(_text_config(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer)),
        tokenizer_2=_tokenizer(),
        text_encoder_3=T5EncoderModel(_t5_config(tokenizer, 2 * WIDTH)),
        tokenizer_3=_tokenizer(),
    )
    return _saved(pipeline, folder)


def save_flux(folder: Path) -> Path:
    """A FluxPipeline: a transformer that is given the guidance, CLIP for the whole prompt and T5 for its words."""
    torch.manual_seed(4)
    tokenizer = _tokenizer()
    pipeline: Any = FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.06, scaling_factor=1.5),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(_t5_config(tokenizer, 32)),
        tokenizer_2=_tokenizer(),
    )
    return _saved(pipeline, folder)


def _t5_config(tokenizer: Any, width: int) -> T5Config:
    return T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2, is_encoder_decoder=False
    )


def _saved(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(pocket.GENERATOR / "tokenizer", local_files_only=True)


def _text_config(tokenizer: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _vae(**options: float) -> AutoencoderKL:
    return AutoencoderKL(
        **options,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        mid_block_add_attention=False,
    )


def _unet(**options: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        use_linear_projection=True,
        **options,
    )
