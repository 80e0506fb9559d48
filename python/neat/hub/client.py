"""The hub's client in a process of ours: explicit time-outs, and every refusal comes back to us at once.

The client retries some requests by itself and others not, and may wait for ever. Here none of its own retries takes
place: an answer that asks to come again is raised as `BusyError`, a broken connection or a silence as
`UnreachableError`, which its retry loop does not know, so that one place alone decides when to try again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.constants import is_offline_mode

from neat.hub.problems import BusyError, UnreachableError, retry_after

BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses that ask to come again."""


class _Client(httpx2.Client):
    """A client whose failures nobody repeats but the caller."""

    def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        try:
            return super().send(request, **how)
        except httpx2.TransportError as error:
            what = "no answer in time" if isinstance(error, httpx2.TimeoutException) else str(error)
            raise UnreachableError(f"{request.method} {request.url.path}: {what or type(error).__name__}") from error


def use_impatient_client(connect_s: float, read_s: float) -> None:
    """Makes this process use such connections.

    Args:
        connect_s: Longest wait for a connection.
        read_s: Longest silence, in either direction.
    """

    def make() -> httpx2.Client:
        return _Client(
            follow_redirects=True,
            timeout=httpx2.Timeout(read_s, connect=connect_s),
            event_hooks={"request": [_refuse_offline, bound(connect_s, read_s)], "response": [_refuse_busy]},
        )

    set_client_factory(make)


def bound(connect_s: float, read_s: float) -> Callable[[httpx2.Request], None]:
    """A hook that gives a time-out to requests that say "none".

    Some calls of the client hand on `timeout=None`, which counts for more than the time-out of the connection.
    """
    limits = httpx2.Timeout(read_s, connect=connect_s).as_dict()

    def hook(request: httpx2.Request) -> None:
        asked = request.extensions.get("timeout") or {}
        if all(value is None for value in asked.values()):
            request.extensions["timeout"] = limits

    return hook


def _refuse_offline(request: httpx2.Request) -> None:
    if is_offline_mode():
        raise UnreachableError(f"HF_HUB_OFFLINE is set: {request.url.host} is not asked")


def _refuse_busy(response: httpx2.Response) -> None:
    if response.status_code in BUSY:
        raise BusyError(response.status_code, retry_after(response.headers))
