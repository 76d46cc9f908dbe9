"""torch.compile changes no more than rounding, shares its code among branches, and where it fails nothing else does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.debugging import aot_eager

from tests.conftest import decoded
from trainables.input.data import ImageSet
from trainables.loop import train_cohort
from trainables.models import compilation
from trainables.models.compilation import NEUTRAL, compiler_works
from trainables.models.networks import Layers, build_layers
from trainables.spec import TrainingSpec
from trainables.trunk import layers_of


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    compiler_works.cache_clear()
    yield
    torch._dynamo.reset()
    compiler_works.cache_clear()


LAYERS = ("stem=conv1 bn1 act1 maxpool", "layer1", "layer2", "layer3", "layer4", "head=global_pool fc")


def test_compiled_and_plain_trainings_agree_within_the_bound_and_share_code(
    base_spec: TrainingSpec, train_images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_evaluation: list[bool] = []

    def counted(graph: torch.fx.GraphModule, examples: list[Tensor]) -> object:
        """All of torch.compile but the kernels, in a tenth of the time; notes where it is used."""
        in_evaluation.append(torch.is_inference_mode_enabled())
        return aot_eager(graph, examples)

    monkeypatch.setattr(compilation, "BACKEND", counted)
    base = replace(base_spec, model="test_resnet", layers=LAYERS, epochs=1, warmup_epochs=0)
    source, images = layers_of(base).timm_state(), ImageSet(decoded(train_images)[:32], train_images.labels[:32])
    members = [replace(base, source=base, frozen_layers=depth) for depth in (3, 4)]
    plain, compiled = (
        train_cohort([replace(one, compile=compiles) for one in members], images, images, source)
        for compiles in (False, True)
    )
    for one, other in zip(plain, compiled, strict=True):
        assert one.state.keys() == other.state.keys()
        assert other.failure is None
        assert other.history[0]["train_loss"] == pytest.approx(one.history[0]["train_loss"], rel=NEUTRAL)
        assert all(torch.equal(one.state[key], other.state[key]) for key in one.state if key.startswith("layer1"))
    # The first is the trial. Four layers of the trunk, three and two of the branches, which share the head's code.
    assert len(in_evaluation) - 1 == 4 + 3 + 2 - 1
    assert not any(in_evaluation)


def test_where_nothing_can_be_compiled_training_goes_on_and_one_line_says_so(
    base_spec: TrainingSpec,
    train_images: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(graph: torch.fx.GraphModule, examples: list[Tensor]) -> object:
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(compilation, "BACKEND", broken)
    with caplog.at_level(logging.WARNING, "trainables"):
        layers: list[Layers] = [build_layers("resnet50_slim", 3, seed=0, first=17) for _ in range(2)]
        for one in layers:
            compilation.compile_layers(one, torch.device("cpu"))
    assert not any(one._compiled for one in layers)
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("torch.compile does not work here, so nothing is compiled: ")
    assert "\n" not in line
