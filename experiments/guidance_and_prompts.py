"""How do guidance and prompts of the generator move the gap?

    python -m orchestrator.sweep guidance_and_prompts

The ablations of Sariyildiz et al., Fake it till you make it (2023), that both papers build on: their setting, guidance
2.0 and "<class>, <definition>", was chosen by them. The papers report no table of their own for it.

Published there (ImageNet-1K, top-1, second hand): with definitions 26.2 at guidance 7.5 and 42.9 at guidance 2.0.

Cost: 8 data sets and 8 trainings, one of each those of every study, and the real base.
"""

from orchestrator.study import Figure, Study

STUDY = Study(
    name="guidance_and_prompts",
    question="How do guidance and prompts of the generator move accuracy on real images?",
    baselines=("real",),
    axes={
        "direction": ("synthetic",),
        "guidance": (1.0, 2.0, 4.0, 7.5),
        "prompt_style": ("c", "c, d_c"),
    },
    figure=Figure("curves", axis="guidance", series="prompt_style"),
)
