"""What went wrong with a hub, in words, and whether to try again."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from neat.errors import HubError, NeatError

TOKEN_HINT = "make one with write access in your settings there, then: export HF_TOKEN=… (or: hf auth login)"  # noqa: S105
NETWORK_HINT = "check the network; nothing is lost, the same command goes on"


class UnreachableError(Exception):
    """No answer: refused, reset, or silent for longer than the time-out."""


class BusyError(Exception):
    """The server asks to come again later.

    Attributes:
        status: The HTTP status.
        wait_s: Seconds it asks to wait; None when it does not say.
    """

    def __init__(self, status: int, wait_s: float | None) -> None:
        super().__init__(f"the server answered {status}")
        self.status, self.wait_s = status, wait_s


class ConflictError(HubError):
    """The repository holds what this run did not write; it is not overwritten."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error means.

    Attributes:
        error: What a person is told.
        again: Whether the same thing may succeed later.
        wait_s: Least seconds to wait before; None when only our own patience counts.
    """

    error: HubError
    again: bool = False
    wait_s: float | None = None


def judge(error: BaseException, repo: str) -> Verdict:
    """The meaning of an error that the hub's client, or a step of ours, raised."""
    causes = list(_chain(error))
    for judged in (_of_exchange, _of_machine):
        for cause in causes:
            if found := judged(cause, repo):
                return found
    deepest = causes[-1]
    text = " ".join(str(deepest).split())[:300]
    what = f"the exchange with the hub failed: {type(deepest).__name__}: {text}"
    return Verdict(HubError(what, None, f"repository {repo}"))


def no_token() -> HubError:
    """Nobody said who is writing."""
    return HubError("there is no token for the hub", hint=TOKEN_HINT)


def is_full(error: BaseException | None) -> bool:
    """Whether a disk had no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `Retry-After` (seconds or a date) or the `ratelimit` header with nothing remaining."""
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    text = lower.get("retry-after", "")
    if text.isdigit():
        return float(text)
    if text:
        try:
            return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            return None
    limits = dict(part.strip().split("=", 1) for part in lower.get("ratelimit", "").split(";") if "=" in part)
    if limits.get("r") == "0" and limits.get("t", "").isdigit():
        return float(limits["t"])
    return None


def _busy(cause: BusyError, repo: str) -> HubError:
    what = "too many requests" if cause.status == 429 else f"the hub has trouble of its own ({cause.status})"
    return HubError(what, hint="wait; the same command goes on", where=f"repository {repo}")


def _of_status(status: int, cause: BaseException, repo: str) -> Verdict:
    said = " ".join(str(getattr(cause, "server_message", "") or "").split())[:300]
    where = f"repository {repo}"
    headers = getattr(cause, "response").headers  # noqa: B009 - typed by the caller only
    code = headers.get("X-Error-Code", "")
    if status == 401 and "credentials" not in headers.get("X-Error-Message", ""):
        status = 404  # what the Hub does not show to a stranger, it does not tell from what is not there
    table: dict[int, Verdict] = {
        401: Verdict(HubError("the hub does not accept the token", TOKEN_HINT, where)),
        403: Verdict(
            HubError(
                f"the token may not do this in {repo}: it is someone else's, or the token only reads",
                "take a repository of your own with --repo OWNER/NAME, or a token with write access",
            )
        ),
        404: Verdict(
            HubError(
                f"there is no revision of that name in {repo}" if code == "RevisionNotFound" else
                f"there is no repository {repo}, or the token may not see it",
                "check the spelling; a private repository needs a token that may read it",
            )
        ),
        409: Verdict(HubError(f"{repo} is taken or is being changed by another operation", None, where), again=True),
        412: Verdict(HubError("somebody else committed at the same moment", None, where), again=True),
        413: Verdict(HubError("the hub says that this is too large", "see the storage limits of your account", where)),
    }  # fmt: skip
    if status in table:
        return table[status]
    if status in (408, 429) or status >= 500:
        wait = retry_after(headers)
        return Verdict(_busy(BusyError(status, wait), repo), again=True, wait_s=wait)
    return Verdict(HubError(f"the hub refuses this ({status}): {said or 'without a reason'}", None, where))


def _of_exchange(cause: BaseException, repo: str) -> Verdict | None:
    """What the server answered, or that it did not."""
    if isinstance(cause, HubError):
        return Verdict(cause, again=is_full(cause.__cause__))
    if isinstance(cause, BusyError):
        return Verdict(_busy(cause, repo), again=True, wait_s=cause.wait_s)
    if isinstance(cause, UnreachableError) or _is_transport(cause):
        reason = str(cause) or type(cause).__name__
        return Verdict(HubError(f"the hub does not answer: {reason}", NETWORK_HINT, f"repository {repo}"), again=True)
    status = getattr(getattr(cause, "response", None), "status_code", None)
    return _of_status(status, cause, repo) if isinstance(status, int) else _of_client(cause, repo)


def _of_machine(cause: BaseException, repo: str) -> Verdict | None:
    """What went wrong on this side."""
    if isinstance(cause, NeatError):
        return Verdict(HubError(cause.message, cause.hint, cause.where))
    return _of_system(cause, repo) if isinstance(cause, OSError) else None


def _of_client(cause: BaseException, repo: str) -> Verdict | None:
    """Errors of the client that carry no answer of the server."""
    match type(cause).__name__:
        case "LocalTokenNotFoundError":
            return Verdict(no_token())
        case "HFValidationError":
            hint = "write OWNER/NAME: letters, digits, dash, dot and underscore"
            return Verdict(HubError(f"{repo[:200]!r} is not the name of a repository", hint))
        case "LocalEntryNotFoundError" | "IncompleteSnapshotError" if cause.__cause__ is None:
            hint = "leave out local_files_only to download it"
            return Verdict(HubError(f"{repo} is not in the cache of this machine", hint))
        case "OfflineModeIsEnabled":
            return Verdict(HubError(f"HF_HUB_OFFLINE is set, and {repo} is not in the cache", "unset HF_HUB_OFFLINE"))
    return None


def _of_system(cause: OSError, repo: str) -> Verdict:
    if is_full(cause):
        return Verdict(HubError(f"no room on the disk: {cause.filename or repo}", "make room"), again=True)
    if "Consistency check failed" in str(cause):
        return Verdict(HubError(f"a file of {repo} arrived with another size than it should have", "try again"))
    return Verdict(HubError(f"{cause.strerror or ' '.join(str(cause).split())[:300]}", None, f"repository {repo}"))


def _is_transport(cause: BaseException) -> bool:
    """Errors of the connection; the client's library is loaded when one of them occurs."""
    return any(
        kind.__module__.startswith("httpx") and kind.__name__ == "TransportError" for kind in type(cause).__mro__
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: Any = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
