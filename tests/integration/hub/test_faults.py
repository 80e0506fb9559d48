"""What can go wrong between here and a hub: in the end the files are there once, or a person knows why not."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from fakehub.api import READER, STRANGER, TOKEN, Api
from fakehub.server import FakeHub
from fakehub.store import Repo
from huggingface_hub import constants
from support.exports import copied_run, trained_run
from support.hub import REPO, queued, states

from neat.errors import Exit
from neat.events.spool import Order, Spool
from neat.hub.worker import wait_s, work
from neat.train import checkpoint

COMMIT, TREE = "POST .*/commit/main", "GET .*/tree/"
ANYWHERE = [
    ("status", COMMIT, {"times": 2}),
    ("status", COMMIT, {"times": 2, "code": 500}),
    ("status", "POST .*/preupload/", {"times": 3}),
    ("status", "GET /api/models/ann/tiny$", {"times": 2, "code": 502}),
    ("status", "POST /api/repos/create", {"code": 504}),
    ("status", "POST .*/tag/", {}),
    ("status", TREE, {"code": 408}),
    ("status", "POST /api/validate-yaml", {}),
    ("reset", COMMIT, {"times": 2}),
    ("reset", "GET .*/commits/", {}),
    ("lost", COMMIT, {}),
    ("lost", "POST /api/repos/create", {}),
    ("lost", "POST .*/tag/", {}),
    ("lost", "POST .*/preupload/", {}),
    ("stall", COMMIT, {"seconds": 20.0}),
    ("stall", "GET /api/models/ann/tiny$", {"seconds": 20.0}),
]
LARGE = {
    "lfs": [
        ("reset", "PUT /store/", {"times": 2}),
        ("lost", "PUT /store/", {}),
        ("status", "PUT /store/", {"times": 2, "code": 500}),
        ("stall", "PUT /store/", {"seconds": 20.0}),
        ("status", "POST .*/objects/batch", {}),
        ("lost", "POST .*/objects/batch", {}),
    ],
    "xet": [
        ("status", "GET .*/xet-write-token/", {"times": 2}),
        ("reset", "GET .*/xet-write-token/", {"times": 1}),
    ],
}


def check_uploaded_once(hub: FakeHub) -> None:
    assert [title.split()[-1] for title in hub.titles(REPO) if title.startswith("neat ")] == ["30"]
    head = hub.repos[REPO].branches["main"]
    assert hub.repos[REPO].tags == {"step-00000030": head}
    assert "model.safetensors" in hub.repos[REPO].commits[head].files


def go_through(hub: FakeHub, folder: Path, kind: Any, route: str, how: dict[str, Any]) -> list[dict[str, Any]]:
    hub.faults.plan(kind, route, **how)
    spool, _ = queued(folder, read_s=0.4)
    assert work(spool, 10) == Exit.DONE
    assert states(spool)[-1] == "done"
    assert "retry" in states(spool)
    assert spool.jobs() == []
    check_uploaded_once(hub)
    return spool.status()[0]


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
@pytest.mark.parametrize(("kind", "route", "how"), ANYWHERE)
def test_faults_of_the_server_are_survived(
    hub: FakeHub, tmp_path: Path, kind: str, route: str, how: dict[str, Any]
) -> None:
    go_through(hub, tmp_path, kind, route, how)


@pytest.mark.parametrize(
    ("storage", "kind", "route", "how"),
    [(storage, *fault) for storage, faults in LARGE.items() for fault in faults],
    indirect=["storage"],
)
def test_faults_of_the_large_files_are_survived(
    hub: FakeHub, tmp_path: Path, storage: str, kind: Any, route: str, how: dict[str, Any]
) -> None:
    hub.faults.plan(kind, route, **how)
    spool, _ = queued(tmp_path, read_s=0.4)
    assert work(spool, 10) == Exit.DONE
    assert states(spool)[-1] == "done"
    check_uploaded_once(hub)


def test_a_lost_answer_is_not_committed_twice(hub: FakeHub, tmp_path: Path) -> None:
    go_through(hub, tmp_path, "lost", COMMIT, {})
    assert sum(request.startswith("POST /api/models/ann/tiny/commit/") for request in hub.requests) == 1


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
@pytest.mark.parametrize("header", [{"Retry-After": "1"}, {"ratelimit": '"api";r=0;t=1'}])
def test_the_wait_that_the_server_asks_for_is_kept(hub: FakeHub, tmp_path: Path, header: dict[str, str]) -> None:
    start = time.monotonic()
    told = go_through(hub, tmp_path, "status", COMMIT, {"code": 429, "headers": header})
    (retry,) = [line for line in told if line["state"] == "retry"]
    assert retry["wait_s"] >= 1.0
    assert time.monotonic() - start >= 1.0


def test_waits_are_spread_and_bounded() -> None:
    waits = [wait_s(attempt, None, 60.0) for attempt in range(1, 12) for _ in range(200)]
    assert 0.0 <= min(waits) < 0.1
    assert 45.0 < max(waits) <= 60.0
    assert all(wait_s(1, 30.0, 60.0) >= 30.0 for _ in range(20))


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_without_a_network_the_job_waits_for_it(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows, then a server that speaks no TLS, then nobody at the port; then it works."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    spool, _ = queued(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", unknown)
        patched.setattr(constants, "ENDPOINT", "http://hub.invalid")
        assert work(spool, 2) == Exit.HUB
    for endpoint in (hub.url.replace("http:", "https:"), "http://127.0.0.1:9"):
        with monkeypatch.context() as patched:
            patched.setattr(constants, "ENDPOINT", endpoint)
            assert work(spool, 2) == Exit.HUB
    assert states(spool).count("retry") == 6
    assert all("does not answer" in line["reason"] for line in spool.status()[0] if line["state"] == "retry")
    assert work(spool, 2) == Exit.DONE
    check_uploaded_once(hub)


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_a_token_that_is_withdrawn_ends_the_job_until_there_is_another(hub: FakeHub, tmp_path: Path) -> None:
    hub.tokens.clear()
    spool, _ = queued(tmp_path)
    assert work(spool, 5) == Exit.DONE
    (failed,) = [line for line in spool.status()[0] if line["state"] == "failed"]
    assert "does not accept the token" in failed["reason"]
    assert "HF_TOKEN" in failed["hint"]
    hub.tokens[TOKEN] = "ann"
    assert spool.retry() == 1
    work(spool, 5)
    check_uploaded_once(hub)


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
@pytest.mark.parametrize(
    ("token", "repo", "reason"),
    [
        (STRANGER, "ann/tiny", "someone else"),
        (READER, "ann/tiny", "someone else"),
        (TOKEN, "bob/taken", "someone else"),
        (TOKEN, "bob/shown", "someone else"),
        (TOKEN, "ann/shown", "is public"),
        (TOKEN, "ann/full", "holds something else"),
    ],
)
def test_what_is_not_ours_is_left_alone(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, repo: str, reason: str
) -> None:
    for name, private in (("bob/taken", True), ("bob/shown", False), ("ann/shown", False), ("ann/full", True)):
        hub.repos[name] = Repo(name, private)
    hub.repos["ann/full"].edit("notes.txt", b"mine")
    before = {name: dict(there.branches) for name, there in hub.repos.items()}
    monkeypatch.setenv("HF_TOKEN", token)
    spool, _ = queued(tmp_path, repo=repo, public=repo == "bob/shown")
    work(spool, 5)
    assert states(spool)[-1] in ("failed", "conflict")
    assert reason in spool.status()[0][-1]["reason"]
    assert {name: dict(there.branches) for name, there in hub.repos.items()} == before


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_a_repository_that_was_deleted_is_not_made_again_unasked(hub: FakeHub, tmp_path: Path) -> None:
    spool, _ = queued(tmp_path, step=20)
    work(spool, 5)
    hub.repos.clear()
    queued(tmp_path, step=30)
    work(spool, 5)
    assert states(spool)[-1] == "failed"
    assert "is gone" in spool.status()[0][-1]["reason"]
    assert hub.repos == {}


def test_what_somebody_else_changed_is_not_overwritten(hub: FakeHub, tmp_path: Path) -> None:
    spool, _ = queued(tmp_path, step=20)
    work(spool, 5)
    edit = hub.repos[REPO].edit("README.md", b"# By hand\n")
    queued(tmp_path, step=30)
    work(spool, 5)
    assert states(spool)[-1] == "conflict"
    told = spool.status()[0][-1]
    assert edit[:12] in told["reason"]
    assert "somebody" in told["reason"]
    assert f"--onto {edit[:12]}" in told["hint"]
    assert hub.repos[REPO].branches["main"] == edit
    queued(tmp_path, step=30, onto=edit[:12])
    work(spool, 5)
    assert states(spool)[-1] == "done"
    assert hub.titles(REPO)[1] == "Update README.md"


def test_a_change_at_the_same_moment_is_a_conflict(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody commits between our look at the repository and our commit."""
    preupload = Api.preupload

    def edited_meanwhile(self: Api, name: str, revision: str) -> Any:
        monkeypatch.setattr(Api, "preupload", preupload)
        hub.repos[name].edit("README.md", b"# Faster\n")
        return preupload(self, name, revision)

    monkeypatch.setattr("fakehub.api.ROUTES", [(p, edited_meanwhile if a is preupload else a) for p, a in routes()])
    spool, _ = queued(tmp_path)
    work(spool, 5)
    assert states(spool) == ["started", "retry", "started", "conflict"]
    assert hub.titles(REPO) == ["Update README.md", "initial commit"]


