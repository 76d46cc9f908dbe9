"""Which device a process computes on, and what its arithmetic is there: decided in one place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from datagen.core.errors import InputError

if TYPE_CHECKING:
    import torch

CHOSEN = "MINDGAP_DEVICE"
"""Environment variable: the device that the user wants, as `parsed` takes it; set by --device for worker processes."""
AUTO = "auto"
PRECISIONS = ("float32", "bfloat16", "float16", AUTO)
HALF_HELP = "auto: bfloat16 where the GPU has it, else float16; float32 on a CPU"


class Gpu(NamedTuple):
    """A GPU of this machine: its name, and its memory in bytes."""

    name: str
    bytes: int


def gpus_here() -> list[Gpu]:
    """The NVIDIA GPUs of this machine, as their driver names them, without loading torch; none where there is none."""
    import pynvml  # type: ignore[import-untyped]

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(place) for place in range(pynvml.nvmlDeviceGetCount())]
        found = [(pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in handles]
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return []
    return [Gpu(name.decode() if isinstance(name, bytes) else str(name), int(total)) for name, total in found]


def choose(text: str) -> None:
    """Has this process, and those that it starts, compute on a device that the user names.

    Raises:
        InputError: it is no device, or this machine does not have it.
    """
    kind, _, number = parsed(text).partition(":")
    there = len(gpus_here())
    if kind == "cuda" and int(number or 0) >= there:
        has = "no NVIDIA GPU that its driver shows" if not there else f"{there}, numbered from 0"
        raise InputError(f"There is no {text} here: this machine has {has}. Leave --device out, or give --device cpu.")
    if kind != AUTO:
        os.environ[CHOSEN] = kind
    if kind in ("cpu", "mps"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif number:
        os.environ["CUDA_VISIBLE_DEVICES"] = number


def parsed(text: str) -> str:
    """A device as the user names it: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        InputError: it is none of these.
    """
    kind, _, number = text.partition(":")
    if text not in (AUTO, "cpu", "cuda", "mps") and not (kind == "cuda" and number.isdigit()):
        raise InputError(f"A device is auto, cpu, cuda, cuda:1 and so on, or mps, not {text!r}.")
    return text


def this_device() -> torch.device:
    """The device of this process: the one that was chosen, else its CUDA GPU if it has one, else the CPU.

    Apple's GPU is taken where it was chosen, not by itself: nothing here was measured on one.

    Raises:
        InputError: it was chosen, and torch cannot use it.
    """
    import torch

    wanted = parsed(os.environ.get(CHOSEN) or AUTO)
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("torch has no Apple GPU (mps) here. Leave --device out, or give --device cpu.")
        return torch.device("mps")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"torch cannot use a CUDA GPU here. {why_no_cuda()} Or give --device cpu.")
    # Of several GPUs a process sees its own alone, as number 0: Ray, or the command, says which.
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def precision_on(device: torch.device, setting: str) -> str:
    """What a setting of `PRECISIONS` is on a device: one of the first three.

    bfloat16 needs no scaling of losses. A GPU has it from compute capability 8.0 on (Ampere); before, torch imitates it
    slower than float16.
    """
    if setting != AUTO:
        return setting
    if device.type == "cpu":
        return "float32"
    if device.type == "mps":
        return "float16"
    import torch

    return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"


def why_no_cuda() -> str:
    """Why torch has no CUDA, a sentence with the way out."""
    import torch

    if torch.version.cuda is None:
        return "This torch is built without CUDA: install the build that has it."
    try:
        torch.cuda.init()
    except Exception as error:  # what the driver says is RuntimeError or AssertionError, by version
        return f"The driver does not do: {str(error).splitlines()[0].rstrip('.')}. Update it."
    return "There is none that its driver shows."
