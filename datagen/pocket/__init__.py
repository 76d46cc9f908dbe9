"""The pocket world: a small real data set, a small Stable Diffusion and a small stylizer that ship with it.

Everything a sweep needs on a laptop lies in this folder: real Fashion-MNIST images as Parquet shards, a genuine but
tiny ``diffusers.StableDiffusionPipeline`` of a few megabytes, and a style transfer with pictures of its own. The
scripts that drew the pictures and trained the networks lie beside them. Importing this module loads neither torch nor
diffusers.

Attributes:
    GENERATOR: Folder of the trained pipeline, to be given to ``StableDiffusionPipeline.from_pretrained``.
    IMAGES: Folder with the data sets ``train`` and ``validation`` of 32 x 32 grayscale PNG images.
    STYLIZER: Folder of the style-transfer network, ``encoder.safetensors`` and ``decoder.safetensors``.
    STYLES: Folder of the style pictures, 64 x 64 PNG images.
    IMAGE_SIZE: Side of every image, real or generated, in pixels.
    GUIDANCE: Scale of the classifier-free guidance at which the sampler was chosen, the papers' value.
"""

from pathlib import Path

GENERATOR = Path(__file__).parent / "generator"
IMAGES = Path(__file__).parent / "images"
STYLIZER = Path(__file__).parent / "stylizer"
STYLES = Path(__file__).parent / "styles"
IMAGE_SIZE = 32
GUIDANCE = 2.0
