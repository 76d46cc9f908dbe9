"""The style-transfer networks: the published files and small ones load by the same lines, and nothing pickled runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from datagen.core.errors import InputError
from datagen.generation.adain import StyleTransfer, adain, channel_statistics, load_style_transfer


def conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3), nn.ReLU()]


def pool() -> nn.Module:
    return nn.MaxPool2d((2, 2), (2, 2), (0, 0), ceil_mode=True)


def double() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


def published(width: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder and decoder as pytorch-AdaIN v0.0.0 writes them down in net.py, where `width` is 64."""
    a, b, c, d = (width * factor for factor in (1, 2, 4, 8))
    encoder = nn.Sequential(
        nn.Conv2d(3, 3, 1), *conv(3, a), *conv(a, a), pool(), *conv(a, b), *conv(b, b), pool(),
        *conv(b, c), *conv(c, c), *conv(c, c), *conv(c, c), pool(),
        *conv(c, d), *conv(d, d), *conv(d, d), *conv(d, d), pool(), *conv(d, d), *conv(d, d), *conv(d, d), *conv(d, d),
    )  # fmt: skip
    decoder = nn.Sequential(
        *conv(d, c), double(), *conv(c, c), *conv(c, c), *conv(c, c), *conv(c, b), double(),
        *conv(b, b), *conv(b, a), double(), *conv(a, a), *conv(a, 3)[:-1],
    )  # fmt: skip
    for layer in (*encoder, *decoder):
        if isinstance(layer, nn.Conv2d):  # torch's own initial values fade to nothing over so many layers
            nn.init.kaiming_normal_(layer.weight)
    return encoder, decoder


@pytest.fixture(scope="module")
def published_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Sequential, nn.Sequential]:
    """The published files at an eighth of the width, in the old format of torch.save that they have."""
    torch.manual_seed(0)
    encoder, decoder = published(8)
    folder = tmp_path_factory.mktemp("published")
    torch.save(encoder.state_dict(), folder / "vgg_normalised.pth", _use_new_zipfile_serialization=False)
    torch.save(decoder.state_dict(), folder / "decoder.pth", _use_new_zipfile_serialization=False)
    return folder, encoder, decoder


def test_the_published_numbering_gives_vgg_up_to_relu4_1_and_its_decoder(published_files: Any) -> None:
    folder, encoder, decoder = published_files
    assert len(encoder) == 53 and len(decoder) == 29
    network = load_style_transfer(folder)
    assert [str(layer) for layer in network.decoder] == [str(layer) for layer in decoder]
    first_31 = encoder[:31]
    assert len(network.encoder) == 31 and isinstance(network.encoder[30], nn.ReLU)
    assert [type(layer) for layer in network.encoder] == [type(layer) for layer in first_31]
    pictures = torch.rand(2, 3, 37, 44)
    with torch.no_grad():
        assert torch.equal(network.encoder(pictures), first_31(pictures))
        scales = network.scales(pictures)
    for reached, last in zip(scales, (3, 10, 17, 30), strict=True):  # relu1_1, relu2_1, relu3_1, relu4_1
        assert torch.equal(reached, encoder[: last + 1](pictures))
    assert (network.shrinks, network.smallest_side) == (3, 16)
    assert network(pictures, network.statistics(torch.rand(2, 3, 64, 64))).shape == pictures.shape


def test_the_published_widths_load_too(tmp_path: Path) -> None:
    with torch.device("meta"):
        encoder, decoder = (part.to_empty(device="cpu") for part in published(64))
    torch.save(encoder[:31].state_dict(), tmp_path / "vgg_normalised.pth")
    torch.save(decoder.state_dict(), tmp_path / "decoder.pth")
    network = load_style_transfer(tmp_path)
    weights = sum(weight.numel() for part in (network.encoder, network.decoder) for weight in part.parameters())
    assert weights == 3_505_740 + 3_505_219  # as counted from net.py
    assert network.statistics(torch.rand(1, 3, 32, 32))[0].shape == (1, 512, 1, 1)


