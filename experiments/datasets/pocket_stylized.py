"""The pocket scale's stylized set: any pocket images at 32 pixels in the style of 128 textures drawn from numbers.

The small style-transfer network and the textures ship (`datagen/pocket/README.md`); alpha is 1, as in the papers.
"""

from datagen import pocket
from datagen.recipes import StyleRecipe

RECIPE = StyleRecipe(
    network=pocket.STYLIZER,
    styles=pocket.STYLES,
    settings={"width": pocket.IMAGE_SIZE, "height": pocket.IMAGE_SIZE},
)
