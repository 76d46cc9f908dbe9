"""The layers of a network that nobody has listed are found, and it trains, freezes and resumes as those that are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datagen.core.errors import InputError
from datagen.core.own_code import taken
from tests.trainables.interrupted import alone_and_resumed
from trainables.input.data import ImageSet
from trainables.loop import train_cohort
from trainables.models.automatic import automatic_layers
from trainables.models.checks import check_network
from trainables.models.layers import LAYERS, layers_of_network
from trainables.spec import TrainingSpec

FAMILIES = {
    "convnext_atto": ("stem", 14, "norm_pre head.global_pool head.norm head.flatten head.pre_logits head.drop head.fc"),
    "swin_tiny_patch4_window7_224": ("stem", 14, "head.global_pool head.drop head.fc"),
    "vit_tiny_patch16_224": ("stem", 14, "@first_token fc_norm head_drop head"),
    "efficientnet_b0": ("stem", 18, "global_pool classifier"),
    "regnetx_002": ("stem", 15, "final_conv head.global_pool head.drop head.fc"),
    "mobilenetv3_small_050": ("stem", 14, "global_pool conv_head norm_head act2 flatten classifier"),
    "mixer_s32_224": ("stem", 10, "@mean_token head_drop head"),
    "densenet121": ("stem", 9, "features.norm5 global_pool head_drop classifier"),
    "resnet18": ("stem", 10, "global_pool fc"),
}
SMALL = ("convnext_atto", "mobilenetv3_small_050", "regnetx_002", "test_byobnet", "test_efficientnet", "test_mambaout")
BAGNET = """
from torch import nn

def block(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

def net(classes):
    stem = nn.Conv2d(3, 8, 9, stride=4), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
    return nn.Sequential(*stem, block(8, 16, 2), block(16, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(16, classes))

def listed(classes):
    return net(classes), ["below=0 1 2 3", "above=4 5 6 7"]

def branching(classes):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.head = nn.Conv2d(3, 4, 8, 8), nn.Conv2d(3, 4, 8, 8), nn.Linear(64, classes)
        def forward(self, images):
            return self.head((self.one(images) + self.other(images)).flatten(1))
    return Two()

def nothing(classes):
    return classes
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(BAGNET)
    return tmp_path / "nets.py"


@pytest.mark.parametrize("model", FAMILIES)
def test_a_networks_layers_are_found_and_compute_what_it_computes(model: str) -> None:
    first, count, head = FAMILIES[model]
    layers = automatic_layers(model, 32)
    assert (len(layers), layers[0].partition("=")[0], layers[-1]) == (count, first, f"head={head}")
    check_network(model, layers_of_network(model, layers), 32)


def test_the_papers_networks_are_cut_where_timm_groups_their_layers_too() -> None:
    found = layers_of_network("resnet50", automatic_layers("resnet50", 32))
    assert [layer.modules for layer in found] == [layer.modules for layer in LAYERS["resnet50"]]


@pytest.mark.parametrize("model", [*SMALL, "vit", "swin", "own"])
def test_a_foreign_network_trains_freezes_and_resumes_exactly(
    model: str, base_spec: TrainingSpec, train_images: ImageSet, validation_images: ImageSet, file: Path, tmp_path: Path
) -> None:
    named = {"vit": "vit_tiny_patch16_224", "swin": "swin_tiny_patch4_window7_224", "own": f"{file}:net"}.get(
        model, model
    )
    spec = replace(base_spec, model=named, epochs=1, warmup_epochs=0, learning_rate=0.01, image_size=32)
    (base,) = train_cohort([spec], train_images, validation_images)
    head = spec.depth - 1
    transfer = replace(spec, source=spec, frozen_layers=head, epochs=2)
    alone, resumed = alone_and_resumed(
        [transfer, transfer.at_depth(head - 1)], train_images, validation_images, base.state, tmp_path / "checkpoint"
    )
    assert all(torch.equal(value, resumed.state[key]) for key, value in alone.state.items())
    frozen = {f"{name}." for layer in spec.network[:head] for name in layer.modules}
    below = [key for key in alone.state if any(key.startswith(name) for name in frozen)]
    assert below and all(torch.equal(alone.state[key], base.state[key]) for key in below)
    assert any(not torch.equal(alone.state[key], base.state[key]) for key in alone.state if key not in below)


def test_a_network_by_name_and_by_its_printed_list_are_one_training(base_spec: TrainingSpec) -> None:
    by_name = replace(base_spec, model="resnet18")
    assert replace(base_spec, model="resnet18", layers=automatic_layers("resnet18", 32)) == by_name
    other = replace(
        base_spec, model="resnet18", layers=("below=conv1 bn1 act1 maxpool layer1 layer2", *by_name.layers[5:])
    )
    assert other.fingerprint != by_name.fingerprint


def test_the_papers_cut_spelled_out_is_the_papers_training(base_spec: TrainingSpec) -> None:
    spelled = tuple(f"{layer.name}={' '.join(layer.modules)}" for layer in LAYERS["resnet50_slim"])
    assert replace(base_spec, layers=spelled).fingerprint == base_spec.fingerprint
    coarse = ("stem=conv1 bn1 act1 maxpool", "layer1", "layer2", "layer3", "layer4", "head=global_pool fc")
    assert replace(base_spec, layers=coarse).fingerprint != base_spec.fingerprint


def test_a_users_function_may_list_the_layers_itself(base_spec: TrainingSpec, file: Path) -> None:
    assert replace(base_spec, model=f"{file}:net").layers == ("stem=0 1 2", "3=3", "4=4", "head=5 6 7")
    assert replace(base_spec, model=f"{file}:listed").layers == ("below=0 1 2 3", "above=4 5 6 7")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("dla34", "The layers of dla34 cannot be found: it is no chain of modules that ends in a linear classifier."),
        ("resnet_18", "timm has no network 'resnet_18'. Did you mean"),
        ("FILE:branching", "The layers of branching cannot be found"),
        ("FILE:nothing", "nothing must return a torch.nn.Module"),
        ("FILE:nets", "nets.py defines no nets. Did you mean 'net'?"),
    ],
)
def test_a_network_that_cannot_be_cut_is_told(model: str, sentence: str, file: Path) -> None:
    with pytest.raises(InputError) as raised:
        named, sources = taken(model.replace("FILE", str(file)), ()) if ":" in model else (model, ())
        automatic_layers(named, 32, sources)
    assert sentence in str(raised.value)
