"""Why a task failed, told from its exception: what a retry, a smaller cohort, or only the user can fix."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from datagen.core.errors import InputError
from orchestrator.execution.messages import FailureKind

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
TOO_SMALL = (
    "the GPU's memory is too small (see what else is on it with nvidia-smi; accumulate=2 takes a batch in two parts)"
)
_MEMORY_TEXTS = ("CUDA out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")
_LOST_NAMES = frozenset(
    {
        # torch: a broken device, and collectives whose other end is gone
        *("AcceleratorError", "DistBackendError", "DistNetworkError", "DistStoreError"),
        # ray: processes and nodes
        *("RayActorError", "ActorDiedError", "ActorUnavailableError", "WorkerCrashedError", "NodeDiedError"),
        *("LocalRayletDiedError", "OutOfMemoryError", "ObjectLostError", "OwnerDiedError", "RaySystemError"),
        *("ActorUnschedulableError", "TaskUnschedulableError", "ActorPlacementGroupRemoved", "RpcError"),
        *("ObjectFetchTimedOutError", "ReferenceCountingAssertionError", "GetTimeoutError", "NCCLHangError"),
        # ray.train: its worker group
        *("PreemptionError", "WorkerHealthCheckFailedError", "WorkerHealthCheckTimeoutError"),
        *("WorkerGroupStartupTimeoutError", "WorkerGroupStartupFailedError", "InsufficientClusterResourcesError"),
        *("CollectiveTimeoutError", "BroadcastCollectiveTimeoutError"),
    }
)
_LOST_TEXTS = ("Connection closed by peer", "Connection reset by peer", "Connection refused", "NCCL error")


def understand(error: BaseException) -> tuple[FailureKind, str, str]:
    """The kind of failure, a sentence about it, and the fingerprint of the trial at fault ("" if unknown).

    All exceptions that it wraps count, also those of several workers: what only the user can fix comes first.
    """
    found = list(_wrapped(error))[::-1]  # The innermost says it most plainly.
    for item in found:
        if isinstance(item, InputError):
            return FailureKind.INPUT, str(item), ""
        if (number := _system_error(item)) in _FULL:
            name = getattr(item, "filename", None)
            where = f" ({name})" if name else ""
            return (
                FailureKind.INPUT,
                f"{os.strerror(number)}{where}. Free space, then give the same command again: it goes on.",
                "",
            )
    for item in found:
        if hasattr(item, "parts_needed"):
            return FailureKind.MEMORY, str(item), ""
        if _is_memory(item):
            return FailureKind.MEMORY, TOO_SMALL, ""
    for item in found:
        if (trial := getattr(item, "fingerprint_at_fault", "")) and not _is_lost(item):
            return FailureKind.ERROR, str(item), trial
    for item in found:
        if _is_lost(item):
            return FailureKind.LOST, describe(item), ""
    return FailureKind.ERROR, describe(found[0]), ""


def parts_needed(error: BaseException) -> int:
    """In how many pieces a cohort fits that was too large for the memory: as it was planned, else halves."""
    return max((getattr(item, "parts_needed", 2) for item in _wrapped(error)), default=2)


def describe(error: BaseException) -> str:
    """The exception in one line: its type and the first line of its message, or a plain word for a lost process."""
    if getattr(error, "preempted", False):
        return "its node was preempted"
    if type(error).__name__ in ("RayActorError", "ActorDiedError", "WorkerCrashedError"):
        return "its process died"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _wrapped(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and all that it wraps, by Python, by Ray or by Ray Train, the outermost first."""
    waiting, seen = [error], set[int]()
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        waiting += [getattr(item, name, None) for name in ("cause", "__cause__", "_base_exc", "controller_failure")]
        failures = getattr(item, "worker_failures", None)
        waiting += list(failures.values()) if isinstance(failures, dict) else []


def _system_error(error: BaseException) -> int:
    """The system's number of an error with files, which safetensors only writes into its message; 0 for any other."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else 0


def _is_memory(error: BaseException) -> bool:
    if type(error).__name__ == "OutOfMemoryError" and type(error).__module__.split(".")[0] == "torch":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_TEXTS)


def _is_lost(error: BaseException) -> bool:
    if isinstance(error, OSError | EOFError) or type(error).__name__ in _LOST_NAMES or _system_error(error):
        return True
    # A BranchError begins with the type of what it stands for.
    text = str(error)
    return isinstance(error, RuntimeError) and (
        text.partition(" ")[0] in _LOST_NAMES or any(part in text for part in _LOST_TEXTS)
    )
