"""The server: `with FakeHub(folder) as hub`, then HF_ENDPOINT=hub.url for the client."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from fakehub.faults import Fault, Faults
from fakehub.store import Blob, Commit, Repo, apply, check_yaml, large_in_shards, oid_of

TOKEN, READER, STRANGER = "hf_testtokenofann", "hf_testtokenreader", "hf_testtokenofbob"
USERS = {TOKEN: "ann", READER: "ann", STRANGER: "bob"}
PAGE = 5
"""Entries of a tree per page; the real one has more."""
LARGE_BYTES = 20_000
"""Files of this size or more are large, and so are all weights."""


@dataclass
class Reply:
    """An answer."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def refuse(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"error": message}, {"X-Error-Code": code, "X-Error-Message": message})


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
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
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

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

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
                with hub.lock:
                    hub.requests.append(request)
                fault = hub.faults.take(request)
                if fault is not None and fault.kind == "stall":
                    hub.stopping.wait(fault.seconds)
                if fault is not None and fault.kind in ("reset", "stall"):
                    self._break()
                    return
                if fault is not None and fault.kind == "status":
                    self._send(Reply(fault.code, {"error": "ordered"}, fault.headers), None)
                    return
                with hub.lock:
                    reply = Api(hub, self.command, self.path, self.headers, body).reply()
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

        return Handler


