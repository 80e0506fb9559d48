"""Settings of what is watched beside training."""

from __future__ import annotations

from pydantic import Field

from neat.config.base import Section


class Monitor(Section):
    """What a run tells of the machine it is on; `neat monitor` shows it."""

    sample_s: float = Field(default=5.0, ge=0.0, le=3600.0)
    """Seconds between events with the state of GPU, processor, memory and disk (0 to 3600; 0: none)."""
