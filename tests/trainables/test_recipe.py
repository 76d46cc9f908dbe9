"""The recipe against independent formulas."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from trainables.models.networks import build_layers
from trainables.recipe import build_optimizer, learning_rates, parameter_groups
from trainables.spec import TrainingSpec

STEPS = 20


@pytest.fixture(scope="module")
def rates(base_spec: TrainingSpec) -> list[float]:
    paper = replace(base_spec, epochs=100, warmup_epochs=10, batch_size=256, learning_rate=0.1)
    return learning_rates(paper, STEPS)


def test_there_is_a_rate_for_every_step(rates: list[float]) -> None:
    assert len(rates) == 100 * STEPS


def test_warm_up_rises_from_0_to_the_peak_both_included(rates: list[float]) -> None:
    assert rates[0] == 0
    assert rates[10 * STEPS - 1] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.1 * 100 / 199)


def test_the_cosine_starts_at_the_peak_and_ends_just_above_the_minimum(rates: list[float]) -> None:
    assert rates[10 * STEPS] == pytest.approx(0.1)
    assert rates[10 * STEPS + 900] == pytest.approx((0.1 + 1e-6) / 2)
    assert 1e-6 < rates[-1] < 2e-6


def test_the_peak_scales_with_the_batch(base_spec: TrainingSpec) -> None:
    small = replace(base_spec, batch_size=64, learning_rate=0.1)
    assert max(learning_rates(small, STEPS)) == pytest.approx(0.025)


def test_the_peak_can_be_read_as_it_stands(base_spec: TrainingSpec) -> None:
    small = replace(base_spec, batch_size=64, learning_rate=0.1, learning_rate_scaling="none")
    assert max(learning_rates(small, STEPS)) == pytest.approx(0.1)


def test_only_matrices_decay() -> None:
    layers = build_layers("resnet50_slim", 3, seed=0)
    decayed, plain = parameter_groups(layers.named_parameters(), 1e-4)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (1e-4, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in plain["params"])
    head = layers.parts[-1].weight
    assert any(parameter is head for parameter in decayed["params"])


def test_attention_biases_decay_by_t_rex_and_not_by_timm() -> None:
    layers = build_layers("tiny_vit_5m_224", 3, seed=0)
    biases = {id(p) for name, p in layers.named_parameters() if name.endswith("attention_biases")}
    for attention_biases in (True, False):
        decayed, plain = parameter_groups(layers.named_parameters(), 1e-4, attention_biases=attention_biases)
        assert biases <= {id(p) for p in (decayed if attention_biases else plain)["params"]}


def test_a_step_is_sgd_with_momentum_without_nesterov(base_spec: TrainingSpec) -> None:
    module = torch.nn.Linear(2, 1, bias=False)
    optimizer = build_optimizer(module, replace(base_spec, momentum=0.9, weight_decay=0.1))
    weight, velocity = module.weight.detach().clone(), torch.zeros(1, 2)
    for gradient in (torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -1.0]])):
        for group in optimizer.param_groups:
            group["lr"] = 0.2
        module.weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.9 * velocity + gradient + 0.1 * weight
        weight = weight - 0.2 * velocity
        torch.testing.assert_close(module.weight.detach(), weight)
