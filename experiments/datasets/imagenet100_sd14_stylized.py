"""The Stable Diffusion 1.4 set of ImageNet-100, stylized as the real images are (Mind the Gap, Table 3)."""

from experiments.datasets import imagenet100_stylized

RECIPE = imagenet100_stylized.RECIPE
CLASSES = imagenet100_stylized.CLASSES
SOURCE = "imagenet100_sd14"
