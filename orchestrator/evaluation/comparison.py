"""Whether two trainings differ, counted over test images and over seeds.

**McNemar's test** (exact) asks of one seed: of the images that just one of two networks has right, are those of either
about half? It counts images, and is blind to what another seed would give.

**The bootstrap over both** resamples seeds, and images, the same for both networks: 5,000 images at 85 % have a
standard error of 0.5 points, which an interval over seeds leaves out. Simulated coverage of its nominal 95 % (400
draws; 1,000 images of normal difficulty, shared by all networks; each network's own view of an image, shared by its
seeds, and each seed's, with standard deviations of 0.4 and 0.6 of the difficulty's; seeds that are better or worse at
all images by 0.06): 73 % with one seed, which is over images alone, 94 % with 2, 93 % with 3, 94 % with 5, 97 % with
10.

**Seeds needed**: so many that a paired t test finds a difference with a chance of 80 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
POWER = 0.8
RESAMPLES = 2000
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Comparison:
    """Two networks, or two kinds of them, on the same images.

    Attributes:
        difference: of the second's top-1 from the first's, points, mean over seeds.
        low: of its 95 % interval over images and, with two or more, seeds.
        high: likewise.
        p: of McNemar's test of the first seed.
        images: how many.
        seeds: how many.
        agreement: percent of the images that both take for the same class, first seed.
        overlap: percent of the images that either has wrong which both have wrong, first seed.
    """

    difference: float
    low: float
    high: float
    p: float
    images: int
    seeds: int
    agreement: float
    overlap: float

    def sentence(self, first: str, second: str) -> str:
        """In words, for example "Trained on synthetic images against real ones: -3.2 points [-6.0, -0.4] (...)"."""
        over = f"{self.images:,} images" + (f" and {self.seeds} seeds" if self.seeds > 1 else ", one seed")
        p = "< 0.001" if self.p < 0.001 else f"= {self.p:.3f}"
        return (
            f"Trained on {second} images against {first} ones: {self.difference:+.1f} points on the validation images "
            f"[{self.low:+.1f}, {self.high:+.1f}] (95 % bootstrap over {over}; McNemar p {p} for seed 0). The two "
            f"agree on {self.agreement:.0f} % of the images and share {self.overlap:.0f} % of their errors."
        )


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact two-sided p-value of the images, [n] bool each, that just one of two networks has right."""
    from scipy import stats

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    disagreements = only_first + only_second
    return float(stats.binomtest(only_first, disagreements).pvalue) if disagreements else 1.0


def paired_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """95 % interval of the difference in percent of images right, [seeds, n] bool each, paired in both."""
    difference = 100 * (second.astype(float) - first.astype(float))
    generator = np.random.default_rng(0)
    seeds, images = difference.shape
    found = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = generator.integers(seeds, size=seeds)
        counts = np.bincount(generator.integers(images, size=images), minlength=images)
        found[number] = (difference[drawn].mean(0) @ counts) / images
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def seeds_needed(difference: float, deviation: float) -> int | None:
    """How many seeds a paired t test at 5 % needs to find a difference with a chance of 80 %; None above 1,000.

    Args:
        difference: to be found, in points.
        deviation: of the paired differences over seeds, in points.
    """
    from scipy import stats

    for seeds in range(2, MOST_SEEDS + 1):
        limit = stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1)
        shift = abs(difference) / deviation * seeds**0.5 if deviation > 0 else np.inf
        power = stats.nct.sf(limit, seeds - 1, shift) if np.isfinite(shift) else 1.0
        if power >= POWER:
            return seeds
    return None
