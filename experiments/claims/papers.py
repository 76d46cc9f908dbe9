"""The claims of both papers in their own words, by study: checked over the published tables and over measured ones."""

from orchestrator.claims.kinds import (
    TO_REAL,
    TO_SYNTHETIC,
    Cell,
    CostsAtMost,
    Differs,
    DropsAt,
    GainsCompared,
    GapRemains,
    Improves,
    LineFit,
    RanksHighest,
    RisesLess,
    RisesOver,
    StaysWithin,
    SteeperFromScratch,
    SteepestAfter,
)
from trainables.direction import SYNTHETIC
from trainables.spec import PAPERS_AUGMENTATIONS

PETS = "oxford_pets"
"""The name of the other data set, to which some claims are confined."""

LAYER_IMPORTANCE = (
    GapRemains("approximately 23 percentage point gap in accuracy", "Mind the Gap, 1", points=23.0),
    StaysWithin(
        "only decreases by 3.5 pp as layers 1 to 16 are replaced, and even increases up to 1.0 pp",
        "Mind the Gap, 4.2",
        direction=TO_REAL,
        up_to=16,
        falls=3.5,
        rises=1.0,
    ),
    DropsAt(
        "a larger decrease of 11.3 pp as the 17th layer is replaced",
        "Mind the Gap, 4.2",
        direction=TO_REAL,
        depth=17,
        points=11.3,
    ),
    StaysWithin(
        "increases by at most 2.0 pp from the baseline as we add the layers 1 to 14",
        "Mind the Gap, 4.2",
        direction=TO_SYNTHETIC,
        up_to=14,
        rises=2.0,
    ),
    RisesOver(
        "adding layers 15 to 17, progressively larger increases of 18.4 pp in total",
        "Mind the Gap, 4.2",
        direction=TO_SYNTHETIC,
        start=14,
        end=17,
        points=18.4,
    ),
    GapRemains("we directly see the gap between synthetic and real", "Fine-Tuning Role, 3.2", data_set=PETS),
    GapRemains(
        "pre-trained on ImageNet-1K: real data 93.1 %, synthetic data 80.2 %, confirming the gap",
        "Fine-Tuning Role, 3.2",
        data_set=PETS,
        variants=("imagenet_pretrained",),
        points=12.9,
    ),
    SteepestAfter(
        "a similar drop is observed for Pets in later layers (>15)",
        "Fine-Tuning Role, 3.2",
        data_set=PETS,
        direction=TO_REAL,
        depth=15,
    ),
    RisesLess(
        "this effect (18.4 pp over the layers 15 to 17) is not equally visible for Pets",
        "Fine-Tuning Role, 3.2",
        data_set=PETS,
        direction=TO_SYNTHETIC,
        start=14,
        end=17,
        points=18.4,
    ),
)

DATA_REDUCTION = (
    CostsAtMost(
        "using 1/8 of real data drops performance by 7 pp compared to 20 pp when omitting pre-training",
        "Mind the Gap, 1",
        fraction=1 / 8,
        transfer=7.7,
        scratch=20.1,
    ),
    CostsAtMost(
        "only decreases by 4.2 pp when using 1/8th of the entire real training data",
        "Mind the Gap, 4.3",
        fraction=1 / 8,
        own=4.2,
    ),
    LineFit(
        "decreases logarithmically: f(x) = -2.23 log(x) + 85.61",
        "Mind the Gap, Figure 3",
        slope=-2.23,
        intercept=85.61,
    ),
    SteeperFromScratch("for a randomly initialized model the drop in accuracy is steeper", "Mind the Gap, 4.3"),
)

NORMALIZATION = (
    Improves(
        "a slight improvement in accuracy for these interventions on both real and synthetic data",
        "Mind the Gap, 4.4",
        variants=("exact_input_norm", "batchnorm_train_mode"),
    ),
    GapRemains(
        "the gap might not be explainable by exact normalization",
        "Mind the Gap, 4.4",
        variants=("exact_input_norm", "batchnorm_train_mode"),
    ),
)

AUGMENTATION = (
    GapRemains("the accuracy gap still remains", "Mind the Gap, 4.4", variants=PAPERS_AUGMENTATIONS),
    GainsCompared(
        "could not replicate a larger improvement on synthetic data compared to no augmentation",
        "Mind the Gap, 4.4",
        variants=tuple(view for view in PAPERS_AUGMENTATIONS if view != "none"),
        over="none",
        sign=-1,
    ),
    GainsCompared(
        "we still observe this effect when comparing the PyTorch example and DINO",
        "Mind the Gap, 4.4",
        variants=("dino_multicrop",),
        over="pytorch_example",
        sign=1,
    ),
    RanksHighest(
        "DINO has the highest accuracy on both kinds of data",
        "Mind the Gap, Table 2",
        variant="dino_multicrop",
        others=tuple(view for view in PAPERS_AUGMENTATIONS if view != "dino_multicrop"),
    ),
)

STYLIZED = (
    GapRemains("despite this intervention, the accuracy gap remains", "Mind the Gap, 4.4", variants=("stylized",)),
    Improves(
        "lower accuracy values with respect to the baseline",
        "Mind the Gap, 4.4",
        variants=("stylized",),
        falls=True,
    ),
)

ORACLE_PROMPTS = (
    GapRemains(
        "we do not bridge the accuracy gap with this intervention",
        "Mind the Gap, 4.4",
        variants=("unclip_sd21",),
        real="",
    ),
    Differs(
        "compared to the SD v2.1 baseline, an improvement of 26.3 pp",
        "Mind the Gap, 4.4",
        higher=Cell(SYNTHETIC, variant="unclip_sd21"),
        lower=Cell(SYNTHETIC, variant="sd21"),
        points=26.3,
    ),
    Differs(
        "the lower-performing SD v2.1 baseline",
        "Mind the Gap, 4.4",
        higher=Cell(SYNTHETIC, variant="sd14"),
        lower=Cell(SYNTHETIC, variant="sd21"),
    ),
)
