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

from experiments.claims.papers import LAYER_IMPORTANCE
from orchestrator.study import Figure, Study
from trainables.direction import DIRECTIONS

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
    claims=LAYER_IMPORTANCE,
)
