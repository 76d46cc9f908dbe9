"""Memory for large results, used again once nobody holds them.

The C library asks the system anew for each block above 32 MiB, and the system clears it page by page: 0.4 ms for the
crops of one image of a multi-crop, as long as normalizing them takes.
"""

from __future__ import annotations

import threading
import weakref

import numpy as np
import torch
from torch import Tensor

LARGE = 32 * 2**20
"""Bytes above which the C library (glibc, on 64 bits) keeps no freed block for itself."""
KEPT = 4
"""Most blocks kept: two resolutions of crops, while those of the batch before are still held."""

_free: list[np.ndarray] = []
# Reentrant: collecting garbage under the lock may end a result, whose block then comes back.
_lock = threading.RLock()


def empty_float32(*shape: int) -> Tensor:
    """An uninitialized float32 tensor on the CPU; its memory is used again only when no tensor or array shares it."""
    size = 4 * int(np.prod(shape))
    if size <= LARGE:
        return torch.empty(shape)
    block = _taken(size)
    array = block.view(np.float32).reshape(shape)
    weakref.finalize(array, _give_back, block).atexit = False
    return torch.from_numpy(array)


def _taken(size: int) -> np.ndarray:
    """A block of that size, kept or new."""
    with _lock:
        for number, block in enumerate(_free):
            if len(block) == size:
                return _free.pop(number)
    return np.empty(size, np.uint8)


def _give_back(block: np.ndarray) -> None:
    with _lock:
        _free.append(block)
        del _free[:-KEPT]
