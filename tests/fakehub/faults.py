"""Faults as data: which request goes wrong, how, and how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "reset", "lost", "stall", "truncate", "corrupt"]


@dataclass
class Fault:
    """What happens to matching requests.

    status: an error is answered. reset: the connection closes before anything happens. lost: the request takes effect
    and the connection closes without an answer. stall: nothing is answered for `seconds`. truncate: half of the body
    comes. corrupt: a byte of the body is another one.
    """

    kind: Kind
    route: str
    times: int = 1
    code: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    skip: int = 0


class Faults:
    """The faults that are still to come; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[Fault] = []

    def plan(self, kind: Kind, route: str, **how: object) -> None:
        """Orders a fault for requests whose `METHOD path` matches the expression `route`."""
        with self._lock:
            self._planned.append(Fault(kind, route, **how))  # type: ignore[arg-type]

    def clear(self) -> None:
        """From here on everything works."""
        with self._lock:
            self._planned.clear()

    def take(self, request: str) -> Fault | None:
        """The fault of a request, if it has one; each is used as often as was ordered."""
        with self._lock:
            for fault in self._planned:
                if fault.times and re.search(fault.route, request):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None
