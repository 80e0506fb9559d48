"""The server: `with FakeHub(folder) as hub`, then HF_ENDPOINT=hub.url for the client."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from fakehub.api import USERS, Api, Reply
from fakehub.faults import Fault, Faults
from fakehub.store import Blob, Repo


class FakeHub:
    """A hub with two users, ann and bob.

    Args:
        folder: Where the Xet client stores content.

    Attributes:
        url: Its address.
        repos: Repositories by name.
        faults: What goes wrong.
        requests: `METHOD path` of every request, in order.
        tokens: Tokens that are accepted, with their users.
    """

    def __init__(self, folder: Path) -> None:
        self.cas = folder / "cas"
        self.cas.mkdir(parents=True, exist_ok=True)
        self.repos: dict[str, Repo] = {}
        self.faults = Faults()
        self.requests: list[str] = []
        self.tokens = dict(USERS)
        self.lfs: dict[str, Blob] = {}
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def titles(self, repo: str, revision: str = "main") -> list[str]:
        """Titles of the commits, the newest first."""
        return [commit.title for commit in self.repos[repo].log(revision)]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def answer(self) -> None:
        body = self._body()
        request = f"{self.command} {urlsplit(self.path).path}"
        with self.hub.lock:
            self.hub.requests.append(request)
        fault = self.hub.faults.take(request)
        if fault is not None and fault.kind == "stall":
            self.hub.stopping.wait(fault.seconds)
        if fault is not None and fault.kind in ("reset", "stall"):
            self._break()
            return
        if fault is not None and fault.kind == "status":
            self._send(Reply(fault.code, {"error": "ordered"}, fault.headers), None)
            return
        with self.hub.lock:
            reply = Api(self.hub, self.command, self.path, self.headers, body).reply()
        if fault is not None and fault.kind == "lost":
            self._break()
        else:
            self._send(reply, fault)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - the names of the base class

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _break(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, reply: Reply, fault: Fault | None) -> None:
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        sent = data
        if fault is not None and fault.kind == "corrupt":
            sent = data[:-7] + bytes([data[-7] ^ 1]) + data[-6:]
        if fault is not None and fault.kind == "truncate":
            sent = data[: len(data) // 2]
        self.send_response(reply.status)
        headers = {"Content-Length": str(len(data)), "Content-Type": "application/json"} | dict(reply.headers)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)
        if len(sent) < len(data):
            self._break()
