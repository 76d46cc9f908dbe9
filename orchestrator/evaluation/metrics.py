"""Measures of predictions, by numpy alone.

Their values are torchmetrics', which the tests compare them with and which takes a process seconds to import.

A prediction is the class with the highest logit of those that the set has (ImageNet-R has 200 of the 1,000). Images
whose logits are not all numbers count as wrong, and are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BINS = 15
"""Of the expected calibration error: equal widths of confidence (Guo et al. 2017)."""


def chances(logits: np.ndarray, shared: Sequence[int]) -> np.ndarray:
    """Softmax over the shared classes, [n, classes] float64; 0 for the others, and for images without numbers."""
    masked = np.full(logits.shape, -np.inf)
    masked[:, list(shared)] = logits[:, list(shared)]
    broken = ~np.isfinite(logits[:, list(shared)]).all(1)
    masked[broken] = 0.0
    powers = np.exp(masked - masked.max(1, keepdims=True))
    result: np.ndarray = powers / powers.sum(1, keepdims=True)
    result[broken] = 0.0
    return result


def predicted(logits: np.ndarray, shared: Sequence[int]) -> np.ndarray:
    """The class of each image, [n] int64; -1 where logits are not numbers."""
    of_shared = logits[:, list(shared)]
    found = np.asarray(shared)[np.nan_to_num(of_shared, nan=-np.inf).argmax(1)]
    return np.where(np.isfinite(of_shared).all(1), found, -1)


def summary(logits: np.ndarray, labels: np.ndarray, shared: Sequence[int]) -> dict[str, Any]:
    """The measures of a set of predictions.

    Returns:
        images; top1 and top5, percent; nll, the mean negative log-likelihood in nats; brier, the mean squared distance
        of the chances from the truth, summed over classes; ece, the expected calibration error, percent; broken, how
        many images have logits that are not numbers.
    """
    known = chances(logits, shared)
    rows = np.arange(len(labels))
    classes = predicted(logits, shared)
    among = min(5, len(shared))
    best = np.argsort(-known, axis=1, kind="stable")[:, :among]
    broken = classes < 0
    truth = np.zeros_like(known)
    truth[rows, labels] = 1
    return {
        "images": len(labels),
        "top1": 100 * float((classes == labels).mean()),
        "top5": 100 * float(((best == labels[:, None]).any(1) & ~broken).mean()),
        "nll": float(-np.log(np.maximum(known[rows, labels], np.finfo(float).tiny)).mean()),
        "brier": float(((known - truth) ** 2).sum(1).mean()),
        "ece": 100 * calibration_error(known, labels),
        "broken": int(broken.sum()),
    }


def calibration_bins(known: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each bin of confidence its share of the images, mean confidence and accuracy, [BINS, 3]; 0 where it is empty.

    `known` are chances [n, classes]. Bins are open below and closed above, as torchmetrics has them.
    """
    confidence, right = known.max(1), known.argmax(1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, weights=values, minlength=BINS) for values in (confidence, right)]
    means = [np.divide(total, counts, out=np.zeros(BINS), where=counts > 0) for total in sums]
    return np.stack([counts / max(1, len(labels)), *means], axis=1)


def calibration_error(known: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error, 0..1: how far confidence and accuracy are apart, over bins of confidence."""
    share, confidence, accuracy = calibration_bins(known, labels).T
    return float((share * np.abs(confidence - accuracy)).sum())


def class_accuracies(classes: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Percent of each class's images that are right, [count]; not a number for a class without images."""
    images = np.bincount(labels, minlength=count)
    right = np.bincount(labels, weights=classes == labels, minlength=count)
    return np.divide(100 * right, images, out=np.full(count, np.nan), where=images > 0)


def confusion(classes: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """How many images of each class (rows) are taken for each (columns), [count, count] int64."""
    kept = classes >= 0
    pairs = np.bincount(labels[kept] * count + classes[kept], minlength=count * count)
    return pairs.reshape(count, count)


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Percent of the images that two trainings take for the same class."""
    return 100 * float((first == second).mean())


def error_overlap(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """Percent of the images that either has wrong which both have wrong; not a number if none is."""
    wrong = first != labels, second != labels
    either = (wrong[0] | wrong[1]).sum()
    return 100 * float((wrong[0] & wrong[1]).sum() / either) if either else float("nan")
