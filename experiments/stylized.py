"""Do local textures make the gap between synthetic and real training images?

    python -m orchestrator.sweep stylized

Mind the Gap, Table 3. Both kinds of images are also shown in the style of paintings, by AdaIN with alpha 1 as in
Stylized-ImageNet, which removes local texture and keeps shape. Evaluation is on plain real images.

Published (ImageNet-100, top-1): real 87.8, stylized 75.6; synthetic 64.8, stylized 50.5. The gap stays, at 25 points.

Cost: 4 trainings, 2 of them the bases of every study, and two stylized data sets.
"""

from experiments.claims.papers import STYLIZED
from orchestrator.study import Figure, Study

STUDY = Study(
    name="stylized",
    question="Do local textures make the gap between synthetic and real training images?",
    axes={"direction": ("real", "synthetic"), "stylized": (False, True)},
    figure=Figure("bars", axis="stylized", baselines=False),
    published="stylized",
    variants={(("stylized", True),): "stylized"},
    claims=STYLIZED,
)
