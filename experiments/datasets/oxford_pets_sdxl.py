"""Oxford-IIIT Pet by SDXL with LCM-LoRA (Fine-Tuning Role, section 3.1, after Popp et al.).

6 steps, guidance 0.5 (none: below 1), 1,024 pixels squared, 265 images a breed.
"""

from pathlib import Path

from datagen.recipes import DiffusionRecipe

RECIPE = DiffusionRecipe(
    label="SDXL with LCM-LoRA",
    pipeline=Path("models/stable-diffusion-xl-base-1.0"),
    adapter=Path("models/lcm-lora-sdxl"),
    hint=(
        "Put stabilityai/stable-diffusion-xl-base-1.0 there, and latent-consistency/lcm-lora-sdxl in "
        "models/lcm-lora-sdxl, weights as safetensors."
    ),
    prompt_style="a photo of a c",
    settings={
        "images_per_class": 265,
        "steps": 6,
        "guidance": 0.5,
        "scheduler": "lcm",
        "width": 1024,
        "height": 1024,
        "precision": "float16",
        "image_format": "jpeg",
        "images_at_once": 4,
    },
)
