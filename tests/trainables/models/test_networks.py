"""Networks can be cut anywhere, and are timm's own."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from datagen.core.errors import InputError
from datagen.core.files import file_sha256
from datagen.core.settings import parsed
from trainables.models.__main__ import main
from trainables.models.automatic import automatic_layers
from trainables.models.layers import LAYERS, Layer, classifier_name, layers_of_network
from trainables.models.networks import (
    CosineClassifier,
    build_layers,
    load_initial_weights,
    timm_checkpoint,
)


@pytest.mark.parametrize("model", ["resnet50", "resnet50_slim"])
def test_resnet50_has_the_papers_18_layers(model: str) -> None:
    assert len(layers_of_network(model)) == 18
    names = [layer.name for layer in LAYERS[model]]
    assert (names[0], names[1], names[16], names[17]) == ("stem", "layer1.0", "layer4.2", "head")


def test_tiny_vit_has_the_papers_18_layers() -> None:
    names = [layer.name for layer in LAYERS["tiny_vit_5m_224"]]
    assert len(names) == 18
    assert (names[0], names[3], names[13], names[16], names[17]) == (
        *("patch_embed", "stages.1.downsample", "stages.3.downsample"),
        *("head.norm", "head"),
    )


def test_the_layers_have_the_papers_parameter_counts() -> None:
    def counts(model: str) -> list[int]:
        layers = build_layers(model, 100 if model == "resnet50" else 37, seed=0)
        parts = dict(zip(layers.names, layers.parts, strict=True))
        return [sum(p.numel() for name in layer.modules for p in parts[name].parameters()) for layer in LAYERS[model]]

    resnet = counts("resnet50")
    assert [round(count / 1000, 1) for count in (resnet[0], resnet[1], resnet[17])] == [9.5, 75.0, 204.8]
    assert round(sum(resnet[16:]) / 1e6, 2) == 4.67  # what N = 16 trains
    # 5,083,641 with the linear head (docs/papers.md, "Layers"); the cosine head has no 37 biases. Layer 17 is one norm.
    tiny = counts("tiny_vit_5m_224")
    assert sum(tiny) == 5_083_641 - 37
    assert tiny[16] == 640


@pytest.mark.parametrize("model", ["resnet50", "tiny_vit_5m_224"])
@pytest.mark.parametrize("size", [96, 64])
@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_the_layers_in_order_compute_what_timms_network_computes(model: str, size: int, head: str) -> None:
    layers = build_layers(model, 10, seed=0, head=head).eval()
    network = timm.create_model(model, num_classes=10)
    if head == "cosine":
        name = classifier_name(LAYERS[model])
        network.set_submodule(name, CosineClassifier(network.get_submodule(name).in_features, 10, 0.1))
    network.load_state_dict(layers.timm_state())
    views = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(layers(views), network.eval()(views), rtol=1e-4, atol=1e-4)


def test_activations_are_given_after_the_layers_that_are_wanted() -> None:
    layers = build_layers("resnet50_slim", 3, seed=0).eval()
    views = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        activations = layers.after_layers(views, (0, 9, 18))
        assert sorted(activations) == [0, 9, 18]
        assert torch.equal(activations[0], views)
        torch.testing.assert_close(activations[18], layers(views))
        above = build_layers("resnet50_slim", 3, seed=0, first=9).eval()
        torch.testing.assert_close(above(activations[9]), activations[18])


def test_a_layer_starts_out_the_same_in_every_branch_of_a_seed() -> None:
    whole = build_layers("resnet50_slim", 3, seed=5).timm_state()
    for key, value in build_layers("resnet50_slim", 3, seed=5, first=14).timm_state().items():
        assert torch.equal(value, whole[key])
    other = build_layers("resnet50_slim", 3, seed=6).timm_state()
    assert not torch.equal(other["fc.weight"], whole["fc.weight"])


def test_building_a_network_leaves_torchs_random_state_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    build_layers("resnet50_slim", 3, seed=0)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("model", ["resnet50", "tiny_vit_5m_224"])
@pytest.mark.parametrize("head", ["cosine", "linear"])
def test_timm_loads_the_weights_by_checkpoint_path(model: str, head: str, tmp_path: Path) -> None:
    state = build_layers(model, 10, seed=0, head=head).timm_state()
    contiguous = {key: value.contiguous() for key, value in timm_checkpoint(LAYERS[model], state).items()}
    save_file(contiguous, tmp_path / "weights.safetensors")
    network = timm.create_model(model, num_classes=10, checkpoint_path=str(tmp_path / "weights.safetensors"))
    loaded = network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (LAYERS["resnet50_slim"][1:], "misses"),
        ((Layer("again", ("layer1.0",)), *LAYERS["resnet50_slim"]), "twice"),
        ((Layer("stem", ("conv0",)), *LAYERS["resnet50_slim"]), "names conv0, which the network does not have"),
    ],
)
def test_a_wrong_layer_list_is_an_error_at_start(
    layers: tuple[Layer, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAYERS, "resnet50_slim", layers)
    with pytest.raises(InputError, match=sentence):
        build_layers("resnet50_slim", 3, seed=0)


RESNET18 = ("stem=conv1 bn1 act1 maxpool", "layer1", "layer2", "layer3", "layer4", "head=global_pool fc")


def test_a_training_may_start_from_weights_of_timms(tmp_path: Path) -> None:
    network = layers_of_network("resnet18", RESNET18)
    pretrained = timm.create_model("resnet18", num_classes=7).state_dict()
    file = tmp_path / "model.safetensors"
    save_file(pretrained, file)
    layers = build_layers("resnet18", 3, 0, network=network)
    head = layers.timm_state()["fc.weight"].clone()
    load_initial_weights(layers, network, file, file_sha256(file))
    state = layers.timm_state()
    assert all(torch.equal(state[key], pretrained[key]) for key in state if not key.startswith("fc."))
    assert torch.equal(state["fc.weight"], head)
    with pytest.raises(InputError, match="has changed since the plan"):
        load_initial_weights(layers, network, file, "0" * 64)
    save_file({key: value for key, value in pretrained.items() if key != "conv1.weight"}, file)
    with pytest.raises(InputError, match=r"it has no conv1.weight of shape \(64, 3, 7, 7\)"):
        load_initial_weights(layers, network, file, file_sha256(file))


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
    # Simplex: the right class at cosine 1, each other at -1/99; docs/papers.md, "Training", gives 0.0041.
    logits = torch.full((1, 100), -1 / 99 / 0.1)
    logits[0, 0] = 1 / 0.1
    floor = torch.nn.functional.cross_entropy(logits, torch.tensor([0]))
    assert round(float(floor), 4) == 0.0041


def test_the_layer_table_lists_every_layer() -> None:
    done = CliRunner().invoke(main, ["tiny_vit_5m_224"])
    assert done.exit_code == 0
    lines = [line for line in done.output.splitlines() if line.strip()[:1].isdigit()]
    assert len(lines) == 18
    assert re.search(r"17 +head\.norm +head\.global_pool, head\.norm +640", done.output)


def test_the_printed_list_can_be_given_back(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["resnet18", "--image-size", "32", "--setting"])
    assert done.output.startswith("stem=conv1 bn1 act1 maxpool;layer1.0=layer1.0;")
    assert parsed(tuple[str, ...], done.output.strip()) == automatic_layers("resnet18", 32)
