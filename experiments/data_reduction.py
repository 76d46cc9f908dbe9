"""How many real images does a network need whose first layers come from synthetic ones?

    python -m orchestrator.sweep data_reduction

Mind the Gap, Figures 3 and 4; Fine-Tuning Role, Figure 3 and Table 6. The first 16 layers are trained on synthetic
images and frozen, the rest on a share of the real ones; beside it the whole network from scratch on the same share.

Published (ImageNet-100, ResNet-50, top-1): with 1/8 of the real images 80.1 after synthetic pretraining, 67.7 from
scratch, against 87.8 with all; the transfers follow -2.23 log2(x) + 85.61, where 1/x is the share.

Cost: 15 trainings beside those of `layer_importance`, which it shares; by shares of data they come to 3 whole ones.
"""

from experiments.claims.papers import DATA_REDUCTION
from orchestrator.study import Figure, Study

STUDY = Study(
    name="data_reduction",
    question="How many real images does a network need whose first 16 layers come from synthetic ones?",
    axes={
        ("direction", "frozen_layers"): (("synthetic->real", 16), ("real", 0)),
        "fraction": [1 / 2**halvings for halvings in range(8)],
    },
    figure=Figure("curves", axis="fraction", baselines=False, logarithmic=True),
    published="data_reduction",
    claims=DATA_REDUCTION,
)
