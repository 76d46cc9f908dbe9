"""Objects under an address such as s3://bucket/folder: read, written, and created or replaced by one writer only.

Amazon S3 and what speaks like it (also Google's gs:// and Azure's az://), through `obstore`, which takes credentials
and endpoints from the usual variables (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...) or from the machine's role.

What fails on its way is repeated here, for minutes: also what obstore does not repeat, as an answer that breaks off.
"""

from __future__ import annotations

import builtins
import errno
import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tenacity

from datagen.core.errors import InputError
from datagen.core.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger(__name__)
SCHEMES = ("s3", "gs", "az")
RETRIES: dict[str, Any] = {
    "retry_timeout": timedelta(seconds=10),
    "max_retries": 5,
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
}
"""What obstore repeats by itself: a request that is answered with 500 or 503, or not at all."""
PATIENCE_SECONDS = 300.0
"""How long anything is repeated: a store that is away for minutes, or stumbles, is outlasted."""
TOLD_AFTER, TOLD_EVERY = 5.0, 30.0
"""Seconds after which, and how often at most, a process says that it is waiting."""
CONNECTIONS = 16
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Variables that name an endpoint: the first that is set counts, as in AWS's own tools."""


class BucketError(OSError):
    """The object store does not answer, or not as it should: worth another try later."""


class ReplacedError(Exception):
    """An object is not what it was thought to be: somebody else was faster."""


@dataclass(frozen=True)
class Item:
    """An object: its key, size in bytes, and the time of its last change by the server's clock (seconds)."""

    key: str
    size: int
    changed: float


def is_address(location: str) -> bool:
    """Whether a store's location is one of an object store, and not a folder."""
    return "://" in location


_last_told = 0.0


def _tell(state: tenacity.RetryCallState) -> None:
    """Says, in the terminal of a command or the log of a task, why nothing seems to go on."""
    global _last_told
    error = state.outcome.exception() if state.outcome else None
    waiting = state.seconds_since_start or 0.0
    if isinstance(error, BucketError) and waiting > TOLD_AFTER and time.monotonic() - _last_told > TOLD_EVERY:
        _last_told = time.monotonic()
        left = max(0.0, PATIENCE_SECONDS - waiting)
        _logger.warning(
            "%s does not answer as it should (%s). Trying again for %.0f s.", error.filename, error.strerror, left
        )


_patiently = tenacity.retry(
    retry=tenacity.retry_if_exception_type(BucketError),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=10),
    stop=lambda state: (state.seconds_since_start or 0.0) > PATIENCE_SECONDS,
    before_sleep=_tell,
    reraise=True,
)


