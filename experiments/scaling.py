"""How does accuracy grow with the number of images, real, synthetic, or both together?

    python -m orchestrator.sweep scaling

From scratch, on so many images of each class: real ones, synthetic ones, or as many of both. The error is fitted by a
power law, error = a x images^-b (Hestness et al., 2017, arXiv:1712.00409); the exponent is told with its interval.

Published: nothing by the two papers. Fan et al. (CVPR 2024, arXiv:2312.04567) fit such laws to synthetic images.

Pocket (one seed): 77.7 % with 256 real images a class, 70.6 with synthetic ones, 81.4 with both. All are trained for
the same epochs, so that few images are few steps too: below 64 a class the pocket's trainings have hardly begun.

Cost: 15 trainings and the two bases of every study.
"""

from orchestrator.study import Figure, Study

STUDY = Study(
    name="scaling",
    question="How does accuracy grow with the number of real, synthetic, and real plus synthetic images?",
    baselines=("real", "synthetic"),
    axes={"direction": ("real", "synthetic", "union"), "per_class": (16, 32, 64, 128, 256)},
    figure=Figure("curves", axis="per_class", baselines=False),
)
