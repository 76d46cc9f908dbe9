"""The world a training is handed: who it is among its workers, and on what device it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainables.models.synchronization import synchronize_batchnorm


@dataclass(frozen=True)
class DistributedContext:
    """Worker `rank` (from 0) of `size`, computing on `device`. With size 1 nothing is distributed.

    With more, torch.distributed must be set up (Ray Train does so) before the loop starts.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def share(self, batch: Tensor) -> Tensor:
        """This worker's part of a global batch [n]: every `size`-th element, the same whatever order they came in."""
        return batch[self.rank :: self.size]

    def weight(self, share: Tensor, batch: Tensor) -> float:
        """What to weight the mean over this worker's `share` by, for the workers' mean to be that over the `batch`."""
        return len(share) * self.size / len(batch)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module as one of `size` replicas that average their gradients."""
        return module if self.size == 1 else DistributedDataParallel(module)

    def synchronized(self, module: nn.Module) -> nn.Module:
        """The module with BatchNorm over the batches of all workers."""
        return module if self.size == 1 else synchronize_batchnorm(module, self.device)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all workers."""
        if self.size == 1:
            return value
        torch.distributed.all_reduce(value)
        return value / self.size

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all workers."""
        if self.size > 1:
            torch.distributed.all_reduce(value)
        return value

    def most(self, count: int) -> int:
        """The largest of all workers' counts."""
        if self.size == 1:
            return count
        value = torch.tensor(count, device=self.device)
        torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
        return int(value)

    def align(self, module: nn.Module) -> None:
        """Gives the module the first worker's buffers: where BatchNorm is not synchronized, each has its own."""
        if self.size > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)
