"""A Hugging Face hub on the loopback: repositories are folders, and its faults are chosen."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"
EXPORT, EXPORTED_SHA = "refs/convert/parquet", "89abcdef0123456789abcdef0123456789abcdef"
"""The branch with the hub's own Parquet files, which lie in `root/exports/OWNER/NAME`."""


@dataclass
class StandInHub:
    """Serves `root/models/OWNER/NAME`, `root/datasets/OWNER/NAME`, and exports of the latter.

    Attributes:
        root: of the repositories.
        address: of the server.
        cards: what the top of a repository's README says, by its id; a licence, for example.
        status: the HTTP status that a request gets, by a part of its path.
        cut: files of which only the first half is sent, by a part of their path, and how often still.
        asked: how often each path was asked for with GET.
    """

    root: Path
    address: str
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def settings(self) -> Mapping[str, str]:
        """Environment variables of a process that is to take it for the hub."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(self.root / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


@contextmanager
def stand_in_hub(root: Path) -> Iterator[StandInHub]:
    """A hub that serves what lies in `root`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = hub = StandInHub(root, f"http://127.0.0.1:{server.server_address[1]}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _hub(self) -> StandInHub:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._hub.asked[urlsplit(self.path).path] += 1
        self._answer(body=True)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        if "/paths-info/" in path:
            wanted = json.loads(asked)["paths"] if asked.startswith(b"{") else parse_qs(asked.decode()).get("paths", [])
            repository, _, revision = path.removeprefix("/api/").partition("/paths-info/")
            folder = self._repository(repository, revision)
            self._json([_entry(folder, folder / name) for name in wanted if folder and (folder / name).exists()])
        else:
            self._json({})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        for part, status in self._hub.status.items():
            if part in path:
                self._refuse(status)
                return
        if path.startswith("/api/"):
            self._describe(path.removeprefix("/api/"))
        elif "/resolve/" in path:
            self._send(path, body)
        else:
            self._refuse(404)

    def _describe(self, path: str) -> None:
        if "/tree/" in path:
            repository, _, rest = path.partition("/tree/")
            revision, _, below = rest.partition("/")
            folder = self._repository(repository, revision)
            top = (folder or Path()) / below
            if folder is None or not top.is_dir():
                self._refuse(404, "EntryNotFound")
                return
            whole = "recursive=true" in self.path.lower()
            self._json([_entry(folder, path) for path in sorted(top.rglob("*") if whole else top.iterdir())])
            return
        repository, _, revision = path.partition("/revision/")
        folder = self._repository(repository, revision)
        if folder is None:
            self._refuse(404)
            return
        if revision not in ("", "main", SHA, EXPORT, EXPORTED_SHA):
            self._refuse(404, "RevisionNotFound")
            return
        name = "/".join(repository.split("/")[1:])
        self._json(
            {
                "id": name,
                "sha": EXPORTED_SHA if revision in (EXPORT, EXPORTED_SHA) else SHA,
                "private": False,
                "gated": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "cardData": self._hub.cards.get(name, {}),
                "siblings": [
                    {"rfilename": file.relative_to(folder).as_posix(), "size": file.stat().st_size}
                    for file in _files(folder)
                ],
            }
        )

    def _send(self, path: str, body: bool) -> None:
        repository, _, rest = path.strip("/").partition("/resolve/")
        repository = repository if repository.startswith("datasets/") else f"models/{repository}"
        revision, _, name = rest.partition("/")
        folder = self._repository(repository, revision)
        if folder is None or not (folder / name).is_file():
            self._refuse(404, "EntryNotFound" if folder else "RepoNotFound")
            return
        content = (folder / name).read_bytes()
        first, last = 0, len(content) - 1
        ranged = self.headers.get("Range", "")
        if ranged.startswith("bytes="):
            start, _, end = ranged.removeprefix("bytes=").partition("-")
            first, last = (
                (int(start), min(last, int(end)) if end else last) if start else (len(content) - int(end), last)
            )
        part = content[first : last + 1]
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(part)))
        if ranged:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", EXPORTED_SHA if revision == EXPORTED_SHA else SHA)
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        if not body:
            return
        cut = next((key for key, left in self._hub.cut.items() if key in path and left > 0), None)
        if cut:
            self._hub.cut[cut] -= 1
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
        else:
            self.wfile.write(part)

    def _repository(self, path: str, revision: str = "") -> Path | None:
        kind, *name = path.split("/")
        folder = self._hub.root.joinpath("exports" if revision in (EXPORT, EXPORTED_SHA) else kind, *name)
        return folder if kind in ("models", "datasets") and len(name) == 2 and folder.is_dir() else None

    def _json(self, values: Any) -> None:
        content = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", SHA)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, status: int, code: str = "RepoNotFound") -> None:
        codes = {401: "RepoNotFound", 403: "GatedRepo", 404: code}
        self.send_response(status)
        if status in codes:
            self.send_header("X-Error-Code", codes[status])
        self.send_header("X-Error-Message", f"refused with {status}")
        self.send_header("Content-Length", "0")
        self.end_headers()


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": hashlib.sha256(name.encode()).hexdigest()[:40]}
    content = path.read_bytes()
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha256(content).hexdigest()[:40]}
