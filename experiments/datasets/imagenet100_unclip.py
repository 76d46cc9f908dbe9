"""ImageNet-100 by unCLIP on Stable Diffusion 2.1: one image for each real one (Mind the Gap, Table 4: 66.6 top-1).

The real image enters by its CLIP embedding only, an oracle prompt. The paper names no settings: these are diffusers'
defaults, 20 steps, guidance 10 and noise level 0.
"""

from pathlib import Path

from datagen.datasets.rates import Rate
from datagen.recipes.class_lists import IMAGENET100
from datagen.recipes.recipe import DiffusionRecipe

RECIPE = DiffusionRecipe(
    label="unCLIP, Stable Diffusion 2.1",
    method="unclip",
    pipeline=Path("models/stable-diffusion-2-1-unclip"),
    hub="sd2-community/stable-diffusion-2-1-unclip",
    hint="That is a mirror, not by its makers, who have withdrawn theirs.",
    prompt_style="no prompt",
    rate=Rate(43, "an A100", "derived", "from Stable Diffusion 1.4 there, by pixels; not measured here"),
    settings={
        "steps": 20,
        "guidance": 10.0,
        "noise_level": 0,
        "width": 768,
        "height": 768,
        "precision": "float16",
        "image_format": "jpeg",
        "images_at_once": 8,
    },
)

CLASSES = tuple((image_class.name, image_class.wordnet_id) for image_class in IMAGENET100)
SOURCE = Path("store/imported/imagenet100/train")
SOURCE_IMAGES = 126_689
