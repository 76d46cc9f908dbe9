"""The pocket world: a small real data set and a small Stable Diffusion that ship with the project.

Everything a sweep needs on a laptop lies in this folder: real Fashion-MNIST images as Parquet shards, and a genuine
but tiny ``diffusers.StableDiffusionPipeline`` of a few megabytes. The scripts that drew the images and trained the
pipeline lie beside them. Importing this module loads neither torch nor diffusers.

Attributes:
    GENERATOR: Folder of the trained pipeline, to be given to ``StableDiffusionPipeline.from_pretrained``.
    IMAGES: Folder with the data sets ``train`` and ``validation`` of 32 x 32 grayscale PNG images.
    IMAGE_SIZE: Side of every image, real or generated, in pixels.
    GUIDANCE: Scale of the classifier-free guidance at which the sampler was chosen, the papers' value.
"""

from pathlib import Path

GENERATOR = Path(__file__).parent / "generator"
IMAGES = Path(__file__).parent / "images"
IMAGE_SIZE = 32
GUIDANCE = 2.0
