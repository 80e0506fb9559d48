"""The real client against a hub on this machine, in this process or in others; nothing leaves the machine."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakehub.api import TOKEN
from fakehub.server import FakeHub
from huggingface_hub import close_session, constants, set_client_factory
from huggingface_hub.utils._http import default_client_factory

from neat.events.spool import Job, Order, Spool
from neat.train import checkpoint
from support.exports import copied_run

REPO = "ann/tiny"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def environment(hub: FakeHub, folder: Path, **more: str) -> dict[str, str]:
    """Variables for processes that talk to `hub` and can reach nothing else."""
    return (
        {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        | {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
        | {"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost"}
        | more
    )


@contextmanager
def client_in_process(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch, *, xet: bool) -> Iterator[None]:
    """Inside, the client of this process talks to `hub`; a connection to anywhere else is a failure."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            pytest.fail(f"a test asked for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)
    for name in list(os.environ):
        if name.startswith("HF_"):
            monkeypatch.delenv(name)
    for name, value in environment(hub, folder, **({} if xet else {"HF_HUB_DISABLE_XET": "1"})).items():
        monkeypatch.setenv(name, value)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    changes = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(folder / "cache"),
        "HF_XET_CACHE": str(folder / "xet"),
        "HF_TOKEN_PATH": str(folder / "hf" / "token"),
        "HF_HUB_DISABLE_XET": not xet,
        "HF_HUB_DISABLE_TELEMETRY": True,
    }
    for name, changed in changes.items():
        monkeypatch.setattr(constants, name, changed)
    try:
        with warnings.catch_warnings():
            # The client hands files to its HTTP library in a way that this one is about to give up.
            warnings.filterwarnings("ignore", message="Use 'content=", category=DeprecationWarning)
            yield
    finally:
        set_client_factory(default_client_factory)
        close_session()


def queued(folder: Path, step: int = 30, **choices: Any) -> tuple[Spool, Job]:
    """A copy of the trained run with one upload waiting."""
    run = folder / "run" if (folder / "run").exists() else copied_run(folder)
    spool = Spool(run)
    order = Order(**({"step": step, "repo": REPO, "read_s": 2.0, "connect_s": 2.0} | choices))
    return spool, spool.add(run / "checkpoints" / checkpoint.folder_name(step), order)


def states(spool: Spool) -> list[str]:
    """What the status says, in order."""
    return [line["state"] for line in spool.status()[0]]