class Bucket:
    """The objects under an address; keys are relative to it, and stand in the bucket exactly as they are written.

    Every method raises `BucketError` if it cannot be reached for `PATIENCE_SECONDS`.

    Raises:
        InputError: the address is of a kind that is not known, or no object can have such a key.
    """

    def __init__(self, address: str) -> None:
        self._scheme, _, path = address.partition("://")
        if self._scheme not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise InputError(f"--store takes a folder or an object store ({known}), not {address!r}.")
        self.address = address.rstrip("/")
        self._bucket, _, self._prefix = path.rstrip("/").partition("/")
        parts = path.rstrip("/").split("/")
        if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
            raise InputError(
                f"--store {address!r} is no address of objects: give {self._scheme}://bucket/folder, without empty "
                "parts, dots alone or control characters."
            )
        self._opened: Any = None

    def __reduce__(self) -> Any:
        return Bucket, (self.address,)

    @property
    def _store(self) -> Any:
        if self._opened is None:
            self._opened = self._open(RETRIES)
        return self._opened

    def _open(self, retries: Any) -> Any:
        from obstore.store import AzureStore, GCSStore, S3Store

        endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
        # Whoever names an endpoint without TLS wants it: a server on the loopback, or in a rack of one's own.
        plain = endpoint.startswith("http://")
        options: Any = {"connect_timeout": "4s", "timeout": "10 minutes", "allow_http": plain}
        settings: Any = {"prefix": self._prefix or None, "client_options": options, "retry_config": retries}
        # Not by the address as a URL: that would cut it at a "#" or "?", and read "%20" as a space.
        with _as_errors(self.address):
            if self._scheme == "gs":
                return GCSStore(self._bucket, **settings)
            if self._scheme == "az":
                return AzureStore(self._bucket, **settings)
            if endpoint:
                settings["endpoint"] = endpoint
            return S3Store(self._bucket, **settings)

    def check(self) -> None:
        """Refuses an address that does not answer at once: most likely it is wrong.

        Raises:
            InputError: it does not.
        """
        once = self._open({"max_retries": 1, "retry_timeout": timedelta(seconds=4)})

        few = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(BucketError),
            wait=tenacity.wait_fixed(0.5),
            stop=tenacity.stop_after_attempt(5),
            reraise=True,
        )
        try:
            for attempt in few:
                with attempt, _as_errors(self.address):
                    once.head("store.json")
        except FileNotFoundError:
            pass
        except BucketError as error:
            raise InputError(
                f"The object store {self.address} does not answer ({error.strerror}). Check the address, "
                "AWS_ENDPOINT_URL and your credentials, then give the same command again."
            ) from error

    @_patiently
    def read(self, key: str) -> bytes:
        """An object's bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        with _as_errors(self.address, key):
            return bytes(self._store.get(key).bytes())

    @_patiently
    def read_part(self, key: str, start: int, length: int) -> bytes:
        """Some bytes of an object, fewer at its end.

        Raises:
            FileNotFoundError: there is none.
        """
        with _as_errors(self.address, key):
            return bytes(self._store.get_range(key, start=start, length=length))

    @_patiently
    def read_tagged(self, key: str) -> tuple[bytes, str]:
        """An object's bytes, and the tag that changes with them."""
        with _as_errors(self.address, key):
            found = self._store.get(key)
            return bytes(found.bytes()), str(found.meta["e_tag"])

    @_patiently
    def item(self, key: str) -> Item:
        """What an object is, without its bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        with _as_errors(self.address, key):
            return _item(self._store.head(key))

    @_patiently
    def write(self, key: str, content: bytes) -> None:
        """Writes an object whole, in place of what was there."""
        with _as_errors(self.address, key):
            self._store.put(key, content)

    @_patiently
    def create(self, key: str, content: bytes) -> str:
        """Writes an object if there is none, which one of several writers can do; returns its tag.

        Raises:
            ReplacedError: there is one already.
        """
        with _as_errors(self.address, key):
            return str(self._store.put(key, content, mode="create")["e_tag"])

    @_patiently
    def replace(self, key: str, content: bytes, tag: str) -> str:
        """Writes an object if the one there still has this tag; returns the new one's.

        Raises:
            ReplacedError: it has another, or is gone.
        """
        with _as_errors(self.address, key):
            try:
                return str(self._store.put(key, content, mode={"e_tag": tag})["e_tag"])
            except FileNotFoundError as error:
                raise ReplacedError(key) from error

    @_patiently
    def list(self, prefix: str) -> builtins.list[Item]:
        """All objects whose keys begin with `prefix`, which ends with "/" (or is "": all)."""
        with _as_errors(self.address, prefix):
            return [_item(meta) for page in self._store.list(prefix or None) for meta in page]

    @_patiently
    def remove(self, keys: Sequence[str]) -> None:
        """Removes objects; those that are not there are no error."""
        with _as_errors(self.address):
            for key in keys:
                try:
                    self._store.delete(key)
                except FileNotFoundError:
                    pass

    @_patiently
    def copy(self, source: str, target: str) -> None:
        """Copies an object within the store, without its bytes passing through here."""
        with _as_errors(self.address, source):
            self._store.copy(source, target)

    @_patiently
    def upload(self, path: Path, key: str) -> None:
        """Writes a file's bytes as an object, in parts if it is large."""
        with _as_errors(self.address, key), path.open("rb") as file:
            self._store.put(key, file)

    def download(self, key: str, path: Path) -> None:
        """Writes an object's bytes to a file, which is whole or absent.

        Raises:
            FileNotFoundError: there is no such object.
        """
        with self.downloaded(key, path):
            pass

    @contextmanager
    def downloaded(self, key: str, path: Path) -> Iterator[Path]:
        """The same, but yields the file before it gets its name: raise if it should not."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as aside:
            self._fetch(key, aside)
            yield aside

    @_patiently
    def _fetch(self, key: str, path: Path) -> None:
        with _as_errors(self.address, key):
            found = self._store.get(key)
            item = _item(found.meta)
            with path.open("wb") as file:
                for chunk in found.stream(min_chunk_size=8 * 1024**2):
                    file.write(chunk)
            if (size := path.stat().st_size) != item.size:
                raise BucketError(errno.EIO, f"{size} of {item.size} bytes came", f"{self.address}/{key}")
        os.utime(path, (item.changed, item.changed))

    @_patiently
    def sha256(self, key: str) -> str:
        """sha256 of an object's bytes, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        with _as_errors(self.address, key):
            for chunk in self._store.get(key).stream(min_chunk_size=8 * 1024**2):
                digest.update(chunk)
        return digest.hexdigest()

    def server_time(self) -> float:
        """The server's clock, seconds: that by which `Item.changed` is told."""
        key = f"clock.{uuid.uuid4().hex}"
        self.write(key, b"")
        try:
            return self.item(key).changed
        finally:
            self.remove([key])


def each(do: Callable[..., object], *arguments: Sequence[Any]) -> None:
    """Calls `do` for each of the arguments, `CONNECTIONS` at once; the first error is raised when all are done."""
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="bucket") as threads:
        for _ in threads.map(do, *arguments):
            pass


def _item(meta: Any) -> Item:
    return Item(str(meta["path"]), int(meta["size"]), meta["last_modified"].timestamp())


@contextmanager
def _as_errors(address: str, key: str = "") -> Iterator[None]:
    """Raises what obstore raises as errors that the rest knows: obstore's have no common base with files'."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise ReplacedError(key) from error
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise InputError(f"There is no bucket for {address}. Make it, or give another --store.") from None
        raise FileNotFoundError(errno.ENOENT, "no such object", f"{address}/{key}") from None
    except (PermissionError, exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise InputError(
            f"{address} refuses access ({_first_line(error)}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "what your object store takes, on every node."
        ) from None
    except exceptions.BaseError as error:
        raise BucketError(errno.EIO, _first_line(error), f"{address}/{key}") from None


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
