"""One training of the pocket recipe as a careful user would write it in plain torch, sharing nothing.

The network, the images and the recipe are mindgap's, so that accuracies can be compared; the data pipeline, freezing,
training and evaluation are the usual torch and torchvision code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from trainables.input.data import ImageSet, load_images
from trainables.models.layers import LAYERS
from trainables.models.networks import build_layers

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PlainTask:
    """One training: the folders of its images, its recipe, and where to take frozen layers from."""

    train: Path
    validation: Path
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: int
    minimum_crop: float
    frozen_layers: int = 0
    seed: int = 0
    source: Path | None = None


class Augmented(Dataset[tuple[Tensor, int]]):
    """Images with a transform for each, as `torchvision.datasets.ImageFolder` has it."""

    def __init__(self, images: ImageSet, transform: v2.Transform) -> None:
        assert isinstance(images.images, Tensor)
        self._pixels, self._labels, self._transform = images.images, images.labels, transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """One transformed image and its label."""
        return self._transform(self._pixels[position]), int(self._labels[position])


def train(task: PlainTask, images: tuple[ImageSet, ImageSet] | None = None) -> tuple[dict[str, Tensor], list[float]]:
    """Trains and evaluates after every epoch; returns the network's state and top-1 (percent) of each epoch."""
    torch.manual_seed(task.seed)
    train_images, validation_images = images or (load_images(task.train), load_images(task.validation))
    normalize = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    crop = v2.RandomResizedCrop(32, scale=(task.minimum_crop, 1.0), antialias=True)
    augmented = Augmented(train_images, v2.Compose([crop, v2.RandomHorizontalFlip(), *normalize]))
    plain = Augmented(validation_images, v2.Compose(normalize))
    loader = DataLoader(augmented, task.batch_size, shuffle=True, drop_last=True)
    network, frozen = _network(task)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": 1e-4},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=task.learning_rate * task.batch_size / 256,
        momentum=0.9,
    )
    warmup, total = task.warmup_epochs * len(loader), task.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_peak(step, warmup, total))
    top1 = []
    for _ in range(task.epochs):
        network.train()
        for module in frozen:
            module.eval()
        for views, labels in loader:
            loss = nn.functional.cross_entropy(network(views.to(memory_format=torch.channels_last)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        top1.append(_evaluate(network, DataLoader(plain, 250)))
    return {key: value.detach() for key, value in network.timm_state().items()}, top1  # type: ignore[operator]


def _network(task: PlainTask) -> tuple[nn.Module, list[nn.Module]]:
    """The network, with its first layers frozen, and those layers."""
    network = build_layers("resnet50_slim", 10, task.seed)
    for module in network.modules():
        if type(module).__name__ == "PointwiseConv2d":
            module.__class__ = nn.Conv2d  # timm's own network
    names = [name for layer in LAYERS["resnet50_slim"][: task.frozen_layers] for name in layer.modules]
    frozen = [part for name, part in zip(network.names, network.parts, strict=True) if name in names]
    if task.source is not None:
        state = torch.load(task.source, weights_only=True)
        with torch.no_grad():
            for key, value in network.timm_state().items():
                if any(key.startswith(f"{name}.") for name in names):
                    value.copy_(state[key])
    for module in frozen:
        module.requires_grad_(False)
    return network, frozen


def _share_of_peak(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return step / max(1, warmup - 1)
    return (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


@torch.no_grad()
def _evaluate(network: nn.Module, loader: DataLoader[tuple[Tensor, int]]) -> float:
    network.eval()
    right = total = 0
    for views, labels in loader:
        right += int((network(views.to(memory_format=torch.channels_last)).argmax(1) == labels).sum())
        total += len(labels)
    return 100 * right / total
