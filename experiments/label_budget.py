"""How few labelled real images reach a given accuracy, if anything may be varied?

    python -m orchestrator.sweep label_budget

Beyond the papers. Optuna searches freeze depth, share of the real images, views and learning rate for two aims at
once, the highest top-1 with the fewest real images; asynchronous halving stops the poorer half-trained points, among
those with as many images. The figure is the Pareto front: what is best at each number of labels.

Published: nothing; the papers' Figures 3 and 4 are two lines through this plane.

Cost: 40 points of at most one training each, and the base of synthetic images for each seed.
"""

from orchestrator.study import Figure, Range, Search, Study

STUDY = Study(
    name="label_budget",
    question="How few labelled real images reach a given accuracy, if anything may be varied?",
    baselines=("real", "synthetic"),
    search=Search(
        space={
            "frozen_layers": (0, 4, 8, 12, 14, 15, 16, 17),
            "fraction": tuple(1 / 2**halvings for halvings in range(8)),
            "augmentation": ("none", "autoaugment", "pytorch_example"),
            "learning_rate": Range(0.05, 0.8, logarithmic=True),
        },
        trials=40,
    ),
    transfer_only=("frozen_layers", "fraction", "augmentation", "learning_rate"),
    figure=Figure("pareto", axis="real_images"),
)
