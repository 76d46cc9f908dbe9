"""Imagewoof: ten breeds of dogs, as `imagenette` in all else, where the classes are hard to tell apart."""

from dataclasses import replace
from pathlib import Path

from datagen.recipes.class_lists import IMAGEWOOF
from experiments.scales import imagenette

assert imagenette.SCALE.hub is not None
SCALE = replace(
    imagenette.SCALE,
    name="imagewoof",
    summary="Imagewoof (10 breeds of dogs, 9,025 images), SD Turbo (1,000 images a class), ResNet-50 at 128 px; both "
    "kinds of images stored at 160 px by one resampling and one JPEG encoder.",
    classes=tuple((image_class.name, image_class.wordnet_id) for image_class in IMAGEWOOF),
    images=Path("store/imported/imagewoof"),
    expected_images={"train": 9_025, "validation": 3_929},
    hub=replace(imagenette.SCALE.hub, name="imagewoof", repository="frgfm/imagewoof"),
)
