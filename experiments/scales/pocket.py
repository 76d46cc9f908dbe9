"""Pocket: the whole machinery on two laptop cores in minutes, with data and generator that ship with the project.

Real images are a subset of Fashion-MNIST, synthetic ones come from a diffusion pipeline of 1.3 million parameters that
was trained on other images of that set (`datagen/pocket/README.md`), and the network is a ResNet-50 of an eighth of the
width. It demonstrates the machinery and shows a small real gap; it is no evidence for or against the papers' claims.
"""

from dataclasses import replace

from datagen import pocket
from datagen.pocket.classes import CLASSES
from experiments.datasets import pocket as synthetic
from experiments.datasets import pocket_oracle, pocket_stylized
from orchestrator.provisions import Rates
from orchestrator.scale import Scale

SCALE = Scale(
    name="pocket",
    summary="Fashion-MNIST (10 classes, 32 px), a Stable Diffusion of 1.3 M parameters, ResNet-50 of 1/8 width.",
    classes=tuple((pocket_class.name, pocket_class.wordnet_id) for pocket_class in CLASSES),
    images=pocket.IMAGES,
    generators={
        "default": synthetic.RECIPE,
        # Stands for the papers' Stable Diffusion 2.1 with model defaults: the same pipeline at guidance 7.5.
        "untuned": replace(
            synthetic.RECIPE,
            label="the same at Stable Diffusion's default guidance, 7.5",
            settings={**synthetic.RECIPE.settings, "guidance": 7.5},
        ),
        # Stands for unCLIP: the same pipeline, started from real images with noise.
        "oracle": pocket_oracle.RECIPE,
    },
    style=pocket_stylized.RECIPE,
    recipe={
        "model": "resnet50_slim",
        "image_size": 32,
        "augmentation": "pytorch_example",
        "minimum_crop": 0.6,
        "local_size": 16,
        "local_crops": 2,
        "epochs": 12,
        "warmup_epochs": 1,
        "batch_size": 128,
        "learning_rate": 0.4,
    },
    rates=Rates(trained=2800, prepared=30000, startup=15, machine="one core of an Intel Xeon"),
)
