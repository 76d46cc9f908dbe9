"""Do shifted pixel or activation statistics make the gap between synthetic and real training images?

    python -m orchestrator.sweep normalization

Mind the Gap, Table 1. Images are normalized by ImageNet's constants or by each data set's exact mean and deviation; or
BatchNorm normalizes by the batch at evaluation too.

Published (ImageNet-100, top-1): real 87.8, 88.5 exact, 88.5 BatchNorm by batch; synthetic 64.8, 65.9, 65.2. The gap
stays above 22 points.

Cost: 6 trainings, 2 of them the bases of every study.
"""

from experiments.claims.papers import NORMALIZATION
from orchestrator.study import Figure, Study

STUDY = Study(
    name="normalization",
    question="Do shifted statistics of pixels or activations make the gap between synthetic and real training images?",
    axes={"direction": ("real", "synthetic"), "normalization": ("imagenet", "exact", "batchnorm_train")},
    figure=Figure("bars", axis="normalization", baselines=False),
    published="normalization",
    variants={
        (("normalization", "exact"),): "exact_input_norm",
        (("normalization", "batchnorm_train"),): "batchnorm_train_mode",
    },
    claims=NORMALIZATION,
)
