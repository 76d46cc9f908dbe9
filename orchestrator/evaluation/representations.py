"""How two networks' features, or one network's features of two kinds of images, compare: by numpy alone."""

from __future__ import annotations

import numpy as np

RIDGE = 1e-2
"""Of the probes' regression on standardized features, times the number of images."""


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment of two networks' features of the same images (Kornblith et al. 2019, Eq. 3).

    0..1, and 1 where they are the same but for rotation and scale. Features are [n, d] and [n, e].
    """
    a, b = first - first.mean(0), second - second.mean(0)
    common = np.linalg.norm(b.T @ a) ** 2
    scale = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(common / scale) if scale > 0 else float("nan")


def probe_accuracy(
    features: np.ndarray, labels: np.ndarray, test_features: np.ndarray, test_labels: np.ndarray
) -> float:
    """Percent of the test images that a linear probe classifies right: ridge regression to the classes.

    Features [n, d] are standardized by the training images'; labels are [n] int64.
    """
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    inputs = np.concatenate([(features - mean) / deviation, np.ones((len(features), 1))], axis=1)
    classes = np.unique(labels)
    targets = (labels[:, None] == classes).astype(float)
    penalty = RIDGE * len(inputs) * np.eye(inputs.shape[1])
    penalty[-1, -1] = 0.0
    weights = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets)
    tests = np.concatenate([(test_features - mean) / deviation, np.ones((len(test_features), 1))], axis=1)
    return 100 * float((classes[(tests @ weights).argmax(1)] == test_labels).mean())


def domain_accuracy(first: np.ndarray, second: np.ndarray) -> float:
    """Percent of images whose kind a linear classifier tells from features [n, d], each half tested by the other.

    50 where the two kinds look alike to the layer; of the larger set as many images are taken as the smaller has.
    """
    count = min(len(first), len(second))
    order = np.random.default_rng(0).permutation(count)
    halves = order[: count // 2], order[count // 2 :]
    labels = np.repeat([0, 1], [len(halves[0])] * 2), np.repeat([0, 1], [len(halves[1])] * 2)
    parts = [np.concatenate([first[half], second[half]]) for half in halves]
    there = probe_accuracy(parts[0], labels[0], parts[1], labels[1])
    back = probe_accuracy(parts[1], labels[1], parts[0], labels[0])
    return (there + back) / 2
