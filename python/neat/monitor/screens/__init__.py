"""The screens of the monitor, one file each, in the order of their tabs."""

from __future__ import annotations

from neat.monitor.screens.base import Screen
from neat.monitor.screens.charts import Charts
from neat.monitor.screens.checkpoints import Checkpoints
from neat.monitor.screens.components import Components
from neat.monitor.screens.dynamics import Dynamics
from neat.monitor.screens.help import Help
from neat.monitor.screens.log import Log
from neat.monitor.screens.machine import Machine
from neat.monitor.screens.overview import Overview
from neat.monitor.screens.samples import Samples


def all_screens() -> dict[str, Screen]:
    """A fresh set of screens by name."""
    screens = (Overview(), Charts(), Dynamics(), Components(), Machine(), Samples(), Log(), Checkpoints(), Help())
    return {screen.name: screen for screen in screens}
