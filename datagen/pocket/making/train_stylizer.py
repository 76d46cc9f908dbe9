"""Train the pocket style transfer: a small encoder, then the decoder that makes pictures of its features.

Usage:
    python -m datagen.pocket.making.train_stylizer --source DIR [--out DIR] [--seed 0]

The encoder learns three things at once: to tell from the statistics that AdaIN exchanges which style picture a crop is
of, to tell from what remains without them which class an image is of, and to keep what a decoder needs to rebuild a
picture. Then it is frozen, and the decoder is trained with the loss of the paper (Huang and Belongie, 2017, equations
11 to 13): content features that come back as they were meant, and style statistics at every scale of the encoder.

One core, one thread; the README of this folder says how long it takes. The same seed gives the same weights on the
same processor and versions of the libraries. The result replaces the folder ``--out`` only when it is complete.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from datagen.core.errors import InputError
from datagen.generation.adain import StyleTransfer, adain, channel_statistics
from datagen.pocket import IMAGE_SIZE, STYLES, STYLIZER
from datagen.pocket.classes import CLASSES
from datagen.pocket.making.fashion_mnist import GENERATOR_TRAIN, LabelledImages, pad, read_splits
from datagen.pocket.making.folders import replace_folder, unfinished_folder
from datagen.pocket.making.progress import Meter

WIDTHS = (16, 32, 64)
"""Channels at 32 x 32, at 16 x 16, and of the features, also 16 x 16: at 8 x 8 outlines dissolved."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast, fixed before a classifier saw the result.

    Attributes:
        encoder_steps: Steps of encoder and first decoder.
        decoder_steps: Steps of the decoder behind the frozen encoder.
        batch: Contents, and as many style crops, of a step.
        rate: Peak learning rate of AdamW's one-cycle schedule.
        style_weight: Weight of the style loss against the content loss.
    """

    encoder_steps: int = 500
    decoder_steps: int = 1500
    batch: int = 32
    rate: float = 2e-3
    style_weight: float = 50.0


def build_network() -> StyleTransfer:
    """Build an untrained network, layer for layer like the published one, with fewer scales and convolutions."""
    first, second, third = WIDTHS
    normalization = nn.Conv2d(3, 3, 1)
    with torch.no_grad():  # From 0..1 to -1..1; frozen.
        normalization.weight.copy_(2 * torch.eye(3)[:, :, None, None])
        normalization.bias = nn.Parameter(torch.full((3,), -1.0))
    normalization.requires_grad_(False)
    encoder = nn.Sequential(
        normalization,
        *_convolution(3, first),
        *_convolution(first, first),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        *_convolution(first, second),
        *_convolution(second, second),
        *_convolution(second, third),
    )
    decoder = nn.Sequential(
        *_convolution(third, second),
        *_convolution(second, second),
        *_convolution(second, first),
        nn.Upsample(scale_factor=2, mode="nearest"),
        *_convolution(first, first),
        *_convolution(first, 3)[:-1],
    )
    return StyleTransfer(encoder, decoder)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3), nn.ReLU()]


class StyleCrops:
    """Draws random crops of the style pictures, mirrored or not, scaled to the pocket image size."""

    def __init__(self, folder: Path) -> None:
        """Read the pictures of a folder.

        Raises:
            InputError: There are none.
        """
        paths = sorted(folder.glob("*.png"))
        if not paths:
            raise InputError(
                f"There are no pictures in {folder}: python -m datagen.pocket.making.draw_styles draws some."
            )
        self.pictures = [_tensor(np.asarray(Image.open(path).convert("RGB"))) for path in paths]

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.pictures)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw crops, float32 of shape (count, 3, 32, 32) from 0 to 1, and which pictures they are of."""
        chosen = torch.randint(len(self), (count,))
        return torch.stack([self._crop(self.pictures[number]) for number in chosen.tolist()]), chosen

    def _crop(self, picture: Tensor) -> Tensor:
        largest = min(picture.shape[-2:])
        side = int(torch.randint(IMAGE_SIZE, largest + 1, ()))
        top, left = (int(torch.randint(size - side + 1, ())) for size in picture.shape[-2:])
        crop = picture[None, :, top : top + side, left : left + side]
        scaled = functional.interpolate(crop, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True)[0]
        return scaled.flip(-1) if torch.rand(()) < 0.5 else scaled


