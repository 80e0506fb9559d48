"""What the machine does while a run trains: GPU by NVML, processor, memory, disk. A thread beside training.

Every value is asked for on its own, and one that the machine cannot tell is left out: laptops, containers and shares
of a GPU refuse some of them.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from neat.errors import NeatError
from neat.events.writer import EventWriter

MIN_SAMPLE_S = 0.01
_MILLI = 1e-3

_THROTTLES = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""Bits of NVML's reasons for lowered clocks that are worth telling; idle and chosen clocks are not."""


class SystemSampler:
    """A thread that writes a `system` event at the start and every `interval_s` seconds (0: none at all).

    Args:
        events: Where they go.
        root: Its file system is the disk that is watched.
        interval_s: Seconds between samples.
        step: The number of finished steps.
    """

    def __init__(self, events: EventWriter, root: Path, interval_s: float, step: Callable[[], int]) -> None:
        self._events, self._root, self._interval_s, self._step = events, root, interval_s, step
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._interval_s > 0:
            self._thread = threading.Thread(target=self._run, name="system sampler", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        sampler = Sampler(self._root)
        try:
            while True:
                # The next event of the training thread reports the disk; here there is nobody to tell.
                with contextlib.suppress(NeatError):
                    self._events.write("system", self._step(), **sampler.sample())
                if self._closing.wait(max(MIN_SAMPLE_S, self._interval_s)):
                    return
        finally:
            sampler.close()


class Sampler:
    """Reads the machine once per call of `sample`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._nvml = _nvml()
        self._busy = _processor_times()

    def sample(self) -> dict[str, object]:
        """The keys of a `system` event that can be told now."""
        return dict([*self._host(), *self._gpus()])

    def close(self) -> None:
        """Lets go of the driver."""
        if self._nvml is not None:
            _ask(self._nvml.nvmlShutdown)

    def _host(self) -> Iterator[tuple[str, object]]:
        before, now = self._busy, _processor_times()
        self._busy = now
        if before is not None and now is not None and now[1] > before[1]:
            yield "host/cpu", round((now[0] - before[0]) / (now[1] - before[1]), 4)
        memory = _table(Path("/proc/meminfo"))
        if {"MemTotal", "MemAvailable"} <= memory.keys():
            yield "host/memory_used_bytes", memory["MemTotal"] - memory["MemAvailable"]
            yield "host/memory_total_bytes", memory["MemTotal"]
        process = _table(Path("/proc/self/status"))
        if "VmRSS" in process:
            yield "host/process_bytes", process["VmRSS"]
        free = _ask(lambda: shutil.disk_usage(self._root).free)
        if free is not None:
            yield "disk/free_bytes", free

    def _gpus(self) -> Iterator[tuple[str, object]]:
        nvml = self._nvml
        for index in range(_ask(nvml.nvmlDeviceGetCount) or 0 if nvml is not None else 0):
            device = _ask(lambda: nvml.nvmlDeviceGetHandleByIndex(index))  # noqa: B023
            if device is not None:
                for key, value in _gpu(nvml, device):
                    yield f"gpu/{index}/{key}", value


def _gpu(nvml: Any, device: object) -> Iterator[tuple[str, object]]:
    """What one GPU tells."""
    name = _ask(lambda: nvml.nvmlDeviceGetName(device))
    rates = _ask(lambda: nvml.nvmlDeviceGetUtilizationRates(device))
    memory = _ask(lambda: nvml.nvmlDeviceGetMemoryInfo(device))
    power = _ask(lambda: nvml.nvmlDeviceGetPowerUsage(device))
    limit = _ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(device))
    celsius = _ask(lambda: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU))
    reasons = _ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device))
    told: dict[str, object] = {
        "name": name.decode(errors="replace") if isinstance(name, bytes) else name,
        "utilisation": None if rates is None else rates.gpu / 100,
        "memory_used_bytes": None if memory is None else int(memory.used),
        "memory_total_bytes": None if memory is None else int(memory.total),
        "power_w": None if power is None else power * _MILLI,
        "power_limit_w": None if limit is None else limit * _MILLI,
        "temperature_c": celsius,
        "throttle": None if reasons is None else [text for bit, text in _THROTTLES.items() if reasons & bit],
    }
    yield from ((key, value) for key, value in told.items() if value is not None)


def _nvml() -> Any:
    """The NVML module, ready for use; None where there is no driver or no such package."""
    try:
        module = importlib.import_module("pynvml")
        module.nvmlInit()
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    except Exception as error:  # NVML's own errors derive from Exception alone
        if type(error).__module__.startswith("pynvml"):
            return None
        raise
    return module


def _ask(question: Callable[[], Any]) -> Any:
    """The answer, None where the driver or the system has none."""
    try:
        return question()
    except (OSError, AttributeError, ValueError):
        return None
    except Exception as error:  # NVML's own errors derive from Exception alone
        if type(error).__module__.startswith("pynvml"):
            return None
        raise


def _processor_times() -> tuple[float, float] | None:
    """Busy and total time of all cores in ticks; None where the system has no /proc."""
    try:
        line = Path("/proc/stat").read_bytes().split(b"\n", 1)[0]
    except OSError:
        return None
    ticks = [int(word) for word in line.split()[1:9]]
    idle = sum(ticks[3:5])
    return float(sum(ticks) - idle), float(sum(ticks))


def _table(path: Path) -> dict[str, int]:
    """The sizes in a file of lines `Name: 123 kB`, in bytes."""
    found: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found
