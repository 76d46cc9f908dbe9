"""Style transfer by adaptive instance normalization (AdaIN; Huang and Belongie, 2017), after its PyTorch version.

An encoder (the normalised VGG up to relu4_1, as published) turns pictures into features; the content's features take
over the mean and standard deviation of the style's in every channel; a decoder turns the result into a picture.

The networks are what their weights say: the numbers of the layers in a state dict of `nn.Sequential` tell where the
pictures are made smaller or larger, and the tensors' shapes tell the widths. So the published `vgg_normalised.pth` and
`decoder.pth` (naoto0804/pytorch-AdaIN v0.0.0) and the small network that ships are loaded by the same lines.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from datagen.core.errors import InputError

ENCODER_FILES = ("encoder.safetensors", "vgg_normalised.safetensors", "vgg_normalised.pth")
DECODER_FILES = ("decoder.safetensors", "decoder.pth")
VARIANCE_FLOOR = 1e-5
"""Added to each variance before the root, as published."""

Statistics = tuple[Tensor, Tensor]
"""Mean and standard deviation of each channel, float32 of shape (count, channels, 1, 1)."""


class StyleTransfer(nn.Module):
    """An encoder and its decoder.

    Attributes:
        encoder: pictures to features; ends with the rectifier after the first convolution of its smallest scale.
        decoder: features to pictures.
        shrinks: how many times the encoder halves the side of a picture.
    """

    def __init__(self, encoder: nn.Sequential, decoder: nn.Sequential) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.shrinks = sum(isinstance(layer, nn.MaxPool2d) for layer in encoder)

    @property
    def smallest_side(self) -> int:
        """Pictures must have at least this many pixels on each side: reflection needs two features a side."""
        return int(2 ** (self.shrinks + 1))

    def scales(self, pictures: Tensor) -> list[Tensor]:
        """The features after the first rectifier of each scale (relu1_1, relu2_1...), and the encoder's output.

        Args:
            pictures: RGB from 0 to 1, shape (count, 3, height, width).
        """
        features, found, taken = pictures, [], False
        for place, layer in enumerate(self.encoder):
            features = layer(features)
            if isinstance(layer, nn.ReLU) and (not taken or place == len(self.encoder) - 1):
                found.append(features)
                taken = True
            taken = taken and not isinstance(layer, nn.MaxPool2d)
        return found

    def statistics(self, pictures: Tensor) -> Statistics:
        """The style of pictures, RGB from 0 to 1 of shape (count, 3, height, width)."""
        return channel_statistics(self.encoder(pictures))

    def forward(self, content: Tensor, style: Statistics, alpha: float = 1.0) -> Tensor:
        """Draws contents in styles.

        Args:
            content: RGB from 0 to 1, shape (count, 3, height, width).
            style: of each, as `statistics` returns it.
            alpha: share (0..1) of the style; the rest of the features stays the content's.

        Returns:
            RGB around 0..1 (not clipped), of the content's shape and dtype.
        """
        features = self.encoder(content)
        blended = alpha * adain(features, style) + (1 - alpha) * features
        # Sides that are no multiple of the scale come back rounded up.
        drawn: Tensor = self.decoder(blended)
        return drawn[..., : content.shape[-2], : content.shape[-1]]


def channel_statistics(features: Tensor) -> Statistics:
    """Mean and standard deviation over all positions (variance unbiased, plus 1e-5), in float32."""
    flat = features.float().flatten(2)
    variance, mean = torch.var_mean(flat, dim=2)
    return mean[:, :, None, None], (variance + VARIANCE_FLOOR).sqrt()[:, :, None, None]


def adain(features: Tensor, style: Statistics) -> Tensor:
    """Equation 8 of the paper: the features with each channel's mean and standard deviation replaced."""
    mean, deviation = channel_statistics(features)
    return ((features.float() - mean) / deviation * style[1] + style[0]).to(features.dtype)


