"""This machine's mirror of an object store."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from datagen.storage.cache import process_name, remove_leftovers


def test_what_a_dead_process_left_is_removed_and_what_other_machines_do_stays(tmp_path: Path) -> None:
    alive = process_name()
    machine = alive.removesuffix(f"-{os.getpid()}")
    others = {f"not-{machine}-{2**22 + 1}", f"{socket.gethostname()}-a-container-{2**22 + 1}"}
    for name in (dead := f"{machine}-{2**22 + 1}", alive, *others):
        (tmp_path / name).mkdir()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {alive, *others}
    assert not (tmp_path / dead).exists()
