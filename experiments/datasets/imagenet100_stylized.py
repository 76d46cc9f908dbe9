"""Stylized images as in Stylized-ImageNet (Geirhos et al., 2019; Mind the Gap, Table 3), of any set.

AdaIN with the published encoder and decoder, alpha 1, one painting for each image, 224 pixels squared, PNG.
"""

from pathlib import Path

from datagen.datasets.rates import Rate
from datagen.recipes.class_lists import IMAGENET100
from datagen.recipes.recipe import StyleRecipe

RECIPE = StyleRecipe(
    network=Path("models/adain"),
    styles=Path("models/painter-by-numbers"),
    hint=(
        "Put vgg_normalised.pth and decoder.pth of naoto0804/pytorch-AdaIN (release v0.0.0) in models/adain, and "
        "pictures, such as Kaggle's Painter by Numbers, in models/painter-by-numbers."
    ),
    # The networks' 72 GFLOP take a GPU a millisecond or two; reading a photograph and a painting and writing a PNG
    # would take one process about 20.
    rate=Rate(50, "one GPU", "guess", "bounded by one process that reads and writes pictures"),
    settings={"alpha": 1.0, "width": 224, "height": 224, "image_format": "png"},
)

CLASSES = tuple((image_class.name, image_class.wordnet_id) for image_class in IMAGENET100)
SOURCE = Path("store/imported/imagenet100/train")
SOURCE_IMAGES = 126_689
