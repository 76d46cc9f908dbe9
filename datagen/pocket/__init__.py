"""The pocket world: real images, a small Stable Diffusion and a small stylizer that ship with the project.

Importing this module loads neither torch nor diffusers. `making/` holds the scripts that made what is here.
Imports `core`, `datasets` and `recipes`.
Start reading with `README.md`.
"""

from pathlib import Path

GENERATOR = Path(__file__).parent / "generator"
"""Folder of the trained pipeline, for ``StableDiffusionPipeline.from_pretrained``."""
IMAGES = Path(__file__).parent / "images"
"""Folder with the data sets ``train`` and ``validation`` of 32 x 32 grey PNG images."""
STYLIZER = Path(__file__).parent / "stylizer"
"""Folder of the style-transfer network, ``encoder.safetensors`` and ``decoder.safetensors``."""
STYLES = Path(__file__).parent / "styles"
"""Folder of the style pictures, 64 x 64 PNG images."""
IMAGE_SIZE = 32
"""Side of every image, real or generated, in pixels."""
GUIDANCE = 2.0
"""Scale of the classifier-free guidance at which the sampler was chosen, the papers' value."""
