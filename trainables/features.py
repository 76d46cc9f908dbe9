"""Frozen features of images that look the same in every epoch, computed once and kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.input.prefetch import to_device
from trainables.spec import TrainingSpec

KEPT_LIMIT = 1024**3
"""Bytes on the device. At N = 17 the pocket images take 2.6 MB, ImageNet-100 (2048 x 7 x 7 each) would take 50 GB."""


class KeptFeatures:
    """The activations at a cohort's cuts, image by image, as far as they are known and fit.

    Where the whole batch is known neither the image, nor its crop, nor the trunk is needed. An image's activation does
    not depend on its neighbours as long as batches are of one size, so this changes no bit (`tests/test_features.py`).
    """

    def __init__(self, images: int) -> None:
        self._known = torch.zeros(images, dtype=torch.bool)
        self._kept: dict[int, Tensor] = {}

    def knows(self, positions: Tensor) -> bool:
        """Whether those of all images at positions [batch] are kept."""
        return bool(self._known[positions].all())

    def get(self, positions: Tensor) -> dict[int, Tensor]:
        """{cut: activations} of the images at positions [batch], all of which are known."""
        return {
            cut: kept[to_device(positions, kept.device)].contiguous(memory_format=_layout(kept))
            for cut, kept in self._kept.items()
        }

    def keep(self, positions: Tensor, activations: Mapping[int, Tensor]) -> None:
        """Keeps what the trunk gave for the images at positions [batch]; nothing if all images would not fit."""
        images = len(self._known)
        if sum(value[0].numel() * value.element_size() for value in activations.values()) * images > KEPT_LIMIT:
            return
        for cut, value in activations.items():
            if cut not in self._kept:
                self._kept[cut] = value.new_empty((images, *value.shape[1:])).to(memory_format=_layout(value))
            self._kept[cut][to_device(positions, value.device)] = value
        self._known[positions] = True


def may_keep(spec: TrainingSpec) -> bool:
    """Whether a cohort's frozen features are the same in every epoch: no augmentation, and a trunk that stays."""
    evaluation_drifts = spec.normalization == "batchnorm_train" and spec.batchnorm_evaluation_statistics == "drifting"
    still = spec.frozen_batchnorm == "eval" and not evaluation_drifts
    same = spec.augmentation == "none" and not spec.mixes and not spec.gaussian_noise and not spec.random_erasing
    return spec.source is not None and same and still


def _layout(tensor: Tensor) -> torch.memory_format:
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format
