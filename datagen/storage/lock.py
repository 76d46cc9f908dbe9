"""One sweep writes to a store at a time: a lock with owner and heartbeat, also between machines that share the store.

The lock is the file (or object) `owner.json`. It is created exclusively, which NFS and object stores do atomically too,
and written to every few seconds. An owner counts as dead if it ran on this machine and its process is gone, or if it
has not been heard of for `STALE_SECONDS`, by the clock of the store's server alone: clocks of machines differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import psutil

from datagen.core.errors import InputError
from datagen.storage.object_store import Bucket, ReplacedError

BEAT_SECONDS = 5.0
STALE_SECONDS = 90.0
"""An owner that the store was unreachable for is alive: the store may be away for half a minute and more."""
STALE_CLAIM_SECONDS = 10.0
LOCK = "owner.json"


@dataclass(frozen=True)
class Owner:
    """Who holds a store: `purpose` is its command; `machine` tells process ids of different machines apart."""

    purpose: str
    host: str
    machine: str
    pid: int
    started: float
    since: str
    token: str

    def sentence(self) -> str:
        """Who it is and since when."""
        return f"{self.purpose} runs on {self.host} (process {self.pid}) since {self.since}"


class Lock(Protocol):
    """What holds the note of a store's owner: a file or an object."""

    def owner(self) -> Owner | None:
        """Who holds the store, alive or not; None if nobody does, or the note cannot be read."""

    def silence(self) -> float:
        """Seconds since the owner's last heartbeat by the server's clock; 0 if it cannot be told."""

    def create(self, owner: Owner) -> bool:
        """Writes the note if there is none; whether it did."""

    def remove(self, owner: Owner | None) -> None:
        """Removes the note if it is still that owner's (None: an unreadable one)."""

    def beat(self, owner: Owner) -> None:
        """Lets others hear of the owner; writes the note anew if it is gone.

        Raises:
            OSError: the store is away.
        """


def this_process(purpose: str) -> Owner:
    """This process as an owner."""
    pid = os.getpid()
    return Owner(
        purpose=purpose,
        host=socket.gethostname(),
        machine=_machine(),
        pid=pid,
        started=psutil.Process(pid).create_time(),
        since=time.strftime("%Y-%m-%d %H:%M:%S"),
        token=uuid.uuid4().hex,
    )


def is_alive(lock: Lock, owner: Owner) -> bool:
    """Whether the owner still runs, as far as can be told from here."""
    if owner.machine == _machine():
        try:
            # A process id is used again; its start tells whose it is.
            return abs(psutil.Process(owner.pid).create_time() - owner.started) < 1.0
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True
    return lock.silence() < STALE_SECONDS


@contextmanager
def owned(lock: Lock, purpose: str, on_lost: Callable[[], None] | None = None) -> Iterator[Owner]:
    """Holds a store's lock.

    Args:
        lock: the store's.
        purpose: what the owner does, for others to read.
        on_lost: called if somebody else has taken the lock, which only happens to an owner that was not heard of for
            long; by default the process is sent SIGTERM, which ends a sweep after its running epochs.

    Raises:
        InputError: another sweep holds it; the message says which and since when.
    """
    mine = this_process(purpose)
    while not lock.create(mine):
        other = lock.owner()
        if other == mine:
            break  # It was written, and the answer was lost.
        if other is None and lock.silence() < BEAT_SECONDS:
            time.sleep(0.1)  # It is being written, or was just removed.
        elif other is not None and is_alive(lock, other):
            raise InputError(f"The store is in use: {other.sentence()}. Wait until it ends, or choose another --store.")
        else:
            lock.remove(other)
    stop = threading.Event()
    beat = threading.Thread(target=_keep_beating, args=(lock, mine, stop, on_lost or _terminate), daemon=True)
    beat.start()
    try:
        yield mine
    finally:
        stop.set()
        beat.join(BEAT_SECONDS)
        lock.remove(mine)


