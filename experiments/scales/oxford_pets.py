"""Oxford-IIIT Pet: the second paper's second scale. TinyViT-5M at 224 px, batch 128.

Fine-Tuning Role, section 3.1 and Tables 4 and 5. The paper's "batch size 32" is read as `imagenet100` reads its 64, of
one of four GPUs; the other reading is `batch_size=32`. Synthetic images come from SDXL with LCM-LoRA.
"""

from pathlib import Path

from datagen.importing.from_hub import HubSource
from datagen.recipes.class_lists import OXFORD_PETS
from experiments.datasets import imagenet100_stylized, oxford_pets_sdxl
from orchestrator.provisions import Pretrained, Rates
from orchestrator.scale import Scale

SCALE = Scale(
    name="oxford_pets",
    summary="Oxford-IIIT Pet (37 breeds, 3,680 images), SDXL with LCM-LoRA (265 images a breed), TinyViT-5M at 224 px.",
    classes=tuple((image_class.name, image_class.wordnet_id) for image_class in OXFORD_PETS),
    images=Path("store/imported/oxford_pets"),
    expected_images={"train": 3_680, "validation": 3_669},
    hub=HubSource(name="oxford_pets", repository="timm/oxford-iiit-pet", validation="test", label="label"),
    import_hint=(
        "Or import them from the unpacked download: python -m datagen.import_images --name oxford_pets --pets DIR."
    ),
    generators={"default": oxford_pets_sdxl.RECIPE},
    style=imagenet100_stylized.RECIPE,
    pretrained=Pretrained(
        Path("models/tiny_vit_5m_224.in1k/model.safetensors"),
        hub="timm/tiny_vit_5m_224.in1k",
    ),
    recipe={
        "model": "tiny_vit_5m_224",
        "image_size": 224,
        "augmentation": "dino_multicrop",
        "epochs": 100,
        "warmup_epochs": 10,
        "batch_size": 128,
        "fraction_sampling": "random",
        "learning_rate": 0.1,
        "precision": "float16",
    },
    rates=Rates(trained=2000, prepared=50_000, startup=60, machine="nothing: a guess", device="GPU"),
    published="oxford_pets",
)
