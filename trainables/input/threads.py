"""A pool of threads for work on single images: torch's image operators release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_THREADS = 16
"""More would wait for each other: an image's operators hold the interpreter's lock for a tenth of their time."""


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`function` of each item, in order; a thread for each core this process may use, and a run of items for each.

    The first error is raised once all runs have ended.
    """
    threads = min(_threads(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    bounds = pairwise(len(items) * part // threads for part in range(threads + 1))
    runs = [items[start:stop] for start, stop in bounds]
    futures = [_pool(os.getpid()).submit(lambda run: [function(item) for item in run], run) for run in runs]
    return [result for future in futures for result in future.result()]


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, cores)


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The pool of this process; a forked child has none of its parent's threads and makes its own."""
    # One intra-operator thread in each, or every image would be torn apart between them once more.
    return ThreadPoolExecutor(_threads(), "images", initializer=torch.set_num_threads, initargs=(1,))
