"""A sample's own stream of uniform numbers, grown from one of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def stream(uniforms: Tensor, count: int) -> Tensor:
    """Numbers [batch, count] float64 in 0..1 from `uniforms` [batch] float64 in 0..1: a row depends on its own alone.

    SplitMix64 (Steele, Lea, Flood 2014) seeded with the number's 53 bits. A table of all numbers of an epoch would
    take 300 MB for ImageNet-100's images with nine crops each; this takes them as they are needed.
    """
    seeds = (uniforms.cpu().double() * 2.0**53).long().numpy().astype(np.uint64)
    state = seeds[:, None] * _FIRST + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    state ^= state >> np.uint64(31)
    return torch.from_numpy((state >> np.uint64(11)).astype(np.float64) * 2.0**-53)
