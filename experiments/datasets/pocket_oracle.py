"""The pocket scale's oracle-prompt set: each real training image, noised to 60 % and denoised under its class's prompt.

It stands for unCLIP, whose image encoder has no pocket version: what the real image tells reaches the drawn one.
"""

from dataclasses import replace

from datagen import pocket as pocket_data
from experiments.datasets import pocket

RECIPE = replace(
    pocket.RECIPE,
    label="the same, started from noised real images",
    method="image_to_image",
    settings={**pocket.RECIPE.settings, "strength": 0.6},
)
CLASSES = pocket.CLASSES
SOURCE = pocket_data.IMAGES / "train"
