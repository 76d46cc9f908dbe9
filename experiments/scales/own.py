"""Images of your own: real ones with images=DIR, synthetic ones with synthetic=DIR, both imported. ResNet-50 at 224 px.

Classes and the scale's name are those of the imported real images. Without synthetic=DIR, Stable Diffusion 1.4 draws as
many synthetic images a class as images_per_class says. The recipe is that of ImageNet-100 (t-ReX); other networks,
sizes and schedules are settings: model=resnet18 image_size=96 epochs=30.
"""

from dataclasses import replace
from pathlib import Path

from experiments.datasets import imagenet100_sd14
from experiments.scales import imagenet100
from orchestrator.scale import Scale

SCALE = Scale(
    name="own",
    summary="Images of the user's own, ResNet-50 at 224 px by the recipe of ImageNet-100.",
    classes=(("no class yet", ""),),
    classes_from_images=True,
    images=Path("store/imported/own"),
    import_hint=(
        "Import them from folders that hold a folder for each class: "
        "python -m datagen.import_images --name own --train DIR --val DIR; or give images=DIR, a set that is imported."
    ),
    generators={"default": replace(imagenet100_sd14.RECIPE, prompt_style="a photo of a c")},
    style=imagenet100.SCALE.style,
    recipe=imagenet100.SCALE.recipe,
    rates=imagenet100.SCALE.rates,
)
