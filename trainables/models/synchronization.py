"""BatchNorm over the batches of all data-parallel workers, on CPUs too, where torch's `SyncBatchNorm` does not run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from datagen.core.errors import InputError


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all workers; the gradient of each worker's term is the sum of all their gradients.

    As torch.distributed.nn.functional.all_reduce, which is deprecated in favour of a private module.
    """

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(context, gradients[0])


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose training statistics are those of all workers' batches together.

    One all-reduce of each channel's sum and sum of squares (float64) and of the count; autograd carries gradients back
    through it. Workers may have batches of different sizes.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[batch, channels, height, width] to the same, normalized; needs torch.distributed when training."""
        if not self.training:
            return super().forward(input)
        values, channels = input.float(), input.shape[1]
        count = torch.full((1,), values.numel() // channels, dtype=torch.float64, device=input.device)
        axes = (0, 2, 3)
        sums = torch.cat([values.sum(axes, dtype=torch.float64), values.square().sum(axes, dtype=torch.float64), count])
        mean, squares, total = _Sum.apply(sums).split([channels, channels, 1])
        mean, total = mean / total, total.detach()
        variance = (squares / total - mean.square()).clamp(min=0)
        self._follow(mean.detach(), variance.detach() * total / (total - 1))
        scale = (variance + self.eps).rsqrt() * self.weight
        shift = self.bias - mean * scale
        return torch.addcmul(_per_channel(shift), values, _per_channel(scale)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics; `variance` is the unbiased one, as torch has it."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum or 0.0
        self.running_mean.lerp_(mean.float(), momentum)
        self.running_var.lerp_(variance.float(), momentum)


def _per_channel(values: Tensor) -> Tensor:
    return values.float().view(1, -1, 1, 1)


def synchronize_batchnorm(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with every BatchNorm in it over all workers; parameters, buffers and their names stay.

    On GPUs it is torch's `SyncBatchNorm`, which is faster and is no subclass of `BatchNorm2d`.

    Raises:
        InputError: on a CPU, the module has a BatchNorm that is not a plain `BatchNorm2d`.
    """
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    for layer in batchnorm_layers(module):
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SynchronizedBatchNorm2d
        elif type(layer) is not SynchronizedBatchNorm2d:
            raise InputError(
                f"{type(layer).__name__} cannot be synchronized on CPUs. Give workers=1 or sync_batchnorm=False."
            )
    return module


def batchnorm_layers(*modules: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm in the modules, of whatever kind (`isinstance(_, nn.BatchNorm2d)` would miss `SyncBatchNorm`)."""
    return [layer for module in modules for layer in module.modules() if isinstance(layer, _BatchNorm)]
