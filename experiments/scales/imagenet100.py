"""ImageNet-100: the papers' own scale. ResNet-50 at 224 px, Stable Diffusion 1.4, the t-ReX recipe on GPUs.

Mind the Gap, section 4.1; Fine-Tuning Role, section 3.1. Two readings of the learning rate are possible: this is 0.1
for a global batch of 256 (t-ReX: four GPUs of 64); the other is `batch_size=64`, which scales the rate to 0.025.
"""

from pathlib import Path

from datagen.importing.from_hub import HubSource
from datagen.recipes.class_lists import IMAGENET100
from experiments.datasets import imagenet100_sd14, imagenet100_sd21, imagenet100_stylized, imagenet100_unclip
from orchestrator.provisions import Rates
from orchestrator.scale import Scale

SCALE = Scale(
    name="imagenet100",
    summary="ImageNet-100 (126,689 images), Stable Diffusion 1.4 (1,300 images a class), ResNet-50 at 224 px.",
    classes=tuple((image_class.name, image_class.wordnet_id) for image_class in IMAGENET100),
    images=Path("store/imported/imagenet100"),
    expected_images={"train": 126_689, "validation": 5_000},
    hub=HubSource(name="imagenet100", repository="clane9/imagenet-100", bytes=8_100_000_000),
    import_hint=(
        "Or import them from the folders of ImageNet that hold the 100 classes: "
        "python -m datagen.import_images --name imagenet100 --train DIR --val DIR; or give images=DIR."
    ),
    generators={
        "default": imagenet100_sd14.RECIPE,
        "untuned": imagenet100_sd21.RECIPE,
        "oracle": imagenet100_unclip.RECIPE,
    },
    style=imagenet100_stylized.RECIPE,
    recipe={
        "model": "resnet50",
        "image_size": 224,
        "augmentation": "dino_multicrop",
        "epochs": 100,
        "warmup_epochs": 10,
        "batch_size": 256,
        "fraction_sampling": "random",
        "learning_rate": 0.1,
        "precision": "float16",
    },
    rates=Rates(trained=2470, prepared=50_000, startup=60, machine="an A100 by others, not here", device="GPU"),
    published="imagenet100",
)