class Contents:
    """Draws images of clothing, gray in three channels."""

    def __init__(self, data: LabelledImages) -> None:
        """Take the images of a split."""
        self.images, self.labels = pad(data.images), torch.from_numpy(data.labels)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw images, float32 of shape (count, 3, 32, 32) from 0 to 1, and their labels."""
        chosen = torch.randint(len(self.labels), (count,))
        return _tensor(np.repeat(self.images[chosen.numpy()][..., None], 3, axis=-1)), self.labels[chosen]


def train_encoder(network: StyleTransfer, contents: Contents, styles: StyleCrops, recipe: Recipe) -> dict[str, float]:
    """Train encoder and decoder in place on the three tasks; returns the last losses and the cost."""
    features = IMAGE_SIZE >> network.shrinks
    # The statistics differ in scale by channel; the normalization evens that out.
    names = nn.Sequential(nn.BatchNorm1d(2 * WIDTHS[-1]), nn.Linear(2 * WIDTHS[-1], len(styles)))
    kinds = nn.Linear(WIDTHS[-1] * features**2, len(CLASSES))
    steps = _Steps("encoder", [network, names, kinds], recipe.encoder_steps, recipe)
    for _ in range(recipe.encoder_steps):
        (images, labels), (crops, numbers) = contents.draw(recipe.batch), styles.draw(recipe.batch)
        pictures = torch.cat([images, crops])
        encoded = network.encoder(pictures)
        mean, deviation = channel_statistics(encoded)
        flat = torch.cat([mean, deviation], dim=1).flatten(1)
        plain = ((encoded - mean) / deviation).flatten(1)
        steps.take(
            rebuilding=10 * functional.mse_loss(network.decoder(encoded), pictures),
            style=0.2 * functional.cross_entropy(names(flat[len(images) :]), numbers),
            content=0.2 * functional.cross_entropy(kinds(plain[: len(images)]), labels),
        )
    return steps.outcome()


def train_decoder(network: StyleTransfer, contents: Contents, styles: StyleCrops, recipe: Recipe) -> dict[str, float]:
    """Train the decoder in place behind the frozen encoder; returns the last losses and the cost."""
    network.encoder.requires_grad_(False)
    steps = _Steps("decoder", [network.decoder], recipe.decoder_steps, recipe)
    for _ in range(recipe.decoder_steps):
        images, crops = contents.draw(recipe.batch)[0], styles.draw(recipe.batch)[0]
        with torch.no_grad():
            wanted = [channel_statistics(features) for features in network.scales(crops)]
            target = adain(network.encoder(images), wanted[-1])
        reached = network.scales(network.decoder(target))
        found = [channel_statistics(features) for features in reached]
        style = [
            functional.mse_loss(mine, theirs)
            for pair in zip(found, wanted, strict=True)
            for mine, theirs in zip(*pair, strict=True)
        ]
        steps.take(
            content=functional.mse_loss(reached[-1], target), style=recipe.style_weight * torch.stack(style).sum()
        )
    return steps.outcome()


class _Steps:
    """Optimizer steps over the weights of some modules, with progress and the mean of the last 100 losses."""

    def __init__(self, task: str, modules: Iterable[nn.Module], steps: int, recipe: Recipe) -> None:
        self._weights = [weight for module in modules for weight in module.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=recipe.rate, weight_decay=1e-4)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, max_lr=recipe.rate, total_steps=steps)
        self._meter, self._batch = Meter(task, steps * recipe.batch), recipe.batch
        self._losses: list[dict[str, float]] = []

    def take(self, **losses: Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._losses.append({name: loss.item() for name, loss in losses.items()})
        self._meter.advance(self._batch, " ".join(f"{name} {value:.3f}" for name, value in self._losses[-1].items()))

    def outcome(self) -> dict[str, float]:
        last = self._losses[-100:]
        means = {name: float(np.mean([losses[name] for losses in last])) for name in last[0]}
        return {**means, "core_seconds": self._meter.core_seconds}


def _tensor(colors: np.ndarray) -> Tensor:
    """Bytes of shape (..., height, width, 3) as float32 from 0 to 1 of shape (..., 3, height, width)."""
    return torch.from_numpy(colors.astype(np.float32) / 255.0).movedim(-1, -3).contiguous()


def save_network(network: StyleTransfer, description: dict[str, object], folder: Path) -> None:
    """Write weights and description, replacing the folder only when both are complete."""
    unfinished = unfinished_folder(folder)
    unfinished.mkdir(parents=True)
    for name, part in (("encoder", network.encoder), ("decoder", network.decoder)):
        save_file(
            {key: value.contiguous() for key, value in part.state_dict().items()}, unfinished / f"{name}.safetensors"
        )
    (unfinished / "training.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    replace_folder(unfinished, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and save the network.

    Args:
        arguments: Command line without the program's name; by default the process's own.

    Returns:
        Exit code: 0 when the network is in place, 2 when the source files cannot be used.
    """
    parser = argparse.ArgumentParser(description="Train the pocket style transfer.")
    parser.add_argument("--source", type=Path, required=True, help="folder with the four Fashion-MNIST .gz files")
    parser.add_argument("--styles", type=Path, default=STYLES, help="folder with the style pictures")
    parser.add_argument("--out", type=Path, default=STYLIZER, help="folder the network is written to")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (default 0)")
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)  # As in train_generator: the same order of additions every time.
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(options.seed)
    try:
        styles = StyleCrops(options.styles)
        contents = Contents(read_splits(options.source, (GENERATOR_TRAIN,))[0])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2

    recipe, network = Recipe(), build_network().train().to(memory_format=torch.channels_last)
    outcomes = {
        "encoder": train_encoder(network, contents, styles, recipe),
        "decoder": train_decoder(network, contents, styles, recipe),
    }
    description = {
        "seed": options.seed,
        "images_per_class": GENERATOR_TRAIN.images_per_class,
        "style_pictures": len(styles),
        "widths": WIDTHS,
        "recipe": asdict(recipe),
        "trainings": {part: {k: round(v, 4) for k, v in outcome.items()} for part, outcome in outcomes.items()},
        "core_seconds": round(time.process_time()),
        "versions": {"python": platform.python_version(), "torch": version("torch"), "numpy": version("numpy")},
        "processor": platform.machine(),
    }
    save_network(network, description, options.out)
    print(f"The stylizer is in {options.out}: {description['core_seconds']} core-seconds in all.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