def load_style_transfer(folder: Path) -> StyleTransfer:
    """Loads encoder and decoder from a folder, in evaluation mode, float32 on the CPU.

    Args:
        folder: holds `encoder.safetensors` and `decoder.safetensors`, or the published `vgg_normalised.pth` and
            `decoder.pth`. Of an encoder that goes on beyond what the decoder was made for, the rest is left out.

    Raises:
        InputError: a file is missing or damaged, holds anything but tensors, or is no such network.
    """
    encoder_file, decoder_file = _weights_file(folder, ENCODER_FILES), _weights_file(folder, DECODER_FILES)
    decoder = sequential(_read_state(decoder_file), decoder_file, _doubling, last_rectified=False)
    encoder = sequential(_read_state(encoder_file), encoder_file, _halving, last_rectified=True)
    channels = next(layer.in_channels for layer in decoder if isinstance(layer, nn.Conv2d))
    doublings = sum(isinstance(layer, nn.Upsample) for layer in decoder)
    encoder = _until(encoder, channels)
    if len(encoder) == 0 or sum(isinstance(layer, nn.MaxPool2d) for layer in encoder) != doublings:
        raise InputError(
            f"{encoder_file} and {decoder_file} do not belong together: the decoder takes {channels} channels at 1/"
            f"{2**doublings} of the size, and the encoder has none such. Use a pair that was published together."
        )
    return StyleTransfer(encoder, decoder).eval().requires_grad_(False)


def sequential(
    state: Mapping[str, Tensor], file: Path, resize: Callable[[], nn.Module], *, last_rectified: bool
) -> nn.Sequential:
    """Builds the network whose weights these are, by the numbers of its layers, and loads them.

    Between two convolutions lie two layers (rectifier, reflection padding), three (with `resize` between them), or
    none or the padding alone after one of 1 x 1 without rectifier.

    Args:
        state: "<number>.weight" and "<number>.bias" of the convolutions.
        file: where they are from, for errors.
        resize: makes the layer that halves or doubles the side.
        last_rectified: whether a rectifier follows the last convolution.

    Raises:
        InputError: the names or shapes are not those of such a network.
    """
    numbers = sorted({int(name.split(".")[0]) for name in state if re.fullmatch(r"\d+\.(weight|bias)", name)})
    named = {f"{number}.{kind}" for number in numbers for kind in ("weight", "bias")}
    layers: list[nn.Module] = []
    try:
        if named != set(state) or not numbers:
            raise ValueError
        with torch.device("meta"):  # their values come from the state
            for number in numbers:
                weight, plain = state[f"{number}.weight"], not layers or _is_linear(layers[-1])
                layers += _between(number - len(layers), weight.shape[2] > 1, plain, resize)
                layers.append(nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[-1]))
            network = nn.Sequential(*layers, *([nn.ReLU()] if last_rectified else []))
        network.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    except (ValueError, IndexError, RuntimeError):
        raise InputError(
            f"{file} does not hold a plain sequence of convolutions as published with pytorch-AdaIN v0.0.0."
            " Use encoder.safetensors and decoder.safetensors, or vgg_normalised.pth and decoder.pth."
        ) from None
    return network


def _halving() -> nn.Module:
    return nn.MaxPool2d(2, 2, ceil_mode=True)


def _doubling() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


def _between(missing: int, padded: bool, plain: bool, resize: Callable[[], nn.Module]) -> list[nn.Module]:
    """The layers before a convolution, given how many numbers lie free before it."""
    padding: list[nn.Module] = [nn.ReflectionPad2d(1)] if padded else []
    for candidate in ([], [nn.ReLU()], [nn.ReLU(), resize()]):
        if len(candidate) + len(padding) == missing and (plain or candidate):
            return [*candidate, *padding]
    raise ValueError


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)


def _until(encoder: nn.Sequential, channels: int) -> nn.Sequential:
    """The encoder up to the rectifier after its first convolution with so many channels; empty if there is none."""
    for position, layer in enumerate(encoder):
        if isinstance(layer, nn.Conv2d) and layer.out_channels == channels:
            return encoder[: position + 2]
    return encoder[:0]


def _weights_file(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder} has none of {', '.join(names)}. Put the style-transfer network there: vgg_normalised.pth and"
        " decoder.pth from https://github.com/naoto0804/pytorch-AdaIN/releases/tag/v0.0.0."
    )


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, SafetensorError, pickle.UnpicklingError):
        raise InputError(f"{path} is damaged, or holds more than tensors, and was not loaded. Get it again.") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no plain state dict of tensors. Get it again.")
    return dict(state)
