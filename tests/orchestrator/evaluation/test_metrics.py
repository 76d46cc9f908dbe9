"""Measures of predictions are torchmetrics' own, over the classes that a set has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from orchestrator.evaluation.metrics import (
    BINS,
    agreement,
    chances,
    class_accuracies,
    confusion,
    error_overlap,
    predicted,
    summary,
)

CLASSES = 7
DRAWN = np.random.default_rng(0)
LABELS = DRAWN.integers(0, CLASSES, 500)
LOGITS = (3 * DRAWN.standard_normal((500, CLASSES)) + 2 * np.eye(CLASSES)[LABELS]).astype(np.float32)
ALL = tuple(range(CLASSES))


def test_accuracies_and_calibration_are_torchmetrics() -> None:
    found = summary(LOGITS, LABELS, ALL)
    logits, labels = torch.from_numpy(LOGITS), torch.from_numpy(LABELS)
    for name, among in (("top1", 1), ("top5", 5)):
        expected = multiclass_accuracy(logits, labels, CLASSES, average="micro", top_k=among)
        assert found[name] == pytest.approx(100 * float(expected))
    error = multiclass_calibration_error(logits.softmax(1), labels, CLASSES, n_bins=BINS, norm="l1")
    assert found["ece"] == pytest.approx(100 * float(error), rel=1e-4)
    assert found["nll"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    truth = torch.nn.functional.one_hot(labels, CLASSES)
    assert found["brier"] == pytest.approx(float((logits.softmax(1) - truth).square().sum(1).mean()), rel=1e-5)


def test_accuracy_by_class_and_confusion_are_torchmetrics() -> None:
    classes = predicted(LOGITS, ALL)
    logits, labels = torch.from_numpy(LOGITS), torch.from_numpy(LABELS)
    expected = multiclass_accuracy(logits, labels, CLASSES, average="none")
    assert class_accuracies(classes, LABELS, CLASSES) == pytest.approx(100 * expected.numpy(), rel=1e-5)
    assert (confusion(classes, LABELS, CLASSES) == multiclass_confusion_matrix(logits, labels, CLASSES).numpy()).all()
    assert np.isnan(class_accuracies(classes, LABELS, CLASSES + 1)[-1])


def test_only_the_classes_that_a_set_has_are_predicted() -> None:
    shared = (1, 4)
    kept = np.isin(LABELS, shared)
    classes = predicted(LOGITS[kept], shared)
    assert set(classes) == {1, 4}
    assert chances(LOGITS, shared).sum(1) == pytest.approx(np.ones(500))
    assert summary(LOGITS[kept], LABELS[kept], shared)["top5"] == 100
    assert summary(LOGITS[kept], LABELS[kept], shared)["top1"] > summary(LOGITS[kept], LABELS[kept], ALL)["top1"]


def test_what_is_no_number_is_wrong_and_counted() -> None:
    logits = LOGITS.copy()
    logits[:10] = np.nan
    logits[10, 2] = np.inf
    found = summary(logits, LABELS, ALL)
    assert found["broken"] == 11
    assert np.isfinite(found["nll"]) and found["top1"] < summary(LOGITS, LABELS, ALL)["top1"]


def test_agreement_and_overlap_of_errors_count_images() -> None:
    labels, first, second = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    assert agreement(first, second) == 50
    assert error_overlap(first, second, labels) == pytest.approx(100 / 3)
    assert np.isnan(error_overlap(labels, labels, labels))
