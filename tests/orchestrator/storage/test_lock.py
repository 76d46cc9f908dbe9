"""One owner to a store: refused while the owner lives, taken over when it is dead, on this machine or another."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from orchestrator.storage import lock
from orchestrator.storage.lock import FolderLock, Owner, owned, this_process


def hold(root: Path, owner: Owner, silent_seconds: float = 0.0) -> None:
    """Leaves the lock of `owner`, last heard of so long ago."""
    path = root / "owner.json"
    path.write_text(json.dumps(asdict(owner)))
    heard = time.time() - silent_seconds
    os.utime(path, (heard, heard))


def elsewhere(purpose: str = "their sweep") -> Owner:
    return replace(this_process(purpose), host="node7", machine="another", token="theirs")


def test_a_living_owner_on_another_machine_is_named_with_its_start(tmp_path: Path) -> None:
    hold(tmp_path, elsewhere(), lock.STALE_SECONDS / 2)
    with pytest.raises(InputError, match=r"in use: their sweep runs on node7 \(process \d+\) since \d{4}-"):
        with owned(FolderLock(tmp_path), "mine"):
            pass


def test_an_owner_on_another_machine_that_was_not_heard_of_for_long_is_taken_over(tmp_path: Path) -> None:
    hold(tmp_path, elsewhere(), lock.STALE_SECONDS + 5)
    with owned(FolderLock(tmp_path), "mine") as mine:
        assert FolderLock(tmp_path).owner() == mine
    assert list(tmp_path.iterdir()) == []


def test_a_process_id_that_another_process_uses_now_is_no_owner(tmp_path: Path) -> None:
    hold(tmp_path, replace(this_process("long ago"), started=1.0, token="old"))
    with owned(FolderLock(tmp_path), "mine"):
        pass


def test_a_lock_that_was_torn_when_its_owner_died_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "owner.json").write_text("{")
    os.utime(tmp_path / "owner.json", (1, 1))
    with owned(FolderLock(tmp_path), "mine"):
        pass


def test_the_owner_is_heard_of_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    with owned(FolderLock(tmp_path), "mine"):
        os.utime(tmp_path / "owner.json", (1, 1))
        until(lambda: (tmp_path / "owner.json").stat().st_mtime > 1)


def test_an_owner_whose_lock_was_taken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    lost = threading.Event()
    with owned(FolderLock(tmp_path), "mine", on_lost=lost.set):
        aside = tmp_path / "aside"
        aside.write_text(json.dumps(asdict(elsewhere())))
        aside.replace(tmp_path / "owner.json")
        assert lost.wait(30)
    assert FolderLock(tmp_path).owner() == elsewhere()


def test_of_many_contenders_for_a_dead_owners_lock_one_wins(tmp_path: Path) -> None:
    hold(tmp_path, elsewhere(), lock.STALE_SECONDS + 5)
    winners, refused, end = [], [], threading.Event()

    def contend(number: int) -> None:
        try:
            with owned(FolderLock(tmp_path), f"contender {number}"):
                winners.append(number)
                end.wait(30)
        except InputError:
            refused.append(number)
            if len(refused) == 7:
                end.set()

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(winners) == 1
    assert len(refused) == 7


def until(condition: object) -> None:
    for _ in range(3000):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")
