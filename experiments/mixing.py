"""How many real images must a training set hold, if the others are synthetic?

    python -m orchestrator.sweep mixing

The question that both papers leave open: in place of fewer images, the same number of images, a share of them real.
The whole network from scratch, or 16 layers taken over frozen from a base of either kind and the rest trained on the
mixture.

Published: nothing; the ends of the curves are in the papers (share 0 is near the synthetic base, share 1 is the real).

Cost: 21 trainings, and the two bases of every study.
"""

from orchestrator.study import Figure, Study

STUDY = Study(
    name="mixing",
    question="How many of a training set's images must be real, if the others are synthetic?",
    baselines=("real", "synthetic"),
    axes={
        ("direction", "frozen_layers"): (("mixed", 0), ("synthetic->mixed", 16), ("real->mixed", 16)),
        "real_share": (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0),
    },
    figure=Figure("curves", axis="real_share"),
)
