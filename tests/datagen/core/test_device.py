"""Which device a process computes on, and in which arithmetic."""

from __future__ import annotations

import os

import pytest
import torch

from datagen.core import device
from datagen.core.device import Gpu, choose, precision_on, this_device
from datagen.core.errors import InputError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (device.CHOSEN, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("kind", "capability", "expected"),
    [("cpu", None, "float32"), ("cuda", (8, 0), "bfloat16"), ("cuda", (7, 5), "float16"), ("mps", None, "float16")],
)
def test_auto_is_what_the_card_is_fast_in(
    kind: str, capability: tuple[int, int] | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert precision_on(torch.device(kind), "auto") == expected
    assert precision_on(torch.device(kind), "float32") == "float32"


@pytest.mark.parametrize(
    ("text", "chosen", "visible"),
    [("auto", None, None), ("cpu", "cpu", ""), ("cuda:1", "cuda", "1"), ("mps", "mps", "")],
)
def test_a_device_is_chosen_for_every_process_that_starts(
    text: str, chosen: str | None, visible: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "gpus_here", lambda: [Gpu("A", 1), Gpu("B", 1)])
    choose(text)
    assert os.environ.get(device.CHOSEN) == chosen
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gpu", "A device is auto, cpu, cuda, cuda:1 and so on, or mps, not 'gpu'"),
        ("cuda:x", "A device is auto"),
        ("cuda", "There is no cuda here: this machine has no NVIDIA GPU"),
        ("cuda:2", "There is no cuda:2 here"),
    ],
)
def test_a_device_that_is_not_there_is_refused(text: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpus_here", list)
    with pytest.raises(InputError, match=sentence):
        choose(text)


def test_a_driver_without_cuda_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv(device.CHOSEN, "cuda")

    def too_old() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old.\nUpdate")

    monkeypatch.setattr(torch.cuda, "init", too_old)
    with pytest.raises(InputError, match=r"cannot use a CUDA GPU here.*driver on your system is too old\. Update it"):
        this_device()


def test_without_a_wish_the_processor_does_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert this_device() == torch.device("cpu")
    monkeypatch.setenv(device.CHOSEN, "mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="no Apple GPU"):
        this_device()