def _keep_beating(lock: Lock, mine: Owner, stop: threading.Event, on_lost: Callable[[], None]) -> None:
    while not stop.wait(BEAT_SECONDS):
        try:
            lock.beat(mine)
            found = lock.owner()
        except OSError:
            continue  # The store is away: it may come back.
        if found is not None and found != mine:
            on_lost()
            return


class FolderLock:
    """The lock of a store in a folder."""

    def __init__(self, root: Path) -> None:
        self._root, self._file = root, root / LOCK

    def owner(self) -> Owner | None:
        try:
            return _owner(self._file.read_bytes())
        except OSError:
            return None

    def silence(self) -> float:
        return self._age(self._file)

    def _age(self, file: Path) -> float:
        """Seconds since a file was written, by the clock of whoever keeps the folder; 0 if it cannot be told."""
        probe = self._root / f"clock.{uuid.uuid4().hex}"
        try:
            probe.write_text("", encoding="utf-8")
            return probe.stat().st_mtime - file.stat().st_mtime
        except OSError:
            return 0.0
        finally:
            probe.unlink(missing_ok=True)

    def create(self, owner: Owner) -> bool:
        try:
            file = os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(file, "wb") as stream:
            stream.write(_note(owner))
            stream.flush()
            os.fsync(file)
        return True

    def remove(self, owner: Owner | None) -> None:
        # Only who has the claim on this owner's note may remove it: between a look at the note and its removal a faster
        # contender could otherwise have put its own there.
        claim = self._root / f"owner.{hashlib.sha256(repr(owner).encode()).hexdigest()[:16]}.claim"
        try:
            os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            if self._age(claim) > STALE_CLAIM_SECONDS:  # Who had it died within the two lines below.
                claim.unlink(missing_ok=True)
            time.sleep(0.01)
            return
        except OSError:
            return
        try:
            if self.owner() == owner:
                self._file.unlink()
        except OSError:
            pass
        finally:
            claim.unlink(missing_ok=True)

    def beat(self, owner: Owner) -> None:
        try:
            os.utime(self._file)
        except FileNotFoundError:
            # An empty store, or one that was removed and mounted again: it is still ours if nobody was faster.
            self.create(owner)


class BucketLock:
    """The lock of a store in an object store: the server refuses all writers of a note but the first."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self._beats = bucket, 0

    def owner(self) -> Owner | None:
        try:
            return _owner(self._bucket.read(LOCK))
        except FileNotFoundError:
            return None

    def silence(self) -> float:
        try:
            changed = self._bucket.item(LOCK).changed
            return self._bucket.server_time() - changed
        except OSError:
            return 0.0

    def create(self, owner: Owner) -> bool:
        try:
            self._bucket.create(LOCK, _note(owner))
        except ReplacedError:
            try:
                content, tag = self._bucket.read_tagged(LOCK)
                if content:
                    return _owner(content) == owner  # Our own, if the answer to a first try was lost.
                self._bucket.replace(LOCK, _note(owner), tag)
            except (FileNotFoundError, ReplacedError):
                return False
        return True

    def remove(self, owner: Owner | None) -> None:
        # The note is emptied, not deleted: the server lets one of several contenders do that, and refuses a late one.
        try:
            content, tag = self._bucket.read_tagged(LOCK)
            if _owner(content) == owner:
                self._bucket.replace(LOCK, b"", tag)
        except (OSError, ReplacedError):
            return

    def beat(self, owner: Owner) -> None:
        self._beats += 1
        try:
            content, tag = self._bucket.read_tagged(LOCK)
            if _owner(content) == owner:
                self._bucket.replace(LOCK, _note(owner, self._beats), tag)
        except FileNotFoundError:
            self.create(owner)
        except ReplacedError:
            pass  # Somebody has taken the lock: the next look at the owner tells.


def _note(owner: Owner, beats: int = 0) -> bytes:
    return json.dumps({**asdict(owner), "beats": beats}).encode()


def _owner(note: bytes) -> Owner | None:
    try:
        values = json.loads(note)
        values.pop("beats", None)
        return Owner(**values)
    except (ValueError, TypeError, AttributeError):
        return None


def _machine() -> str:
    """Tells apart machines, their starts, and containers on them: where process ids mean something else."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
