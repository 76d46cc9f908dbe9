"""torch.compile for the training step: a runtime setting, as the device is, for it changes rounding and nothing else.

Each layer is compiled by itself, for every shape that it meets (the resolutions of crops are few and fixed). Layers of
the same structure share their code, of all branches of a cohort and of its trunk: ResNet-50 has eight kinds of
bottleneck, and 17 branches would take 17 times as long to compile whole. Evaluation is never compiled.

Why it is no part of a training's identity: it fuses what torch computes one by one, so sums are rounded in another
order, as on another device. `NEUTRAL` is the bound that is kept to it (`tests/test_compilation.py`,
`benchmarks/ladder.py`).
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Tensor

from trainables.models.networks import Layers

NEUTRAL = 1e-3
"""The most by which the mean loss of a short run in float32 may differ from that without, relative to it."""
BACKEND = "inductor"
KINDS_OF_LAYERS = 512
"""Compiled forms of one module's code before torch gives up: kinds of layers, times resolutions, times three (in the
trunk, first above the cut, and further up). Its default, 8, is for code that should need one."""


def compile_layers(layers: Layers, device: torch.device) -> None:
    """Has every layer compiled when it is first used; where nothing can be compiled, a line in the log says so."""
    if not compiler_works(device.type, BACKEND):
        return
    settings = torch._dynamo.config
    settings.recompile_limit = max(settings.recompile_limit, KINDS_OF_LAYERS)
    settings.accumulated_recompile_limit = max(settings.accumulated_recompile_limit, KINDS_OF_LAYERS)
    # What cannot be compiled runs as it is, and torch says so.
    settings.suppress_errors = True
    layers.compile_each(BACKEND)


@cache
def compiler_works(device: str, backend: str) -> bool:
    """Whether torch can compile for a kind of device; on a CPU it needs a C++ compiler, on a GPU Triton."""
    try:
        with torch._dynamo.config.patch(suppress_errors=False):
            torch.compile(_trial, backend=backend, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        logging.getLogger(__name__).warning("torch.compile does not work here, so nothing is compiled: %s", reason)
        return False
    return True


def _trial(values: Tensor) -> Tensor:
    return (values * 2).relu().sum()


def uncompiled(compiles: bool) -> AbstractContextManager[object]:
    """Where compiled layers run as they were written."""
    return torch.compiler.set_stance("force_eager") if compiles else nullcontext()
