"""Imagenette by SD Turbo: one step of distillation's four, an image in a twenty-fifth of SD 1.5's time.

1,000 images a class, "<class name>, <WordNet definition>", 4 steps without guidance (as "When Pretty Isn't Useful", its
code, draws with it), 512 pixels squared, stored as the real images are: a shorter side of 160 pixels, JPEG of quality
95. 10,000 images take 40,000 steps, five minutes of an A100 and about half an hour of a card of 12 GB, and 2.6 GB of
weights, under a licence for non-commercial use.
"""

from pathlib import Path

from datagen.datasets.rates import Rate
from datagen.recipes.class_lists import IMAGENETTE
from datagen.recipes.recipe import DiffusionRecipe

STORED_SIZE = 160
"""Pixels of the shorter side of real and synthetic images: room for random crops of 128."""

RECIPE = DiffusionRecipe(
    label="SD Turbo",
    pipeline=Path("models/sd-turbo"),
    hub="stabilityai/sd-turbo",
    hub_bytes=2_600_000_000,
    hint="Or give pipeline=DIR, with weights as safetensors.",
    prompt_style="c, d_c",
    rate=Rate(98, "an A100", "derived", "diffusers' figure for SD 1.5 in batches of 16, by pixels; not measured here"),
    settings={
        "images_per_class": 1000,
        "steps": 4,
        "guidance": 0.0,
        "width": 512,
        "height": 512,
        "stored_size": STORED_SIZE,
        "precision": "auto",
        "image_format": "jpeg",
        "images_at_once": 16,
    },
)

CLASSES = tuple((image_class.name, image_class.wordnet_id) for image_class in IMAGENETTE)
