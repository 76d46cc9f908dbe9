"""What each layer of a stored network gives for a set's images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainables.distributed import DistributedContext
from trainables.evaluation.evaluation_set import EvaluationSet
from trainables.input.data import ImageSet
from trainables.input.pixel_statistics import PixelStatistics
from trainables.spec import TrainingSpec
from trainables.trunk import evaluation_mode, layers_of


def layer_features(
    spec: TrainingSpec,
    state: dict[str, Tensor],
    images: ImageSet,
    statistics: PixelStatistics,
    device: torch.device | None = None,
) -> list[np.ndarray]:
    """Of each layer below the head its activations, [n, channels] float32, means over positions or tokens.

    Args:
        spec: of the training.
        state: the network's, under timm's names.
        images: the set, in whose order rows are.
        statistics: by which images are normalized.
        device: to compute on; the CPU by default.
    """
    context = DistributedContext(device=device or torch.device("cpu"))
    layers = layers_of(spec).to(context.device)
    with torch.no_grad():
        layers.load_timm_state(state)
    depths = range(1, spec.depth)
    found: list[list[np.ndarray]] = [[] for _ in depths]
    prepared = EvaluationSet(spec, images, statistics, context, prefetches=context.device.type == "cuda")
    with evaluation_mode([layers], by_batch=False):
        for inputs in prepared.inputs(by_batch=False):
            with torch.inference_mode():
                activations = layers.after_layers(inputs.crops[0], depths)
                for kept, depth in zip(found, depths, strict=True):
                    kept.append(_pooled(activations[depth]).cpu().numpy())
    return [np.concatenate(kept) for kept in found]


def _pooled(activation: Tensor) -> Tensor:
    """[n, channels] of [n, channels, height, width], of [n, tokens, channels], or of what is flat already."""
    if activation.ndim == 4:
        return activation.float().mean((2, 3))
    return activation.float().mean(1) if activation.ndim == 3 else activation.float().flatten(1)
