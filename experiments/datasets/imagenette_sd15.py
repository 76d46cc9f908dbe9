"""Imagenette by Stable Diffusion 1.5, as the papers draw: 50 steps, guidance 2.0.

Otherwise as `imagenette_sd_turbo`, with 25 times the work: 10,000 images take a million steps of the denoiser, nearly
three hours of an A100 and a night of a card of 12 GB, and 2.1 GB of weights (CreativeML OpenRAIL-M).
"""

from dataclasses import replace
from pathlib import Path

from experiments.datasets import imagenette_sd_turbo as turbo

RECIPE = replace(
    turbo.RECIPE,
    label="Stable Diffusion 1.5",
    pipeline=Path("models/stable-diffusion-v1-5"),
    hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
    hub_bytes=2_100_000_000,
    settings={**turbo.RECIPE.settings, "steps": 50, "guidance": 2.0},
)

CLASSES = turbo.CLASSES
