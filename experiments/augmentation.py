"""Does augmentation close the gap between synthetic and real training images?

    python -m orchestrator.sweep augmentation

Mind the Gap, Table 2; Fine-Tuning Role, Table 1. Each kind of images under six views: none, AutoAugment, the crop and
flip of PyTorch's ImageNet example, AugMix, PixMix, and DINO's multi-crop.

Published (ImageNet-100, top-1): real from 70.1 without to 87.8 with multi-crop, synthetic from 46.9 to 64.8: both gain,
and the gap of 23 points stays.

Cost: 12 trainings, 2 of them the bases of every study. Multi-crop shows 1 + 8 crops an image, for 2.5 times the price
(pocket: 1 + 2 crops).
"""

from orchestrator.claims import GainsCompared, GapRemains, RanksHighest
from orchestrator.study import Figure, Study
from trainables.spec import VIEWS

STUDY = Study(
    name="augmentation",
    question="Does augmentation close the gap between synthetic and real training images?",
    axes={"direction": ("real", "synthetic"), "views": VIEWS},
    figure=Figure("bars", axis="views", baselines=False),
    published="augmentation",
    variants={(("views", view),): view for view in VIEWS},
    claims=(
        GapRemains("the accuracy gap still remains", "Mind the Gap, 4.4", variants=VIEWS),
        GainsCompared(
            "could not replicate a larger improvement on synthetic data compared to no augmentation",
            "Mind the Gap, 4.4",
            variants=tuple(view for view in VIEWS if view != "none"),
            over="none",
            sign=-1,
        ),
        GainsCompared(
            "we still observe this effect when comparing the PyTorch example and DINO",
            "Mind the Gap, 4.4",
            variants=("dino_multicrop",),
            over="pytorch_example",
            sign=1,
        ),
        RanksHighest(
            "DINO has the highest accuracy on both kinds of data",
            "Mind the Gap, Table 2",
            variant="dino_multicrop",
            others=tuple(view for view in VIEWS if view != "dino_multicrop"),
        ),
    ),
)