def test_safetensors_and_published_files_make_the_same_pictures(published_files: Any, tmp_path: Path) -> None:
    folder, encoder, decoder = published_files
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    save_file(decoder.state_dict(), tmp_path / "decoder.safetensors")
    content, style = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    one, two = (load_style_transfer(path) for path in (folder, tmp_path))
    assert torch.equal(one(content, one.statistics(style)), two(content, two.statistics(style)))


def test_features_take_over_the_statistics_of_the_style_and_keep_their_pattern() -> None:
    torch.manual_seed(0)
    content, style = torch.randn(2, 5, 9, 7), 3 * torch.randn(2, 5, 4, 4) + 2
    wanted = channel_statistics(style)
    mixed = adain(content, wanted)
    for reached, expected in zip(channel_statistics(mixed), wanted, strict=True):
        torch.testing.assert_close(reached, expected, rtol=1e-3, atol=1e-3)
    for image in range(2):
        for channel in range(5):
            pattern = torch.stack([content[image, channel].flatten(), mixed[image, channel].flatten()])
            assert torch.corrcoef(pattern)[0, 1] > 0.9999
    variance = style[0, 0].var()  # unbiased, as published
    torch.testing.assert_close(wanted[1][0, 0, 0, 0], (variance + 1e-5).sqrt())


def test_alpha_blends_between_the_features_of_content_and_style(published_files: Any) -> None:
    network = load_style_transfer(published_files[0])
    content, style = torch.rand(1, 3, 32, 32), network.statistics(torch.rand(1, 3, 32, 32))
    rebuilt = network.decoder(network.encoder(content))
    torch.testing.assert_close(network(content, style, alpha=0.0), rebuilt)
    assert not torch.allclose(network(content, style, alpha=0.5), rebuilt)
    assert not torch.allclose(network(content, style, alpha=0.5), network(content, style))


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.target),))


def test_each_bad_network_is_one_sentence_and_no_code_in_a_file_is_run(published_files: Any, tmp_path: Path) -> None:
    folder, _, decoder = published_files
    whole = (folder / "decoder.pth").read_bytes()

    def attempt(case: str, complaint: str) -> None:
        with pytest.raises(InputError, match=complaint) as caught:
            load_style_transfer(tmp_path / case)
        assert "\n" not in str(caught.value)

    def case(name: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "vgg_normalised.pth").symlink_to(folder / "vgg_normalised.pth")
        return tmp_path / name / "decoder.pth"

    (tmp_path / "empty").mkdir()
    attempt("empty", "has none of encoder.safetensors, .*vgg_normalised.pth and decoder.pth from https")
    torch.save({"1.weight": Malice(tmp_path / "made")}, case("malice"))
    attempt("malice", "more than tensors")
    assert not (tmp_path / "made").exists()
    case("cut").write_bytes(whole[: len(whole) // 2])
    attempt("cut", "is damaged")
    torch.save([torch.zeros(1)], case("list"))
    attempt("list", "no plain state dict")
    torch.save({f"net.{key}": value for key, value in decoder.state_dict().items()}, case("prefix"))
    attempt("prefix", "plain sequence of convolutions")
    torch.save({**decoder.state_dict(), "1.bias": torch.zeros(3)}, case("shape"))
    attempt("shape", "plain sequence of convolutions")
    torch.save(published(4)[1].state_dict(), case("other"))
    attempt("other", "do not belong together")


def test_a_network_is_what_its_weights_say_it_is_with_any_number_of_scales(tmp_path: Path) -> None:
    encoder = nn.Sequential(*conv(3, 4), *conv(4, 4), pool(), *conv(4, 8))
    decoder = nn.Sequential(*conv(8, 4), double(), *conv(4, 3)[:-1])
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    save_file(decoder.state_dict(), tmp_path / "decoder.safetensors")
    network = load_style_transfer(tmp_path)
    assert isinstance(network, StyleTransfer) and network.shrinks == 1
    assert [str(layer) for layer in network.decoder] == [str(layer) for layer in decoder]
    pictures = torch.rand(1, 3, 9, 9)
    assert torch.equal(network.encoder(pictures), encoder(pictures))
