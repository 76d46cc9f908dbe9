"""The pocket scale's synthetic set: 256 images a class at 32 pixels by the small Stable Diffusion that ships.

The sampler, DDIM with 10 steps, was chosen by an independent classifier's agreement (`datagen/pocket/README.md`).
"""

from datagen import pocket
from datagen.datasets.rates import Rate
from datagen.pocket.classes import CLASSES as POCKET_CLASSES
from datagen.recipes.recipe import DiffusionRecipe

RECIPE = DiffusionRecipe(
    label="a Stable Diffusion of 1.3 M parameters",
    pipeline=pocket.GENERATOR,
    prompt_style="c, d_c",
    rate=Rate(1300, "one core of an Intel Xeon", "measured"),
    settings={"images_per_class": 256, "steps": 10, "guidance": 2.0, "width": 32, "height": 32},
)

CLASSES = tuple((pocket_class.name, pocket_class.wordnet_id) for pocket_class in POCKET_CLASSES)
