"""Bytes that the processes of a node share: written once, whole or absent, never in the way."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from torch import Tensor

from trainables.input import mapped_file
from trainables.input.data import load_images
from trainables.input.mapped_file import discard_unused, mapped_bytes


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(mapped_file, "ROOT", tmp_path)
    monkeypatch.setattr(mapped_file, "_leases", {})
    yield tmp_path / f"mindgap-{os.getuid()}"
    discard_unused()


class Builder:
    """Writes some bytes and counts how often."""

    def __init__(self, content: bytes = b"abcdef") -> None:
        self.content, self.calls = content, 0

    def __call__(self, file: BinaryIO) -> dict[str, Tensor]:
        self.calls += 1
        file.write(self.content)
        return {"labels": torch.tensor([1, 2])}


def test_what_is_there_is_not_built_again() -> None:
    builder = Builder()
    for _ in range(2):
        content, index = mapped_bytes("k", lambda: 6, builder)
        assert bytes(content.numpy()) == b"abcdef"
        assert index["labels"].tolist() == [1, 2]
    assert builder.calls == 1


def test_writing_to_a_mapping_changes_nobody_elses_bytes() -> None:
    first, _ = mapped_bytes("k", lambda: 6, Builder())
    first[0] = 0
    second, _ = mapped_bytes("k", lambda: 6, Builder())
    assert bytes(second.numpy()) == b"abcdef"


def test_what_is_read_stays_the_systems_and_takes_no_memory_of_the_process() -> None:
    def own_memory() -> int:
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) << 10

    content, _ = mapped_bytes("k", lambda: 6, Builder(b"ab" * (50 << 20)))
    before = own_memory()
    assert sum(int(part.sum()) for part in content.split(1 << 16)) == (ord("a") + ord("b")) * (50 << 20)
    assert own_memory() - before < len(content) / 10


def test_a_truncated_set_is_built_again(own_root: Path) -> None:
    mapped_bytes("k", lambda: 6, Builder())
    os.truncate(own_root / "k" / "bytes", 3)
    builder = Builder()
    assert bytes(mapped_bytes("k", lambda: 6, builder)[0].numpy()) == b"abcdef"
    assert builder.calls == 1


def test_a_builder_that_fails_leaves_nothing(own_root: Path) -> None:
    def failing(file: BinaryIO) -> dict[str, Tensor]:
        file.write(b"abc")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        mapped_bytes("k", lambda: 6, failing)
    assert [path.name for path in own_root.iterdir()] == ["lock"]


def test_without_room_the_bytes_stay_in_the_process_and_the_log_says_so(
    own_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        content, _ = mapped_bytes("k", lambda: 2**60, Builder())
    assert bytes(content.numpy()) == b"abcdef"
    assert not (own_root / "k").exists()
    (line,) = caplog.messages
    assert "are needed" in line


def test_a_disk_that_fills_up_meanwhile_is_no_harm(own_root: Path) -> None:
    class Full(Builder):
        def __call__(self, file: BinaryIO) -> dict[str, Tensor]:
            if hasattr(file, "fileno") and not hasattr(file, "getbuffer"):
                raise OSError(28, "No space left on device")
            return super().__call__(file)

    assert bytes(mapped_bytes("k", lambda: 6, Full())[0].numpy()) == b"abcdef"
    assert [path.name for path in own_root.iterdir()] == ["lock"]


def test_a_folder_that_is_not_ours_alone_is_not_trusted(own_root: Path) -> None:
    own_root.mkdir()
    own_root.chmod(0o777)
    builder = Builder()
    mapped_bytes("k", lambda: 6, builder)
    mapped_bytes("k", lambda: 6, builder)
    assert builder.calls == 2


def test_what_nobody_uses_is_removed_in_time(own_root: Path) -> None:
    mapped_bytes("old", lambda: 6, Builder())
    (own_root / ".half.1").mkdir()
    (own_root / ".half.1" / "bytes").touch()
    for name in ("old", ".half.1"):
        os.utime(own_root / name, (time.time() - 3600,) * 2)
    mapped_bytes("new", lambda: 6, Builder())
    assert {path.name for path in own_root.iterdir()} == {"lock", "old", "new"}  # the old one is still held here
    discard_unused()
    assert {path.name for path in own_root.iterdir()} == {"lock"}


def _hold(root: Path, ready: object, done: object) -> None:
    mapped_file.ROOT = root
    mapped_bytes("k", lambda: 6, Builder())
    ready.set()  # type: ignore[attr-defined]
    done.wait(30)  # type: ignore[attr-defined]
    os._exit(0)


def test_a_set_lives_as_long_as_one_process_holds_it(own_root: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(own_root.parent, ready, done))
    other.start()
    assert ready.wait(30)
    builder = Builder()
    mapped_bytes("k", lambda: 6, builder)
    discard_unused()
    assert (own_root / "k").exists()
    assert builder.calls == 0
    done.set()
    other.join(30)
    discard_unused()
    assert not (own_root / "k").exists()


def test_images_are_the_same_shared_or_not(image_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = load_images(image_folders / "train")
    monkeypatch.setattr(mapped_file, "ROOT", image_folders / "train" / "_manifest.json")
    private = load_images(image_folders / "train")
    assert isinstance(shared.images, Tensor)
    assert isinstance(private.images, Tensor)
    assert torch.equal(shared.images, private.images)
    assert torch.equal(shared.labels, private.labels)


def test_other_images_are_another_set(image_folders: Path, own_root: Path) -> None:
    load_images(image_folders / "train")
    load_images(image_folders / "validation")
    assert len([path for path in own_root.iterdir() if path.is_dir()]) == 2
