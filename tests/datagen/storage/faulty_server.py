"""A proxy on the loopback that stumbles: what an object store does on a bad day."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("500", "503", "cut", "lost", "slow")
"""Refused before anything is done; an answer that breaks off; done, but the answer is lost; late."""


class FaultyServer:
    """Where it listens, and how often each fault was met."""

    def __init__(self, behind: str, share: float, faults: tuple[str, ...]) -> None:
        self.met: Counter[str] = Counter()
        self.share, self.faults = share, faults
        self._random, self._lock = random.Random(1), threading.Lock()
        self._behind = urlsplit(behind).netloc
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words: object) -> None:
                pass

            def handle_any(self) -> None:
                server.answer(self)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"

    def fault(self) -> str:
        with self._lock:
            found = self._random.choice(self.faults) if self._random.random() < self.share else ""
            self.met[found] += 1
            return found

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        fault = self.fault()
        if fault in ("500", "503"):
            request.send_response(int(fault))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if fault == "slow":
            time.sleep(0.5)
        behind = HTTPConnection(self._behind, timeout=60)
        behind.request(request.command, request.path, body, dict(request.headers.items()))
        reply = behind.getresponse()
        content = reply.read()
        behind.close()
        if fault == "lost":
            request.close_connection = True
            return
        request.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                request.send_header(name, value)
        length = reply.getheader("Content-Length") if request.command == "HEAD" else len(content)
        request.send_header("Content-Length", str(length or 0))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
            request.close_connection = fault == "cut"


@contextmanager
def faulty_server(behind: str, share: float, faults: tuple[str, ...] = FAULTS) -> Iterator[FaultyServer]:
    """Answers for the server `behind`; this share of requests meets one of the faults."""
    server = FaultyServer(behind, share, faults)
    thread = threading.Thread(target=server.http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
