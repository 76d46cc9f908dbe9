"""The pocket scale's stylized set: the real training images in the style of 128 textures drawn from numbers.

The small style-transfer network and the textures ship (`datagen/pocket/README.md`); alpha is 1, as in the papers.
`source=pocket` stylizes the synthetic images instead.
"""

from datagen import pocket as pocket_data
from datagen.datasets.rates import Rate
from datagen.recipes.recipe import StyleRecipe
from experiments.datasets import pocket

RECIPE = StyleRecipe(
    network=pocket_data.STYLIZER,
    styles=pocket_data.STYLES,
    rate=Rate(600, "one core of an Intel Xeon", "measured"),
    settings={"width": pocket_data.IMAGE_SIZE, "height": pocket_data.IMAGE_SIZE},
)
CLASSES = pocket.CLASSES
SOURCE = pocket_data.IMAGES / "train"
