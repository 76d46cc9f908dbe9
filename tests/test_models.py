"""Networks can be cut anywhere, and are timm's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from trainables.layers import LAYERS, Layer, layer_count
from trainables.models import CosineClassifier, build_layers

MODELS = ["resnet50", "resnet50_slim"]


@pytest.mark.parametrize("model", MODELS)
def test_resnet50_has_the_papers_18_layers(model: str) -> None:
    assert layer_count(model) == 18
    names = [layer.name for layer in LAYERS[model]]
    assert (names[0], names[1], names[16], names[17]) == ("stem", "layer1.0", "layer4.2", "head")


def test_the_layers_in_order_compute_what_timms_network_computes() -> None:
    layers = build_layers("resnet50", classes=10, temperature=0.1, seed=0).eval()
    network = timm.create_model("resnet50", num_classes=10)
    network.fc = CosineClassifier(2048, 10, 0.1)
    network.load_state_dict(layers.timm_state())
    views = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(layers(views), network.eval()(views), rtol=1e-4, atol=1e-4)


def test_activations_are_given_after_each_layer() -> None:
    layers = build_layers("resnet50_slim", 3, 0.1, seed=0).eval()
    views = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        activations = layers.after_each_layer(views)
        assert len(activations) == 19
        assert torch.equal(activations[0], views)
        torch.testing.assert_close(activations[18], layers(views))
        above = build_layers("resnet50_slim", 3, 0.1, seed=0, first=9).eval()
        torch.testing.assert_close(above(activations[9]), activations[18])


def test_a_layer_starts_out_the_same_in_every_branch_of_a_seed() -> None:
    whole = build_layers("resnet50_slim", 3, 0.1, seed=5).timm_state()
    for key, value in build_layers("resnet50_slim", 3, 0.1, seed=5, first=14).timm_state().items():
        assert torch.equal(value, whole[key])
    other = build_layers("resnet50_slim", 3, 0.1, seed=6).timm_state()
    assert not torch.equal(other["fc.weight"], whole["fc.weight"])


def test_building_a_network_leaves_torchs_random_state_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    build_layers("resnet50_slim", 3, 0.1, seed=0)
    assert torch.equal(torch.rand(1), expected)


def test_weights_have_timms_names(tmp_path: Path) -> None:
    state = build_layers("resnet50", 10, 0.1, seed=0).timm_state()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "weights.safetensors")
    network = timm.create_model("resnet50", num_classes=10)
    missing, unexpected = network.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=False)
    assert (missing, unexpected) == (["fc.bias"], [])  # The cosine head has no bias.


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (LAYERS["resnet50_slim"][1:], "misses"),
        ((*LAYERS["resnet50_slim"], Layer("again", ("layer1.0",))), "twice"),
    ],
)
def test_a_wrong_layer_list_is_an_error_at_start(
    layers: tuple[Layer, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAYERS, "resnet50_slim", layers)
    with pytest.raises(ValueError, match=sentence):
        build_layers("resnet50_slim", 3, 0.1, seed=0)


def test_the_cosine_classifier_is_cosine_over_temperature() -> None:
    head = CosineClassifier(4, 3, temperature=0.1)
    head.requires_grad_(False)
    features = torch.randn(5, 4)
    logits = head(features)
    for row, feature in zip(logits, features, strict=True):
        for logit, weight in zip(row, head.weight, strict=True):
            expected = float(feature @ weight / (feature.norm() * weight.norm())) / 0.1
            assert math.isclose(float(logit), expected, rel_tol=1e-4, abs_tol=1e-4)


def test_the_loss_floor_for_100_classes_is_the_papers() -> None:
    # Simplex: the right class at cosine 1, each other at -1/99; papers.md, section 1, gives 0.0041.
    logits = torch.full((1, 100), -1 / 99 / 0.1)
    logits[0, 0] = 1 / 0.1
    floor = torch.nn.functional.cross_entropy(logits, torch.tensor([0]))
    assert round(float(floor), 4) == 0.0041
