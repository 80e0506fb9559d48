"""What rollbacks leave behind, and what waits to be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Factors:
    """What rollbacks leave behind: factors on the learning rate and on the length of jumps, and how many there were."""

    lr: float = 1.0
    horizon: float = 1.0
    rollbacks: int = 0


@dataclass(slots=True)
class Told:
    """Events that wait to be written, in order: (type, data)."""

    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def add(self, kind: str, **data: object) -> None:
        """Notes one event."""
        self.events.append((kind, data))

    def drain(self) -> Iterator[tuple[str, dict[str, object]]]:
        """Hands out the events and forgets them."""
        events, self.events = self.events, []
        yield from events
