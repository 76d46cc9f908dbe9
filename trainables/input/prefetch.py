"""The next batch's inputs, got ready while a step runs: by a thread, on a GPU with a stream of its own.

On a GPU that stream's copies and kernels run beside the step's, and where decoding or a copy makes its thread wait, the
step's launches go on. On a CPU the thread would compete with the step for the same cores, so that by default there is
none. Inputs depend on (seed, epoch, image) alone: who computes them, and when, changes no bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")


@dataclass(frozen=True)
class Inputs:
    """What a step or an evaluation needs of a batch.

    Attributes:
        positions: [batch] int64 on the CPU, the images' places in their set.
        labels: [batch] int64 on the device.
        crops: one tensor for each resolution, on the device; none if the trunk's features are known.
        weight: of this worker's share of the batch (`DistributedContext.weight`).
        completes: whether these are the last images of their batch, after which the optimizer steps.
    """

    positions: Tensor
    labels: Tensor
    crops: list[Tensor]
    weight: float = 1.0
    completes: bool = True


_Ready = tuple[Inputs, torch.cuda.Event | None]
"""A batch's inputs, and the event after which they are there."""


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; to a GPU through pinned memory, which the host does not wait for."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def one_ahead(function: Callable[[Item], Inputs], items: Iterable[Item], device: torch.device) -> Iterator[Inputs]:
    """`function` of each item, in order; while the caller works on one, a thread computes the next.

    What `function` raises is raised when its item's turn comes. Closing the iterator waits for the thread.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    with ThreadPoolExecutor(1, "prefetch") as thread:
        coming: deque[Future[_Ready]] = deque()
        for item in items:
            coming.append(thread.submit(_on_stream, function, item, stream))
            if len(coming) > 1:
                yield _handed_over(*coming.popleft().result())
        while coming:
            yield _handed_over(*coming.popleft().result())


def _on_stream(function: Callable[[Item], Inputs], item: Item, stream: torch.cuda.Stream | None) -> _Ready:
    # Whether gradients are recorded is a thread's own setting.
    with torch.no_grad(), torch.cuda.stream(stream):
        inputs = function(item)
        return inputs, stream.record_event() if stream else None


def _handed_over(inputs: Inputs, ready: torch.cuda.Event | None) -> Inputs:
    """The inputs, for use on the current stream: it waits for the event, and the host does not."""
    if ready is not None:
        current = torch.cuda.current_stream(inputs.labels.device)
        current.wait_event(ready)
        for tensor in (inputs.labels, *inputs.crops):
            # Their memory is the other stream's: it is not to be given away while this one still uses it.
            tensor.record_stream(current)
    return inputs
