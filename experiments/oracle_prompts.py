"""Would perfect prompts close the gap between synthetic and real training images?

    python -m orchestrator.sweep oracle_prompts

Mind the Gap, Table 4. Three generators: "default" (Stable Diffusion 1.4, guidance 2), "untuned" (Stable Diffusion 2.1
with its default settings) and "oracle" (unCLIP on Stable Diffusion 2.1: one image for each real one, by its CLIP
embedding). On pocket, untuned is the same pipeline at guidance 7.5, and oracle starts it from noised real images.

Published (ImageNet-100, top-1): default 64.8, untuned 40.3, oracle 66.6, real 87.8: the oracle's gain of 26.3 points
over its own generator leaves a gap of 21.2.

Cost: 3 trainings and a base, 2 of them the bases of every study, and 2 data sets beside the usual one.
"""

from experiments.claims.papers import ORACLE_PROMPTS
from orchestrator.study import Figure, Study

STUDY = Study(
    name="oracle_prompts",
    question="Would perfect prompts close the gap between synthetic and real training images?",
    baselines=("real",),
    axes={"direction": ("synthetic",), "generator": ("default", "untuned", "oracle")},
    figure=Figure("bars", axis="generator"),
    published="oracle_prompts",
    variants={
        (("generator", "default"),): "sd14",
        (("generator", "untuned"),): "sd21",
        (("generator", "oracle"),): "unclip_sd21",
    },
    claims=ORACLE_PROMPTS,
)
