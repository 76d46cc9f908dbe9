"""Which layers make the gap between synthetic and real training images?

    python -m orchestrator.sweep layer_importance

Mind the Gap, Figure 2; Fine-Tuning Role, Figure 2 and Tables 2 to 5. A base is trained on images of one kind; its first
N layers are frozen, and the layers above start anew on images of the other kind.

Published (ImageNet-100, ResNet-50, top-1): trained on real images 87.8, on synthetic 64.8. From synthetic to real,
accuracy stays within 3.5 points of 87.8 up to N = 16 and drops to 73.0 at N = 17; from real to synthetic it stays near
64.8 up to N = 14 and climbs to 85.2 at N = 17: the last layers make the gap.

On Oxford-IIIT Pet (`--scale oxford_pets`, TinyViT-5M): real 61.9, synthetic 43.5, and started from weights pretrained
on ImageNet-1K 93.1 and 80.2.

Cost: 2 bases and 34 transfers. On the pocket scale minutes on two cores (`--plan` tells); on the papers' scale 36
trainings, 2,016 GPU-hours as published.
"""

from orchestrator.claims import (
    TO_REAL,
    TO_SYNTHETIC,
    DropsAt,
    GapRemains,
    RisesLess,
    RisesOver,
    StaysWithin,
    SteepestAfter,
)
from orchestrator.scale import DIRECTIONS
from orchestrator.study import Figure, Study

PETS = "oxford_pets"

STUDY = Study(
    name="layer_importance",
    question="How many layers can be taken over from the other kind of images before accuracy on real images changes?",
    baselines=(
        "real",
        "synthetic",
        {"direction": "real", "start": "pretrained"},
        {"direction": "synthetic", "start": "pretrained"},
    ),
    axes={"direction": DIRECTIONS, "frozen_layers": range(1, 18)},
    figure=Figure("curves", axis="frozen_layers"),
    published="layer_importance",
    variants={(("start", "pretrained"),): "imagenet_pretrained"},
    claims=(
        GapRemains("approximately 23 percentage point gap in accuracy", "Mind the Gap, 1", points=23.0),
        StaysWithin(
            "only decreases by 3.5 pp as layers 1 to 16 are replaced, and even increases up to 1.0 pp",
            "Mind the Gap, 4.2",
            direction=TO_REAL,
            up_to=16,
            falls=3.5,
            rises=1.0,
        ),
        DropsAt(
            "a larger decrease of 11.3 pp as the 17th layer is replaced",
            "Mind the Gap, 4.2",
            direction=TO_REAL,
            depth=17,
            points=11.3,
        ),
        StaysWithin(
            "increases by at most 2.0 pp from the baseline as we add the layers 1 to 14",
            "Mind the Gap, 4.2",
            direction=TO_SYNTHETIC,
            up_to=14,
            rises=2.0,
        ),
        RisesOver(
            "adding layers 15 to 17, progressively larger increases of 18.4 pp in total",
            "Mind the Gap, 4.2",
            direction=TO_SYNTHETIC,
            start=14,
            end=17,
            points=18.4,
        ),
        GapRemains("we directly see the gap between synthetic and real", "Fine-Tuning Role, 3.2", data_set=PETS),
        GapRemains(
            "pre-trained on ImageNet-1K: real data 93.1 %, synthetic data 80.2 %, confirming the gap",
            "Fine-Tuning Role, 3.2",
            data_set=PETS,
            variants=("imagenet_pretrained",),
            points=12.9,
        ),
        SteepestAfter(
            "a similar drop is observed for Pets in later layers (>15)",
            "Fine-Tuning Role, 3.2",
            data_set=PETS,
            direction=TO_REAL,
            depth=15,
        ),
        RisesLess(
            "this effect (18.4 pp over the layers 15 to 17) is not equally visible for Pets",
            "Fine-Tuning Role, 3.2",
            data_set=PETS,
            direction=TO_SYNTHETIC,
            start=14,
            end=17,
            points=18.4,
        ),
    ),
)