def routes() -> list[Any]:
    from fakehub.api import ROUTES

    return ROUTES


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_main_is_the_newest_and_every_step_has_a_name(hub: FakeHub, tmp_path: Path) -> None:
    spool, _ = queued(tmp_path, step=10)
    queued(tmp_path, step=30)
    work(spool, 5)
    repo = hub.repos[REPO]
    assert [title.split()[-1] for title in hub.titles(REPO)] == ["30", "10", "commit"]
    queued(tmp_path, step=20)
    work(spool, 5)
    assert [title.split()[-1] for title in hub.titles(REPO)] == ["30", "10", "commit"]
    assert repo.branches.keys() == {"main", "step-00000020"}
    assert repo.tags.keys() == {"step-00000010", "step-00000030"}
    assert hub.titles(REPO, "step-00000020")[0].endswith("step 20")


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_files_of_an_earlier_export_go_and_those_of_others_stay(hub: FakeHub, tmp_path: Path) -> None:
    spool, _ = queued(tmp_path, step=20)
    work(spool, 5)
    files = hub.repos[REPO].commits[hub.repos[REPO].branches["main"]].files
    more = dict.fromkeys(("model-00001-of-00002.safetensors", "LICENSE"), files["config.json"])
    hub.repos[REPO].commit("main", hub.titles(REPO)[0], "", "ann", files | more)
    queued(tmp_path, step=30)
    work(spool, 5)
    there = hub.repos[REPO].commits[hub.repos[REPO].branches["main"]].files
    assert "LICENSE" in there
    assert "model-00001-of-00002.safetensors" not in there


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_the_training_state_goes_to_a_branch_of_its_own(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.plan("lost", "POST .*/commit/training-state")
    spool, _ = queued(tmp_path, include_optimizer=True)
    work(spool, 5)
    repo = hub.repos[REPO]
    state = repo.commits[repo.branches["training-state"]].files
    assert {"training-state/optimizer.safetensors", "training-state/state.json"} <= state.keys()
    assert not [name for name in repo.commits[repo.branches["main"]].files if "optimizer" in name]
    assert [title.split()[-1] for title in hub.titles(REPO, "training-state")] == ["30", "30", "commit"]
    corpus = str(trained_run().parent).encode()
    assert not [name for name, blob in state.items() if blob.data and corpus in blob.data]


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_a_full_disk_is_waited_for(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neat.hub import export

    write, left = export.write_weights, [2]

    def full(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(export, "write_weights", full)
    spool, _ = queued(tmp_path)
    work(spool, 5)
    assert states(spool) == ["started", "retry", "started", "retry", "started", "done"]
    assert "No space left" in spool.status()[0][1]["reason"]
    check_uploaded_once(hub)


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_a_damaged_checkpoint_is_said_and_does_not_hold_up_the_others(hub: FakeHub, tmp_path: Path) -> None:
    run = copied_run(tmp_path)
    model = run / "checkpoints" / "step-00000020" / checkpoint.AVERAGE
    model.write_bytes(model.read_bytes()[:-1])
    spool, _ = queued(tmp_path, step=20)
    queued(tmp_path, step=30)
    work(spool, 5)
    assert states(spool) == ["started", "failed", "started", "done"]
    assert "damaged" in spool.status()[0][1]["reason"]
    check_uploaded_once(hub)


def test_a_full_disk_in_the_spool_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neat.errors import HubError

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.link", full)
    spool = Spool(copied_run(tmp_path))
    with pytest.raises(HubError, match="No space left") as caught:
        spool.add(spool.run / "checkpoints" / "step-00000030", Order(30, REPO))
    assert "make room" in str(caught.value.hint)
    assert list(spool.queue.iterdir()) == []


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_a_card_that_the_hub_refuses_is_not_committed(hub: FakeHub, tmp_path: Path) -> None:
    spool, _ = queued(tmp_path, license="my-own-licence")
    work(spool, 5)
    assert states(spool) == ["started", "failed"]
    assert "license" in spool.status()[0][-1]["reason"]
    assert hub.titles(REPO) == ["initial commit"]
