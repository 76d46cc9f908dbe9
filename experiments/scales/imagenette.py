"""Imagenette: real photographs and real Stable Diffusion in an evening of one GPU. ResNet-50 at 128 px.

Ten classes of ImageNet (Howard, 2019; 9,469 and 3,925 images), and 1,000 images a class by SD Turbo, or with
`generator=sd15` by Stable Diffusion 1.5 as the papers draw; Turbo is the default because it takes minutes where the
other takes hours. Both kinds are stored by one resampling and one encoder: a shorter side of 160 pixels, bicubic, JPEG
of quality 95 (the real ones from the published 320 px, so that they are resized here, too).

The recipe is t-ReX's, at batch 128 for 30 epochs, with PyTorch's crops. It is a reading of published small-scale
practice and was tuned on nothing here: no GPU was at hand. Tune it on the real base alone:
`epochs=60 learning_rate=0.05 --only "direction == 'real'"`.
"""

from pathlib import Path

from datagen.importing.from_hub import HubSource
from datagen.recipes.class_lists import IMAGENETTE
from experiments.datasets import imagenet100_stylized, imagenette_sd15, imagenette_sd_turbo
from orchestrator.provisions import Rates
from orchestrator.scale import Scale

SCALE = Scale(
    name="imagenette",
    summary="Imagenette (10 classes, 9,469 images), SD Turbo (1,000 images a class), ResNet-50 at 128 px; both kinds "
    "of images stored at 160 px by one resampling and one JPEG encoder.",
    classes=tuple((image_class.name, image_class.wordnet_id) for image_class in IMAGENETTE),
    images=Path("store/imported/imagenette"),
    expected_images={"train": 9_469, "validation": 3_925},
    hub=HubSource(
        name="imagenette",
        repository="frgfm/imagenette",
        config="320px",
        resize=imagenette_sd_turbo.STORED_SIZE,
        bytes=340_000_000,
    ),
    import_hint="Or give images=DIR, a set that is imported.",
    generators={"default": imagenette_sd_turbo.RECIPE, "sd15": imagenette_sd15.RECIPE},
    style=imagenet100_stylized.RECIPE,
    evaluations_if_there=("imagenet_v2", "imagenet_sketch"),
    recipe={
        "model": "resnet50",
        "image_size": 128,
        "augmentation": "pytorch_example",
        "minimum_crop": 0.35,
        "epochs": 30,
        "warmup_epochs": 3,
        "batch_size": 128,
        "learning_rate": 0.1,
        "precision": "auto",
    },
    # ResNet-50 at 224 px takes 3.06 times the arithmetic of 128 px.
    rates=Rates(
        trained=7_500, prepared=5_000, startup=60, machine="an A100 by others, by pixels, not here", device="GPU"
    ),
)