class Api:
    """One request."""

    def __init__(self, hub: FakeHub, method: str, target: str, headers: Any, body: bytes) -> None:
        parts = urlsplit(target)
        self.hub, self.method, self.body, self.headers = hub, method, body, headers
        self.path, self.query = parts.path, parse_qs(parts.query)
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        self.token, self.user = token, hub.tokens.get(token)

    def reply(self) -> Reply:
        if self.token and self.user is None and not self.path.startswith("/store/"):
            return refuse(401, "", "Invalid credentials in Authorization header")
        for pattern, answer in ROUTES:
            if match := re.fullmatch(pattern, f"{self.method} {self.path}"):
                return answer(self, *(unquote(group) for group in match.groups()))
        return refuse(404, "", f"no route for {self.method} {self.path}")

    def json(self) -> Any:
        return json.loads(self.body)

    def repo(self, name: str, *, write: bool = False) -> Repo | Reply:
        repo = self.hub.repos.get(name)
        mine = self.user == name.split("/")[0]
        if repo is None or (repo.private and not mine):
            return refuse(404 if self.user else 401, "RepoNotFound", "Repository not found")
        if write and (not mine or self.token == READER):
            return refuse(403, "", "You don't have the rights to push to this repository")
        return repo

    def commit_of(self, name: str, revision: str) -> tuple[Repo, Commit] | Reply:
        repo = self.repo(name)
        if isinstance(repo, Reply):
            return repo
        commit = repo.find(revision)
        return (repo, commit) if commit else refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def whoami(self) -> Reply:
        return Reply(body={"name": self.user, "type": "user"}) if self.user else refuse(401, "", "no token")

    def validate(self) -> Reply:
        wrong = check_yaml(self.json()["content"])
        if wrong:
            return Reply(400, {"errors": [{"message": text} for text in wrong], "warnings": []})
        return Reply(body={"errors": [], "warnings": []})

    def create(self) -> Reply:
        asked = self.json()
        name = f"{asked.get('organization') or self.user}/{asked['name']}"
        if not self.user:
            return refuse(401, "", "no token")
        if name.split("/")[0] != self.user or self.token == READER:
            return refuse(403, "", "You don't have the rights to create a model under this namespace")
        if name in self.hub.repos:
            return refuse(409, "", "You already created this model repo")
        self.hub.repos[name] = Repo(name, asked.get("visibility") == "private")
        return Reply(body={"url": f"{self.hub.url}/{name}", "id": name})

    def info(self, name: str, revision: str = "main") -> Reply:
        found = self.commit_of(name, revision)
        if isinstance(found, Reply):
            return found
        return Reply(body={"id": name, "sha": found[1].oid, "private": found[0].private, "siblings": []})

    def preupload(self, name: str, revision: str) -> Reply:
        repo = self.repo(name, write=True)
        if isinstance(repo, Reply):
            return repo
        head = repo.find(revision)
        if head is None:
            return refuse(404, "RevisionNotFound", "Invalid rev id")
        files = []
        for file in self.json()["files"]:
            large = file["size"] >= LARGE_BYTES or file["path"].endswith(".safetensors")
            there = head.files.get(file["path"])
            oid = None if there is None else there.lfs or there.oid
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Reply(body={"files": files})

    def commit(self, name: str, branch: str) -> Reply:
        repo = self.repo(name, write=True)
        if isinstance(repo, Reply):
            return repo
        large = self.hub.lfs | large_in_shards(self.hub.cas)
        lines = [json.loads(line) for line in self.body.splitlines()]
        made = apply(repo, branch, lines, self.user or "", large)
        if isinstance(made, str):
            return refuse(412, "", made)
        url = f"{self.hub.url}/{name}/commit/{made.oid}"
        return Reply(body={"success": True, "commitOid": made.oid, "commitUrl": url, "pullRequestUrl": None})

    def commits(self, name: str, revision: str) -> Reply:
        found = self.commit_of(name, revision)
        if isinstance(found, Reply):
            return found
        return Reply(
            body=[
                {"id": c.oid, "title": c.title, "message": c.message, "date": "2026-01-01T00:00:00.000Z",
                 "authors": [{"user": c.author}]}
                for c in found[0].log(revision)
            ]
        )  # fmt: skip

    def tree(self, name: str, revision: str) -> Reply:
        found = self.commit_of(name, revision)
        if isinstance(found, Reply):
            return found
        start = int(self.query.get("cursor", ["0"])[0])
        entries = [
            {"type": "file", "path": path, "size": blob.size, "oid": blob.oid}
            | ({"lfs": {"oid": blob.lfs, "size": blob.size, "pointerSize": 134}} if blob.lfs else {})
            | ({"xetHash": blob.xet} if blob.xet else {})
            for path, blob in sorted(found[1].files.items())
        ]
        after = f"{self.hub.url}{self.path}?recursive=true&cursor={start + PAGE}"
        link = {"Link": f'<{after}>; rel="next"'} if start + PAGE < len(entries) else {}
        return Reply(body=entries[start : start + PAGE], headers=link)

    def refs(self, name: str) -> Reply:
        repo = self.repo(name)
        if isinstance(repo, Reply):
            return repo
        kinds = (("branches", "heads", repo.branches), ("tags", "tags", repo.tags))
        return Reply(
            body={
                kind: [{"name": n, "ref": f"refs/{ref}/{n}", "targetCommit": oid} for n, oid in table.items()]
                for kind, ref, table in kinds
            } | {"converts": []}
        )  # fmt: skip

    def tag(self, name: str, revision: str) -> Reply:
        return self._name(name, revision, "tags", self.json()["tag"])

    def branch(self, name: str, branch: str) -> Reply:
        return self._name(name, self.json().get("startingPoint", "main"), "branches", branch)

    def _name(self, name: str, revision: str, kind: str, new: str) -> Reply:
        repo = self.repo(name, write=True)
        if isinstance(repo, Reply):
            return repo
        target, table = repo.find(revision), getattr(repo, kind)
        if target is None:
            return refuse(404, "RevisionNotFound", "Invalid rev id")
        if new in table:
            return refuse(409, "", "Reference already exists")
        table[new] = target.oid
        return Reply(body={})

    def lfs_batch(self, name: str) -> Reply:
        repo = self.repo(name, write=True)
        if isinstance(repo, Reply):
            return repo
        objects = []
        for wanted in self.json()["objects"]:
            there = wanted["oid"] in self.hub.lfs
            upload = {"href": f"{self.hub.url}/store/{wanted['oid']}", "header": {}}
            objects.append(
                {"oid": wanted["oid"], "size": wanted["size"]} | ({} if there else {"actions": {"upload": upload}})
            )
        return Reply(body={"transfer": "basic", "objects": objects})

    def store(self, oid: str) -> Reply:
        if oid_of(self.body) != oid:
            return refuse(400, "", "content does not have this hash")
        self.hub.lfs[oid] = Blob.large(oid, len(self.body), self.body, None)
        return Reply()

    def xet_token(self, name: str, kind: str, _revision: str) -> Reply:
        repo = self.repo(name, write=kind == "write")
        if isinstance(repo, Reply):
            return repo
        cas, until = f"local://{self.hub.cas}", int(time.time()) + 3600
        return Reply(
            body={"accessToken": "xet", "exp": until, "casUrl": cas},
            headers={"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(until)},
        )

    def resolve(self, name: str, revision: str, path: str) -> Reply:
        found = self.commit_of(name, revision)
        if isinstance(found, Reply):
            return found
        blob = found[1].files.get(path)
        if blob is None:
            return refuse(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": found[1].oid, "ETag": f'"{blob.lfs or blob.oid}"', "X-Linked-Size": str(blob.size)}
        if blob.xet:
            route = f"{self.hub.url}/api/models/{name}/xet-read-token/{found[1].oid}"
            headers |= {"X-Xet-Hash": blob.xet, "X-Xet-Refresh-Route": route}
        return Reply(body=blob.data or b"", headers=headers)


_ID = r"([^/]+/[^/]+)"
ROUTES: list[tuple[str, Callable[..., Reply]]] = [
    (r"GET /api/whoami-v2", Api.whoami),
    (r"POST /api/validate-yaml", Api.validate),
    (r"POST /api/repos/create", Api.create),
    (rf"GET /api/models/{_ID}", Api.info),
    (rf"GET /api/models/{_ID}/revision/([^/]+)", Api.info),
    (rf"POST /api/models/{_ID}/preupload/([^/]+)", Api.preupload),
    (rf"POST /api/models/{_ID}/commit/([^/]+)", Api.commit),
    (rf"GET /api/models/{_ID}/commits/([^/]+)", Api.commits),
    (rf"GET /api/models/{_ID}/tree/([^/]+)", Api.tree),
    (rf"GET /api/models/{_ID}/refs", Api.refs),
    (rf"POST /api/models/{_ID}/tag/([^/]+)", Api.tag),
    (rf"POST /api/models/{_ID}/branch/([^/]+)", Api.branch),
    (rf"POST /{_ID}\.git/info/lfs/objects/batch", Api.lfs_batch),
    (r"PUT /store/([0-9a-f]{64})", Api.store),
    (rf"GET /api/models/{_ID}/xet-(write|read)-token/([^/]+)", Api.xet_token),
    (rf"(?:GET|HEAD) /{_ID}/resolve/([^/]+)/(.+)", Api.resolve),
]
