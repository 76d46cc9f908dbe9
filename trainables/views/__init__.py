"""Views: the augmented, normalized tensors a network is trained on, and the plain ones it is evaluated on.

A view is chosen by name in a `TrainingSpec`; each has a file of its own in this folder and an entry in `VIEWS_BY_NAME`.
A sample's view depends on (seed, epoch, image) alone: not on the batch it is in, nor on who computes it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datagen.identity import derived_seed
from trainables.spec import TrainingSpec
from trainables.views.none import PlainView
from trainables.views.pytorch_example import PyTorchExample
from trainables.views.view import View

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

VIEWS_BY_NAME: dict[str, type[View]] = {"none": PlainView, "pytorch_example": PyTorchExample}


class Views:
    """Makes the training views of a data set of `images` images."""

    def __init__(self, spec: TrainingSpec, images: int) -> None:
        self._view = VIEWS_BY_NAME[spec.views](spec)
        self._seed, self._images = spec.seed, images
        self._epoch, self._uniforms = 0, torch.empty(0)

    def __call__(self, images: Tensor, positions: Tensor, epoch: int) -> Tensor:
        """[batch, 3, height, width] uint8 to normalized [batch, 3, size, size] float32.

        `positions` [batch] are the images' places in the data set, which with the seed and the epoch fix their views.
        """
        if epoch != self._epoch:
            # One table for the epoch, a row for each image: 126,689 images and 23 numbers take 23 MB and 20 ms.
            generator = torch.Generator().manual_seed(derived_seed(self._seed, "views", epoch))
            shape = (self._images, self._view.uniforms)
            self._uniforms = torch.rand(shape, generator=generator, dtype=torch.float64)
            self._epoch = epoch
        return normalized(self._view(images, self._uniforms[positions].to(images.device)))


def evaluation_view(images: Tensor, spec: TrainingSpec) -> Tensor:
    """[batch, 3, height, width] uint8 to normalized [batch, 3, size, size] float32, with nothing random."""
    return normalized(PlainView(spec)(images, torch.empty(len(images), 0)))


def normalized(images: Tensor) -> Tensor:
    """Pixels [batch, 3, h, w] in 0..255 to float32 with ImageNet's mean and standard deviation, channels last."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1) * 255
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)
