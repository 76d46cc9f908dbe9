"""ImageNet-100 by Stable Diffusion 1.4: the papers' synthetic set (Mind the Gap, section 4.1).

130,000 images: 1,300 a class, "<class name>, <WordNet definition>", 50 steps, guidance 2.0, 512 pixels wide, 384 high.
The papers spent 73 GPU-hours. They do not name the scheduler, precision or format: these are the pipeline's own (PNDM
as published), float16, and JPEG of quality 95, about 40 kB an image.
"""

from pathlib import Path

from datagen.datasets.rates import Rate
from datagen.recipes.class_lists import IMAGENET100
from datagen.recipes.recipe import DiffusionRecipe

RECIPE = DiffusionRecipe(
    label="Stable Diffusion 1.4",
    pipeline=Path("models/stable-diffusion-v1-4"),
    hub="CompVis/stable-diffusion-v1-4",
    hub_bytes=2_100_000_000,
    hint="Or give pipeline=DIR, with weights as safetensors.",
    prompt_style="c, d_c",
    # Eager, as the recipe draws: compiled, diffusers' own figure is 200.
    rate=Rate(130, "an A100", "derived", "diffusers' figure for batches of 16, eager, by pixels; not measured here"),
    settings={
        "images_per_class": 1300,
        "steps": 50,
        "guidance": 2.0,
        "width": 512,
        "height": 384,
        "precision": "float16",
        "image_format": "jpeg",
        "images_at_once": 16,
    },
)

CLASSES = tuple((image_class.name, image_class.wordnet_id) for image_class in IMAGENET100)
