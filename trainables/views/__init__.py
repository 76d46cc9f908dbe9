"""Views: the augmented, normalized tensors a network is trained on, and the plain ones it is evaluated on.

A view is chosen by name in a `TrainingSpec`; each has a file of its own in this folder and an entry in `VIEWS_BY_NAME`.
A sample's view depends on (seed, epoch, image) alone: not on the batch it is in, nor on who computes it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from datagen.identity import derived_seed
from trainables.spec import TrainingSpec
from trainables.views.none import plain_view
from trainables.views.pytorch_example import pytorch_example

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

View = Callable[[Tensor], Tensor]
"""One image [3, height, width] uint8 to [3, image_size, image_size] uint8, drawing from torch's global generator."""

VIEWS_BY_NAME: dict[str, Callable[[TrainingSpec], View]] = {"none": plain_view, "pytorch_example": pytorch_example}


class Views:
    """Makes the training views of one training's images."""

    def __init__(self, spec: TrainingSpec) -> None:
        self._view = VIEWS_BY_NAME[spec.views](spec)
        self._random = spec.views != "none"
        self._seed = spec.seed

    def __call__(self, images: Tensor, positions: Tensor, epoch: int) -> Tensor:
        """[batch, 3, height, width] uint8 to normalized [batch, 3, size, size] float32.

        `positions` [batch] are the images' places in the data set, which with the seed and the epoch fix their views.
        """
        if not self._random:
            return normalized(torch.stack([self._view(image) for image in images]))
        stream = derived_seed(self._seed, "views", epoch)
        views = []
        with torch.random.fork_rng(devices=[]):
            for image, position in zip(images, positions.tolist(), strict=True):
                # Cheaper than a hash for each sample; consecutive seeds of Mersenne Twister are unrelated streams.
                torch.manual_seed((stream + position) % 2**63)
                views.append(self._view(image))
        return normalized(torch.stack(views))


def evaluation_view(images: Tensor, spec: TrainingSpec) -> Tensor:
    """[batch, 3, height, width] uint8 to normalized [batch, 3, size, size] float32, with nothing random."""
    view = plain_view(spec)
    return normalized(view(images))


def normalized(images: Tensor) -> Tensor:
    """uint8 [batch, 3, h, w] (0..255) to float32 with ImageNet's mean and standard deviation, channels last."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1) * 255
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)
