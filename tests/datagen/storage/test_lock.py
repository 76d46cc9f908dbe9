"""One owner to a store, in a folder or an object store: refused while the owner lives, taken over when it is dead."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from datagen.core.errors import InputError
from datagen.storage import lock
from datagen.storage.lock import BucketLock, FolderLock, Lock, Owner, owned, this_process
from datagen.storage.object_store import Bucket


@dataclass(frozen=True)
class Place:
    """Where a lock is: `lock()` as another process would see it, `write(note)` as another machine would leave it."""

    lock: Callable[[], Lock]
    write: Callable[[bytes], None]
    read: Callable[[], bytes]


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        file = tmp_path / "owner.json"

        def write(note: bytes) -> None:
            aside = tmp_path / "aside"
            aside.write_bytes(note)
            aside.replace(file)

        return Place(lambda: FolderLock(tmp_path), write, lambda: f"{file.stat().st_mtime_ns}".encode())
    bucket = Bucket(f"{request.getfixturevalue('s3')}/{tmp_path.name}")
    return Place(
        lambda: BucketLock(bucket), lambda note: bucket.write("owner.json", note), lambda: bucket.read("owner.json")
    )


def note(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode()


def elsewhere(purpose: str = "their sweep") -> Owner:
    return replace(this_process(purpose), host="node7", machine="another", token="theirs")


def test_a_living_owner_on_another_machine_is_named_with_its_start(place: Place) -> None:
    assert place.lock().create(elsewhere())
    with pytest.raises(InputError, match=r"in use: their sweep runs on node7 \(process \d+\) since \d{4}-"):
        with owned(place.lock(), "mine"):
            pass


def test_an_owner_on_another_machine_that_was_not_heard_of_for_long_is_taken_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(note(elsewhere()))
    monkeypatch.setattr(lock, "STALE_SECONDS", -1.0)
    with owned(place.lock(), "mine") as mine:
        assert place.lock().owner() == mine
    assert place.lock().owner() is None


def test_silence_is_told_by_the_stores_clock(tmp_path: Path) -> None:
    kept = FolderLock(tmp_path)
    kept.create(elsewhere())
    heard = time.time() - lock.STALE_SECONDS - 5
    os.utime(tmp_path / "owner.json", (heard, heard))
    assert kept.silence() == pytest.approx(lock.STALE_SECONDS + 5, abs=4)
    with owned(kept, "mine"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_id_that_another_process_uses_now_is_no_owner(place: Place) -> None:
    place.write(note(replace(this_process("long ago"), started=1.0, token="old")))
    with owned(place.lock(), "mine"):
        pass


def test_a_lock_that_was_torn_when_its_owner_died_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "owner.json").write_text("{")
    os.utime(tmp_path / "owner.json", (1, 1))
    with owned(FolderLock(tmp_path), "mine"):
        pass


def test_the_owner_is_heard_of_while_it_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with owned(place.lock(), "mine"):
        before = place.read()
        until(lambda: place.read() != before)


def test_an_owner_whose_lock_was_taken_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    lost, theirs = threading.Event(), elsewhere()
    with owned(place.lock(), "mine", on_lost=lost.set):

        def told() -> bool:
            place.write(note(theirs))  # Again, should the owner's own beat have come between.
            return lost.wait(0.2)

        until(told)
    assert place.lock().owner() == theirs


def test_of_many_contenders_for_a_dead_owners_lock_one_wins(place: Place) -> None:
    place.write(note(replace(this_process("long ago"), started=1.0, token="old")))
    winners, refused, end = [], [], threading.Event()

    def contend(number: int) -> None:
        try:
            with owned(place.lock(), f"contender {number}"):
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


def own_and_wait(root: Path, held: multiprocessing.synchronize.Event) -> None:
    with owned(FolderLock(root), "the first sweep"):
        held.set()
        multiprocessing.Event().wait()


def test_a_second_process_is_told_who_the_first_is_and_a_killed_one_counts_for_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    first = context.Process(target=own_and_wait, args=(tmp_path, held))
    first.start()
    try:
        assert held.wait(60)
        with pytest.raises(InputError, match=rf"the first sweep runs on .* \(process {first.pid}\) since"):
            with owned(FolderLock(tmp_path), "the second sweep"):
                pass
    finally:
        first.kill()
        first.join()
    with owned(FolderLock(tmp_path), "the third sweep"):
        assert json.loads((tmp_path / "owner.json").read_text())["pid"] == os.getpid()


def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_a_late_contender_for_a_dead_owners_lock_leaves_the_new_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at the dead owner's note and its removal, another has become the owner."""
    late, dead, new = FolderLock(tmp_path), replace(this_process("long ago"), started=1.0, token="old"), elsewhere()
    assert late.create(dead)
    looks = late.owner

    def look() -> lock.Owner | None:
        found = looks()
        if found == dead:  # Whoever is as fast now must not get past it.
            faster = FolderLock(tmp_path)
            faster.remove(dead)
            assert not faster.create(new)
        return found

    monkeypatch.setattr(late, "owner", look)
    late.remove(dead)
    assert late.create(new)
    late.remove(dead)
    assert FolderLock(tmp_path).owner() == new
    assert [path.name for path in tmp_path.iterdir()] == ["owner.json"]


def test_a_claim_that_was_left_behind_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "STALE_CLAIM_SECONDS", -1.0)
    folder, dead = FolderLock(tmp_path), replace(this_process("long ago"), started=1.0, token="old")
    assert folder.create(dead)
    monkeypatch.setattr("os.close", lambda number: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        folder.remove(dead)
    monkeypatch.undo()
    monkeypatch.setattr(lock, "STALE_CLAIM_SECONDS", -1.0)
    with owned(folder, "the next"):
        pass
    assert list(tmp_path.iterdir()) == []
