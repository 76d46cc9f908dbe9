"""Oxford-IIIT Pet by SDXL with LCM-LoRA (Fine-Tuning Role, section 3.1, after Popp et al.).

6 steps, guidance 0.5 (none: below 1), 1,024 pixels squared, 265 images a breed, one for each prompt of attributes
(`datagen/recipes/pet_prompts.py`). Their lists of attributes are not published; give yours, combined, with
prompts_file=CSV.
"""

from pathlib import Path

from datagen.datasets.rates import Rate
from datagen.recipes.class_lists import OXFORD_PETS
from datagen.recipes.recipe import DiffusionRecipe

RECIPE = DiffusionRecipe(
    label="SDXL with LCM-LoRA",
    pipeline=Path("models/stable-diffusion-xl-base-1.0"),
    adapter=Path("models/lcm-lora-sdxl"),
    hub="stabilityai/stable-diffusion-xl-base-1.0",
    hub_bytes=7_400_000_000,
    adapter_hub="latent-consistency/lcm-lora-sdxl",
    prompt_style="pet attributes",
    rate=Rate(9, "one GPU", "guess"),
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

CLASSES = tuple((image_class.name, image_class.wordnet_id) for image_class in OXFORD_PETS)
