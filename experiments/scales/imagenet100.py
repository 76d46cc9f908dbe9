"""ImageNet-100: the papers' own scale. ResNet-50 at 224 px, Stable Diffusion 1.4, the t-ReX recipe on GPUs.

Mind the Gap, section 4.1; Fine-Tuning Role, section 3.1. Two readings of the learning rate are possible: this is 0.1
for a global batch of 256 (t-ReX: four GPUs of 64); the other is `batch_size=64`, which scales the rate to 0.025.
"""

from pathlib import Path

from datagen.class_lists import IMAGENET100
from orchestrator.scale import Rates, Scale

SCALE = Scale(
    name="imagenet100",
    summary="ImageNet-100 (126,689 images), Stable Diffusion 1.4 (1,300 images a class), ResNet-50 at 224 px.",
    classes=tuple((image_class.name, image_class.wordnet_id) for image_class in IMAGENET100),
    images=Path("store/imported/imagenet100"),
    expected_images={"train": 126_689, "validation": 5_000},
    import_hint=(
        "Import them from the folders of ImageNet that hold the 100 classes: "
        "python -m datagen.import_images --name imagenet100 --train DIR --val DIR; or give images=DIR."
    ),
    generator=Path("models/stable-diffusion-v1-4"),
    generator_hint=(
        "Put CompVis/stable-diffusion-v1-4 there, weights as safetensors, or give generator=DIR: "
        "hf download CompVis/stable-diffusion-v1-4 --exclude '*.bin' '*.ckpt' --local-dir models/stable-diffusion-v1-4"
    ),
    generation={
        "images_per_class": 1300,
        "steps": 50,
        "guidance": 2.0,
        "width": 512,
        "height": 384,
        "precision": "float16",
        "image_format": "jpeg",
        "images_at_once": 16,
    },
    recipe={
        "model": "resnet50",
        "image_size": 224,
        "views": "dino_multicrop",
        "epochs": 100,
        "warmup_epochs": 10,
        "batch_size": 256,
        "learning_rate": 0.1,
        "precision": "float16",
    },
    rates=Rates(generated=2.0, trained=1000, prepared=50_000, startup=60, machine="an A100 by others, not here"),
    published="imagenet100",
)
