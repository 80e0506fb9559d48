"""The machine is told of as far as it can be; what it refuses is absent, never 0."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest
from support.runs import configure

from neat.events.reader import read_events
from neat.events.writer import EventWriter
from neat.train.loop import run
from neat.train.system import Sampler, SystemSampler

GIB = 2**30


class NVMLError(Exception):
    """As in the module: derived from Exception alone."""


NVMLError.__module__ = "pynvml"


def driver(*, refuses: frozenset[str] = frozenset(), breaks: bool = False) -> types.ModuleType:
    """The part of `pynvml` that is used, for two GPUs; `refuses` names functions that do not work."""
    module = types.ModuleType("pynvml")

    def answer(name: str, value: object) -> None:
        def function(*arguments: object) -> object:
            if name in refuses:
                raise NVMLError("Not Supported")
            return value

        setattr(module, name, function)

    answers = {
        "nvmlInit": None, "nvmlShutdown": None, "nvmlDeviceGetCount": 2, "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetName": b"A card", "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=93, memory=40),
        "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(used=7 * GIB, total=16 * GIB),
        "nvmlDeviceGetPowerUsage": 251_300, "nvmlDeviceGetEnforcedPowerLimit": 300_000,
        "nvmlDeviceGetTemperature": 71, "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4 | 0x40 | 0x1,
    }  # fmt: skip
    for name, value in answers.items():
        answer(name, value)
    if not breaks:
        module.NVML_TEMPERATURE_GPU = 0  # type: ignore[attr-defined]
    return module


def sample(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType | None) -> dict[str, object]:
    monkeypatch.setitem(sys.modules, "pynvml", module)  # type: ignore[arg-type]
    sampler = Sampler(Path.cwd())
    try:
        return sampler.sample()
    finally:
        sampler.close()


def test_a_gpu_is_told_in_the_units_of_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    told = sample(monkeypatch, driver())
    assert {key: value for key, value in told.items() if key.startswith("gpu/1/")} == {
        "gpu/1/name": "A card", "gpu/1/utilisation": 0.93, "gpu/1/memory_used_bytes": 7 * GIB,
        "gpu/1/memory_total_bytes": 16 * GIB, "gpu/1/power_w": 251.3, "gpu/1/power_limit_w": 300.0,
        "gpu/1/temperature_c": 71, "gpu/1/throttle": ["power cap", "hardware thermal slowdown"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("refused", "absent"),
    [
        ("nvmlDeviceGetName", {"name"}), ("nvmlDeviceGetUtilizationRates", {"utilisation"}),
        ("nvmlDeviceGetMemoryInfo", {"memory_used_bytes", "memory_total_bytes"}),
        ("nvmlDeviceGetPowerUsage", {"power_w"}),
        ("nvmlDeviceGetEnforcedPowerLimit", {"power_limit_w"}), ("nvmlDeviceGetTemperature", {"temperature_c"}),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", {"throttle"}),
    ],
)  # fmt: skip
def test_what_a_card_refuses_is_absent(monkeypatch: pytest.MonkeyPatch, refused: str, absent: set[str]) -> None:
    whole = sample(monkeypatch, driver())
    less = sample(monkeypatch, driver(refuses=frozenset({refused})))
    missing = {key for key in whole if key.startswith("gpu/0/")} - less.keys()
    assert missing == {f"gpu/0/{name}" for name in absent}


def test_an_old_driver_lacks_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    told = sample(monkeypatch, driver(breaks=True))
    assert "gpu/0/temperature_c" not in told
    assert "gpu/0/power_w" in told


@pytest.mark.parametrize(
    "module", [None, driver(refuses=frozenset({"nvmlInit"})), driver(refuses=frozenset({"nvmlDeviceGetCount"}))]
)
def test_no_gpu_leaves_the_host(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType | None) -> None:
    told = sample(monkeypatch, module)
    assert not [key for key in told if key.startswith("gpu/")]
    assert "disk/free_bytes" in told


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the system has no /proc")
def test_the_host_is_told_truly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]
    sampler = Sampler(Path.cwd())
    before = os.times()
    while os.times().elapsed - before.elapsed < 0.2:
        pass
    told = sampler.sample()
    assert 0.0 < told["host/cpu"] <= 1.0  # type: ignore[operator]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert told["host/memory_total_bytes"] == pytest.approx(total, rel=0.02)
    assert 0 < told["host/process_bytes"] < told["host/memory_used_bytes"] < told["host/memory_total_bytes"]  # type: ignore[operator]


def test_the_thread_samples_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path, heartbeat_s=None) as events:
        with SystemSampler(events, tmp_path, 0.05, lambda: 12):
            while sum(event.type == "system" for event in read_events(path)) < 3:
                pass
        seen = len(list(read_events(path)))
    found = list(read_events(path))
    assert {event.step for event in found} == {12}
    assert len(found) == seen


def test_a_run_tells_of_the_machine_unless_it_is_told_not_to(corpus: Path, tmp_path: Path) -> None:
    for name, interval in (("told", 0.05), ("silent", 0.0)):
        run(configure(corpus, train__max_steps=3, monitor__sample_s=interval), tmp_path / name)
    told = [event for event in read_events(tmp_path / "told" / "events.jsonl") if event.type == "system"]
    assert told
    assert not [event for event in read_events(tmp_path / "silent" / "events.jsonl") if event.type == "system"]
