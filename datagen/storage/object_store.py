"""Objects under an address such as s3://bucket/folder: read, written, and created or replaced by one writer only.

Amazon S3 and what speaks like it (also Google's gs:// and Azure's az://), through `obstore`, which takes credentials
and endpoints from the usual variables (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...) or from the machine's role, and
repeats requests that fail on their way.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.core.errors import InputError
from datagen.core.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMES = ("s3", "gs", "az")
PATIENCE: dict[str, Any] = {
    "retry_timeout": timedelta(seconds=60),
    "max_retries": 40,
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
}
"""How long a request is repeated: a store that is away for half a minute is outlasted."""
CONNECTIONS = 16


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


class Bucket:
    """The objects under an address; keys are relative to it. Every method raises `BucketError` if it cannot be reached.

    Raises:
        InputError: the address is of a kind that is not known.
    """

    def __init__(self, address: str) -> None:
        scheme = address.partition("://")[0]
        if scheme not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise InputError(f"--store takes a folder or an object store ({known}), not {address!r}.")
        self.address = address.rstrip("/")
        self._opened: Any = None

    def __reduce__(self) -> Any:
        return Bucket, (self.address,)

    @property
    def _store(self) -> Any:
        if self._opened is None:
            self._opened = self._open(PATIENCE)
        return self._opened

    def _open(self, retries: Any) -> Any:
        from obstore.store import from_url

        # Whoever names an endpoint without TLS wants it: a server on the loopback, or in a rack of one's own.
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        options: Any = {"connect_timeout": "4s", "timeout": "10 minutes", "allow_http": plain}
        with _as_errors(self.address):
            return from_url(self.address, client_options=options, retry_config=retries)

    def check(self) -> None:
        """Refuses an address that does not answer at once: most likely it is wrong.

        Raises:
            InputError: it does not.
        """
        try:
            with _as_errors(self.address):
                self._open({"max_retries": 1, "retry_timeout": timedelta(seconds=4)}).head("store.json")
        except FileNotFoundError:
            pass
        except BucketError as error:
            raise InputError(
                f"The object store {self.address} does not answer ({error.strerror}). Check the address, "
                "AWS_ENDPOINT_URL and your credentials, then give the same command again."
            ) from error

    def read(self, key: str) -> bytes:
        """An object's bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        with _as_errors(self.address, key):
            return bytes(self._store.get(key).bytes())

    def read_part(self, key: str, start: int, length: int) -> bytes:
        """Some bytes of an object, fewer at its end.

        Raises:
            FileNotFoundError: there is none.
        """
        with _as_errors(self.address, key):
            return bytes(self._store.get_range(key, start=start, length=length))

    def read_tagged(self, key: str) -> tuple[bytes, str]:
        """An object's bytes, and the tag that changes with them."""
        with _as_errors(self.address, key):
            found = self._store.get(key)
            return bytes(found.bytes()), str(found.meta["e_tag"])

    def item(self, key: str) -> Item:
        """What an object is, without its bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        with _as_errors(self.address, key):
            return _item(self._store.head(key))

    def write(self, key: str, content: bytes) -> None:
        """Writes an object whole, in place of what was there."""
        with _as_errors(self.address, key):
            self._store.put(key, content)

    def create(self, key: str, content: bytes) -> str:
        """Writes an object if there is none, which one of several writers can do; returns its tag.

        Raises:
            ReplacedError: there is one already.
        """
        with _as_errors(self.address, key):
            return str(self._store.put(key, content, mode="create")["e_tag"])

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

    def list(self, prefix: str) -> Iterator[Item]:
        """All objects whose keys begin with `prefix`, which ends with "/" (or is "": all)."""
        with _as_errors(self.address, prefix):
            for page in self._store.list(prefix or None):
                yield from (_item(meta) for meta in page)

    def remove(self, keys: Sequence[str]) -> None:
        """Removes objects; those that are not there are no error."""
        with _as_errors(self.address):
            for key in keys:
                try:
                    self._store.delete(key)
                except FileNotFoundError:
                    pass

    def copy(self, source: str, target: str) -> None:
        """Copies an object within the store, without its bytes passing through here."""
        with _as_errors(self.address, source):
            self._store.copy(source, target)

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
            with _as_errors(self.address, key):
                found = self._store.get(key)
                changed = _item(found.meta).changed
                with aside.open("wb") as file:
                    for chunk in found.stream(min_chunk_size=8 * 1024**2):
                        file.write(chunk)
            os.utime(aside, (changed, changed))
            yield aside

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
