"""Measures of features: how near two sets are, how much of one the other covers, how diverse a set is.

All take features [n, d] float64 of images, one row each. What no library here has is written from its definition; the
tests compare it with torchmetrics' inner functions, where it has them, and with the definition spelled out.
"""

from __future__ import annotations

import numpy as np

from datagen.core.errors import InputError

NEAREST = 5
"""Neighbours of precision, recall, density and coverage, as in "When Pretty Isn't Useful" (arXiv:2602.19946)."""
ROWS = 1024
"""Rows of a matrix of distances that are held at once: against 100,000 images 0.8 GB."""


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [n, m]."""
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    return np.maximum(squares, 0.0)


def _radii(features: np.ndarray, nearest: int) -> np.ndarray:
    """Of each image the squared distance to its so manieth neighbour in the same set, [n]."""
    found = np.empty(len(features))
    for start in range(0, len(features), ROWS):
        part = _distances(features[start : start + ROWS], features)
        found[start : start + ROWS] = np.partition(part, nearest, axis=1)[:, nearest]  # The nearest is itself.
    return found


def manifold_measures(real: np.ndarray, synthetic: np.ndarray, nearest: int = NEAREST) -> dict[str, float]:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Precision: the share of synthetic images inside a ball around a real one that reaches to its k-th neighbour; recall:
    the share of real images inside such a ball of the synthetic. Density: how many balls of the real hold a synthetic
    image, on the average, over k. Coverage: the share of the real whose ball holds a synthetic image.

    Raises:
        InputError: a set has too few images for so many neighbours.
    """
    for name, features in (("reference", real), ("set", synthetic)):
        if len(features) <= nearest:
            raise InputError(f"The {name} has {len(features)} images, too few for {nearest} nearest neighbours.")
    balls, own_balls = _radii(real, nearest), _radii(synthetic, nearest)
    inside_any, held = np.zeros(len(synthetic), bool), np.zeros(len(synthetic))
    recalled, covered = np.empty(len(real), bool), np.empty(len(real), bool)
    for start in range(0, len(real), ROWS):
        rows = slice(start, start + ROWS)
        distances = _distances(real[rows], synthetic)
        within = distances < balls[rows, None]
        inside_any |= within.any(0)
        held += within.sum(0)
        covered[rows] = within.any(1)
        recalled[rows] = (distances < own_balls[None]).any(1)
    return {
        "precision": float(inside_any.mean()),
        "recall": float(recalled.mean()),
        "density": float(held.mean() / nearest),
        "coverage": float(covered.mean()),
    }


def by_class(
    real: np.ndarray, real_labels: np.ndarray, synthetic: np.ndarray, labels: np.ndarray, nearest: int = NEAREST
) -> dict[str, float]:
    """The mean of `manifold_measures` over the classes that have enough images in both sets; empty if none has."""
    shared = [
        label
        for label in np.unique(labels)
        if (labels == label).sum() > nearest and (real_labels == label).sum() > nearest
    ]
    found = [manifold_measures(real[real_labels == one], synthetic[labels == one], nearest) for one in shared]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]} if found else {}


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 sqrt(C1 C2)) of means and covariances (Heusel et al. 2017)."""
    difference = first.mean(0) - second.mean(0)
    covariances = [np.atleast_2d(np.cov(features, rowvar=False)) for features in (first, second)]
    roots = np.linalg.eigvals(covariances[0] @ covariances[1])
    trace = covariances[0].trace() + covariances[1].trace() - 2 * np.sqrt(np.maximum(roots.real, 0)).sum()
    return max(0.0, float(difference @ difference + trace))  # Of equal sets rounding gives -1e-6.


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy with the kernel (x y / d + 1)^3 (Binkowski et al. 2018)."""
    d = first.shape[1]

    def mean(a: np.ndarray, b: np.ndarray, *, same: bool) -> float:
        total = 0.0
        for start in range(0, len(a), ROWS):
            part = (a[start : start + ROWS] @ b.T / d + 1) ** 3
            total += float(part.sum())
        if same:
            total -= float(((np.einsum("ij,ij->i", a, a) / d + 1) ** 3).sum())
        return total / (len(a) * (len(b) - (1 if same else 0)))

    return mean(first, first, same=True) + mean(second, second, same=True) - 2 * mean(first, second, same=False)


def vendi_score(features: np.ndarray) -> float:
    """The exponential of the entropy of the eigenvalues of the cosine kernel over n (Friedman and Dieng 2023).

    An effective number of different images: 1 where all are alike, n where they have nothing in common; at most d.
    """
    unit = _unit(features)
    values = np.linalg.eigvalsh(unit.T @ unit / len(unit))  # The same nonzero eigenvalues as of the n x n kernel.
    positive = values[values > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def near_duplicates(
    first: np.ndarray, second: np.ndarray | None = None, similarity: float = 0.99
) -> list[tuple[int, int, float]]:
    """Pairs of images whose features have at least that cosine, the most alike first; without `second` within a set."""
    a = _unit(first)
    b = a if second is None else _unit(second)
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(a), ROWS):
        cosines = a[start : start + ROWS] @ b.T
        rows, columns = np.nonzero(cosines >= similarity)
        for row, column in zip((rows + start).tolist(), columns.tolist(), strict=True):
            if second is not None or row < column:
                pairs.append((row, column, float(cosines[row - start, column])))
    return sorted(pairs, key=lambda pair: -pair[2])


def count_near_duplicates(first: np.ndarray, second: np.ndarray | None = None, similarity: float = 0.99) -> int:
    """How many pairs `near_duplicates` would name; in little memory however many there are."""
    a = _unit(first)
    b = a if second is None else _unit(second)
    found = sum(int((a[start : start + ROWS] @ b.T >= similarity).sum()) for start in range(0, len(a), ROWS))
    itself = int(((a * a).sum(1) >= similarity).sum()) if second is None else 0
    return found if second is not None else (found - itself) // 2


def _unit(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    result: np.ndarray = features / np.maximum(lengths, 1e-12)
    return result
