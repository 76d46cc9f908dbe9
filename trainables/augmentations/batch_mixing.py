"""Mixup and CutMix: each image of a batch mixed with its neighbour, its label with that one's (torchvision's)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torchvision.transforms import v2

from datagen.core.identity import derived_seed
from trainables.input.prefetch import Inputs
from trainables.spec import TrainingSpec


class BatchMixing:
    """Mixes a batch by Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019); with both, half of the batches by each.

    What is drawn depends on (seed, epoch, the batch's first image) alone, and is the same for all crops of a batch. Of
    CutMix a crop's label has the share of its own pixels, which rounding makes another at another resolution.
    """

    def __init__(self, spec: TrainingSpec) -> None:
        self._seed, classes = spec.seed, len(spec.train.class_names)
        self._ways: list[v2.Transform] = []
        if spec.mixup > 0:
            self._ways.append(v2.MixUp(alpha=spec.mixup, num_classes=classes))
        if spec.cutmix > 0:
            self._ways.append(v2.CutMix(alpha=spec.cutmix, num_classes=classes))

    def __call__(self, inputs: Inputs, epoch: int) -> Inputs:
        """The inputs with crops mixed, and labels [all crops x batch, classes] float32: shares of the classes."""
        seed = derived_seed(self._seed, "mixing", epoch, int(inputs.positions[0]))
        way = self._ways[seed % len(self._ways)]
        crops, labels = [], []
        for group in inputs.crops:
            mixed = []
            for crop in group.split(len(inputs.labels)):
                with torch.random.fork_rng(devices=[]):
                    torch.default_generator.manual_seed(
                        seed
                    )  # Of the CPU alone: torch.manual_seed would seed GPUs too.
                    image, label = way(crop, inputs.labels)
                mixed.append(image)
                labels.append(label)
            crops.append(torch.cat(mixed))
        return replace(inputs, crops=crops, labels=torch.cat(labels))
