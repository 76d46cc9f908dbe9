"""The whole product: direction x freeze depth x share of data x views x normalization.

    python -m orchestrator.sweep full_grid --scale imagenet100 --plan

All that the papers vary one at a time, varied together: which findings hold under other views and with less data?

Published: its edges are the papers' Figures 2 to 4 and Tables 1, 2 and 6.

Cost: 2 x 18 x 8 x 6 x 3 = 5,184 points. N = 18 trains nothing, so its shares of data are one point. `--plan` says what
is shared and what it costs in GPU-hours; narrow it by axes, for example
`fraction=1,1/8 augmentation=none,dino_multicrop`.
"""

from orchestrator.study import Drop, Figure, Study
from trainables.direction import DIRECTIONS
from trainables.spec import PAPERS_AUGMENTATIONS

STUDY = Study(
    name="full_grid",
    question="Which findings of one-at-a-time ablations hold when everything is varied together?",
    axes={
        "direction": DIRECTIONS,
        "frozen_layers": range(1, 19),
        "fraction": [1 / 2**halvings for halvings in range(8)],
        "augmentation": PAPERS_AUGMENTATIONS,
        "normalization": ("imagenet", "exact", "batchnorm_train"),
    },
    drop=(
        Drop(
            "N = 18 trains nothing, so the share of data does not matter",
            lambda point: point["frozen_layers"] == 18 and point["fraction"] < 1,
        ),
    ),
    figure=Figure("effects", axis="frozen_layers", baselines=False),
)
