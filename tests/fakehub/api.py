"""The requests of the client and their answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from fakehub.store import Blob, Commit, Repo, apply, check_yaml, large_in_shards, oid_of

if TYPE_CHECKING:
    from fakehub.server import FakeHub

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
