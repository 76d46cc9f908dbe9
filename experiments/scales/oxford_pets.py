"""Oxford-IIIT Pet: the second paper's second scale. TinyViT-5M at 224 px, batch 32.

Fine-Tuning Role, section 3.1 and Tables 4 and 5. The paper's images come from SDXL with LCM-LoRA and prompts of
attributes; the generator here is a Stable Diffusion pipeline with the plain prompt "a photo of a <breed>".
"""

from pathlib import Path

from datagen.class_lists import OXFORD_PETS
from orchestrator.scale import Rates, Scale

SCALE = Scale(
    name="oxford_pets",
    summary="Oxford-IIIT Pet (37 breeds, 3,680 images), Stable Diffusion (265 images a breed), TinyViT-5M at 224 px.",
    classes=tuple((image_class.name, image_class.wordnet_id) for image_class in OXFORD_PETS),
    images=Path("store/imported/oxford_pets"),
    expected_images={"train": 3_680, "validation": 3_669},
    import_hint=(
        "Sort trainval and test into a folder for each breed, and import them: "
        "python -m datagen.import_images --name oxford_pets --train DIR --val DIR; or give images=DIR."
    ),
    generator=Path("models/stable-diffusion-v1-4"),
    generator_hint="Put a Stable Diffusion pipeline there, weights as safetensors, or give generator=DIR.",
    generation={
        "images_per_class": 265,
        "steps": 50,
        "guidance": 2.0,
        "width": 512,
        "height": 512,
        "precision": "float16",
        "image_format": "jpeg",
        "images_at_once": 16,
    },
    recipe={
        "model": "tiny_vit_5m_224",
        "image_size": 224,
        "views": "dino_multicrop",
        "epochs": 100,
        "warmup_epochs": 10,
        "batch_size": 32,
        "learning_rate": 0.1,
        "precision": "float16",
    },
    rates=Rates(generated=1.5, trained=900, prepared=50_000, startup=60, machine="nothing: a guess"),
    published="oxford_pets",
)
