"""Does augmentation close the gap between synthetic and real training images?

    python -m orchestrator.sweep augmentation

Mind the Gap, Table 2; Fine-Tuning Role, Table 1. Each kind of images under six views: none, AutoAugment, the crop and
flip of PyTorch's ImageNet example, AugMix, PixMix, and DINO's multi-crop.

Published (ImageNet-100, top-1): real from 70.1 without to 87.8 with multi-crop, synthetic from 46.9 to 64.8: both gain,
and the gap of 23 points stays.

Cost: 12 trainings, 2 of them the bases of every study. Multi-crop shows 1 + 8 crops an image, for 2.5 times the price
(pocket: 1 + 2 crops).
"""

from experiments.claims.papers import AUGMENTATION
from orchestrator.study import Figure, Study
from trainables.spec import PAPERS_AUGMENTATIONS

STUDY = Study(
    name="augmentation",
    question="Does augmentation close the gap between synthetic and real training images?",
    axes={"direction": ("real", "synthetic"), "augmentation": PAPERS_AUGMENTATIONS},
    figure=Figure("bars", axis="augmentation", baselines=False),
    published="augmentation",
    variants={(("augmentation", view),): view for view in PAPERS_AUGMENTATIONS},
    claims=AUGMENTATION,
)
