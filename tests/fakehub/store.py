"""What a hub holds: repositories with commits, branches, tags and large files."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import yaml

LICENSES = {"mit", "apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "gpl-3.0", "openrail", "other", "unknown"}
PIPELINES = {"text-generation", "text-classification", "image-classification", "feature-extraction"}


@dataclass(frozen=True)
class Blob:
    """A file of a commit: its content, and whether it is a large one."""

    data: bytes | None
    oid: str
    size: int
    lfs: str | None = None
    xet: str | None = None

    @classmethod
    def of(cls, data: bytes) -> Blob:
        return cls(data, sha1(b"blob %d\0" % len(data) + data).hexdigest(), len(data))

    @classmethod
    def large(cls, oid: str, size: int, data: bytes | None, xet: str | None) -> Blob:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()
        return cls(data, sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest(), size, oid, xet)


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    message: str
    author: str
    parent: str | None
    files: dict[str, Blob]


@dataclass
class Repo:
    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.branches["main"] = ""
        self.commit("main", "initial commit", "", "system", {".gitattributes": Blob.of(b"*.safetensors filter=lfs\n")})

    def commit(self, branch: str, title: str, message: str, author: str, files: dict[str, Blob]) -> Commit:
        parent = self.branches[branch] or None
        content = repr(
            (parent, title, message, author, sorted((n, b.oid) for n, b in files.items()), len(self.commits))
        )
        made = Commit(sha1(content.encode()).hexdigest(), title, message, author, parent, files)
        self.commits[made.oid] = made
        self.branches[branch] = made.oid
        return made

    def find(self, revision: str) -> Commit | None:
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(oid)

    def log(self, revision: str) -> list[Commit]:
        found, at = [], self.find(revision)
        while at is not None:
            found.append(at)
            at = self.commits.get(at.parent or "")
        return found

    def edit(self, name: str, content: bytes, author: str = "somebody") -> str:
        """What a person does on the web page: one file changes, in a commit of its own."""
        files = self.commits[self.branches["main"]].files | {name: Blob.of(content)}
        return self.commit("main", f"Update {name}", "", author, files).oid


def apply(repo: Repo, branch: str, lines: list[dict[str, Any]], author: str, large: dict[str, Blob]) -> Commit | str:
    """The commit that the lines of a request make, or why there is none."""
    head = lines[0]["value"]
    current = repo.branches[branch]
    if "parentCommit" in head and head["parentCommit"] != current:
        return "A commit has happened since. Please refresh and try again."
    files = dict(repo.commits[current].files)
    for line in lines[1:]:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = Blob.of(base64.b64decode(value["content"]))
        elif line["key"] == "lfsFile":
            if value["oid"] not in large or large[value["oid"]].size != value["size"]:
                return f"the large file {value['path']} was not uploaded"
            files[value["path"]] = large[value["oid"]]
        elif line["key"] == "deletedFile":
            files.pop(value["path"])
    return repo.commit(branch, head["summary"], head["description"], author, files)


def large_in_shards(cas: Path) -> dict[str, Blob]:
    """Files that the Xet client stored under `cas`, by SHA-256, from the shards that it left there.

    A shard is a header of 48 bytes, then per file: hash (32 bytes), flags and number of entries (u32 each), 8 unused;
    entries, and where flags say so as many verifications and one metadata record, 48 bytes each. Hashes are four
    little-endian words.
    """
    found: dict[str, Blob] = {}
    for shard in cas.glob("xet/xorbs/shards/*.mdb"):
        data, at = shard.read_bytes(), 48
        while data[at : at + 32] != b"\xff" * 32:
            flags, entries = (int.from_bytes(data[at + i : at + i + 4], "little") for i in (32, 36))
            begin = at + 48
            size = sum(
                int.from_bytes(data[begin + 48 * i + 36 : begin + 48 * i + 40], "little") for i in range(entries)
            )
            end = begin + 48 * entries * (2 if flags >> 31 & 1 else 1)
            if flags >> 30 & 1:
                oid = words(data[end : end + 32])
                found[oid] = Blob.large(oid, size, None, words(data[at : at + 32]))
                end += 48
            at = end
    return found


def words(raw: bytes) -> str:
    return b"".join(raw[i : i + 8][::-1] for i in range(0, 32, 8)).hex()


def check_yaml(content: str) -> list[str]:
    """What is wrong with the head of a model card, by the rules of the Hub's documentation of model cards."""
    match = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", content, re.DOTALL)
    if match is None:
        return []
    try:
        head = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [f"the head is no YAML: {error}"]
    if not isinstance(head, dict):
        return ["the head is no mapping"]
    known = (("license", LICENSES), ("pipeline_tag", PIPELINES))
    wrong = [
        f'"{key}" must be one of the known ones'
        for key, allowed in known
        if head.get(key, "mit") not in allowed and key in head
    ]
    lists = ("tags", "datasets", "metrics")
    wrong += [f'"{key}" must be an array of strings' for key in lists if not strings(head.get(key, []))]
    names = head.get("datasets", [])
    wrong += [f"{n} is not the name of a dataset" for n in names if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(n))]
    return wrong + [problem for model in head.get("model-index", []) for problem in check_results(model)]


def strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def check_results(model: Any) -> list[str]:
    if not isinstance(model.get("name"), str) or not isinstance(model.get("results"), list):
        return ['"model-index" needs name and results']
    wrong = []
    for result in model["results"]:
        dataset, metrics = result.get("dataset", {}), result.get("metrics") or [{}]
        told = [result.get("task", {}).get("type"), dataset.get("name"), dataset.get("type")]
        told += [metric.get("type") for metric in metrics]
        values = all(isinstance(metric.get("value"), int | float | str) for metric in metrics)
        if not strings(told) or not values:
            wrong.append('"model-index" results need task.type, dataset.name, dataset.type, metrics.type and .value')
    return wrong


def oid_of(data: bytes) -> str:
    return sha256(data).hexdigest()
