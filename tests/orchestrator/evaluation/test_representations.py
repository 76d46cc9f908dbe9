"""Layers are compared by measures that are 1, 50 or 100 where they must be."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.evaluation.representations import domain_accuracy, linear_cka, probe_accuracy

DRAWN = np.random.default_rng(2)
FEATURES = DRAWN.standard_normal((400, 6))


def test_cka_is_blind_to_rotation_and_scale_and_sees_unrelated_features() -> None:
    rotation, _ = np.linalg.qr(DRAWN.standard_normal((6, 6)))
    assert linear_cka(FEATURES, 3 * FEATURES @ rotation + 5) == pytest.approx(1)
    assert linear_cka(FEATURES, DRAWN.standard_normal((400, 6))) < 0.05
    kernels = [x @ x.T for x in (FEATURES - FEATURES.mean(0), (FEATURES**2) - (FEATURES**2).mean(0))]
    by_kernels = (kernels[0] * kernels[1]).sum() / (np.linalg.norm(kernels[0]) * np.linalg.norm(kernels[1]))
    assert linear_cka(FEATURES, FEATURES**2) == pytest.approx(by_kernels)


def test_a_probe_finds_what_is_linear_and_nothing_where_there_is_nothing() -> None:
    labels = FEATURES[:, :3].argmax(1)
    assert probe_accuracy(FEATURES[:200], labels[:200], FEATURES[200:], labels[200:]) > 85
    shuffled = DRAWN.permutation(labels)
    assert probe_accuracy(FEATURES[:200], shuffled[:200], FEATURES[200:], shuffled[200:]) < 50


def test_kinds_of_images_are_told_apart_by_their_shift() -> None:
    assert domain_accuracy(FEATURES[:200], FEATURES[200:]) == pytest.approx(50, abs=7)
    assert domain_accuracy(FEATURES[:200], FEATURES[200:] + 3) > 99
