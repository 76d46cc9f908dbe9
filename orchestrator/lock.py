"""One sweep writes to a store at a time: a lock with owner and heartbeat, also between machines that share the folder.

`owner.json` is the lock. It is created exclusively, which NFS does atomically too, and touched every few seconds. An
owner counts as dead if it ran on this machine and its process is gone, or if it has not been heard of for
`STALE_SECONDS`, by the clock of the file server alone: clocks of machines differ.
"""

from __future__ import annotations

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

import psutil

from datagen.errors import InputError

BEAT_SECONDS = 5.0
STALE_SECONDS = 90.0
"""An owner that the store was unreachable for is alive: the store may be away for half a minute and more."""


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


def read_owner(root: Path) -> Owner | None:
    """Who holds the store in `root`, alive or not; None if nobody does, or the file cannot be read."""
    try:
        return Owner(**json.loads((root / "owner.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_alive(root: Path, owner: Owner) -> bool:
    """Whether the owner still runs, as far as can be told from here."""
    if owner.machine == _machine():
        try:
            # A process id is used again; its start tells whose it is.
            return abs(psutil.Process(owner.pid).create_time() - owner.started) < 1.0
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True
    return _silence(root) < STALE_SECONDS


@contextmanager
def owned(root: Path, purpose: str, on_lost: Callable[[], None] | None = None) -> Iterator[Owner]:
    """Holds the lock of the store in `root`.

    Args:
        root: the store.
        purpose: what the owner does, for others to read.
        on_lost: called if somebody else has taken the lock, which only happens to an owner that was not heard of for
            long; by default the process is sent SIGTERM, which ends a sweep after its running epochs.

    Raises:
        InputError: another sweep holds it; the message says which and since when.
    """
    mine = this_process(purpose)
    while not _create(root, mine):
        other = read_owner(root)
        if other is None and _silence(root) < BEAT_SECONDS:
            time.sleep(0.1)  # It is being written, or was just removed.
        elif other is not None and is_alive(root, other):
            raise InputError(f"The store is in use: {other.sentence()}. Wait until it ends, or choose another --store.")
        else:
            _remove(root, other)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(root, mine, stop, on_lost or _terminate), daemon=True)
    beat.start()
    try:
        yield mine
    finally:
        stop.set()
        beat.join(BEAT_SECONDS)
        _remove(root, mine)


def _create(root: Path, owner: Owner) -> bool:
    try:
        file = os.open(root / "owner.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(file, "w") as stream:
        stream.write(json.dumps(asdict(owner)))
        stream.flush()
        os.fsync(file)
    return True


def _remove(root: Path, owner: Owner | None) -> None:
    """Removes the lock if it is still that owner's (None: an unreadable one).

    It is first renamed, which one of several contenders can do, and looked at: should somebody have been faster and be
    the owner by now, it is put back.
    """
    aside = root / f"owner.{uuid.uuid4().hex}"
    try:
        if read_owner(root) == owner:
            (root / "owner.json").rename(aside)
    except OSError:
        return
    try:
        found: Owner | None = Owner(**json.loads(aside.read_text()))
    except (OSError, ValueError, TypeError):
        found = None
    if found is not None and found != owner:
        try:
            os.link(aside, root / "owner.json")
        except OSError:
            pass
    aside.unlink(missing_ok=True)


def _beat(root: Path, mine: Owner, stop: threading.Event, on_lost: Callable[[], None]) -> None:
    while not stop.wait(BEAT_SECONDS):
        try:
            os.utime(root / "owner.json")
            found = read_owner(root)
        except FileNotFoundError:
            # An empty store, or one that was removed and mounted again: it is still ours if nobody was faster.
            try:
                _create(root, mine)
            except OSError:
                pass
            continue
        except OSError:
            continue  # The store is away: it may come back.
        if found is not None and found != mine:
            on_lost()
            return


def _silence(root: Path) -> float:
    """Seconds since the owner's last heartbeat by the file server's clock; 0 if it cannot be told."""
    probe = root / f"clock.{uuid.uuid4().hex}"
    try:
        probe.write_text("")
        return probe.stat().st_mtime - (root / "owner.json").stat().st_mtime
    except OSError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _machine() -> str:
    """Tells apart machines, their starts, and containers on them: where process ids mean something else."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
