"""Pocket: the whole machinery on two laptop cores in minutes, with data and generator that ship with the project.

Real images are a subset of Fashion-MNIST, synthetic ones come from a diffusion pipeline of 1.3 million parameters that
was trained on other images of that set (`datagen/pocket/README.md`), and the network is a ResNet-50 of an eighth of the
width. It demonstrates the machinery and shows a small real gap; it is no evidence for or against the papers' claims.
"""

from datagen import pocket
from datagen.pocket.fashion_mnist import CLASSES
from orchestrator.scale import Rates, Scale

SCALE = Scale(
    name="pocket",
    summary="Fashion-MNIST (10 classes, 32 px), a Stable Diffusion of 1.3 M parameters, ResNet-50 of 1/8 width.",
    classes=tuple((pocket_class.name, pocket_class.wordnet_id) for pocket_class in CLASSES),
    images=pocket.IMAGES,
    generator=pocket.GENERATOR,
    generation={"images_per_class": 256, "steps": 10, "guidance": 2.0, "width": 32, "height": 32},
    recipe={
        "model": "resnet50_slim",
        "image_size": 32,
        "views": "pytorch_example",
        "minimum_crop": 0.6,
        "epochs": 12,
        "warmup_epochs": 1,
        "batch_size": 128,
        "learning_rate": 0.4,
    },
    rates=Rates(generated=65, trained=2800, prepared=30000, startup=15, machine="one core of an Intel Xeon"),
)
