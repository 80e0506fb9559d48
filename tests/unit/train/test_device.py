"""Where a run computes: a device asked for is there or the run does not begin."""

from __future__ import annotations

import pytest
import torch

from neat.config.schema import Runtime
from neat.errors import ConfigError
from neat.train import device
from neat.train.device import place


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """What torch is made to find."""
    found = {"cuda": False, "mps": False, "cuda bfloat16": True, "cpu bfloat16": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found["cuda"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: found["mps"])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: found["cuda bfloat16"])
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: found["cpu bfloat16"])
    return found


@pytest.mark.parametrize("asked", ["cuda", "mps"])
def test_an_absent_device_is_an_error_and_never_replaced(machine: dict[str, bool], asked: str) -> None:
    with pytest.raises(ConfigError, match=f"runtime.device is {asked}, but torch finds no such device here") as caught:
        place(Runtime(device=asked))  # type: ignore[arg-type]
    assert caught.value.exit_code == 2 and "runtime.device=auto" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({}, ("cpu", torch.float32, False)),
        ({"cpu bfloat16": True}, ("cpu", torch.bfloat16, False)),
        ({"mps": True, "cpu bfloat16": True}, ("mps", torch.float32, False)),
        ({"mps": True, "cuda": True}, ("cuda", torch.bfloat16, True)),
        ({"cuda": True, "cuda bfloat16": False}, ("cuda", torch.float32, True)),
    ],
)
def test_auto(machine: dict[str, bool], there: dict[str, bool], expected: tuple[str, torch.dtype, bool]) -> None:
    machine |= there
    placement = place(Runtime())
    assert (placement.device.type, placement.dtype, placement.compiled) == expected
    name, dtype = expected[0], str(expected[1]).removeprefix("torch.")
    assert placement.reasons[0].startswith(f"device {name}: ")
    assert placement.reasons[1].startswith(f"{dtype}: ")
    assert placement.reasons[2].startswith("compile on: " if expected[2] else "compile off: ")


def test_what_is_asked_for_is_the_reason(machine: dict[str, bool]) -> None:
    placement = place(Runtime(device="cpu", dtype="bfloat16", compile="on", threads=1))
    assert (placement.dtype, placement.compiled) == (torch.bfloat16, True)
    assert placement.reasons == (
        "device cpu: runtime.device",
        "bfloat16: runtime.dtype",
        "compile on: runtime.compile",
        "threads 1: runtime.threads",
    )


def test_threads_that_nobody_asked_for_are_torchs_choice(machine: dict[str, bool]) -> None:
    before = torch.get_num_threads()
    assert place(Runtime()).reasons[-1].startswith(f"threads {before}: ")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_matrix_products_have_the_chosen_type(dtype: str, expected: torch.dtype) -> None:
    placement = place(Runtime(device="cpu", dtype=dtype))  # type: ignore[arg-type]
    matrix = torch.ones(2, 2)
    with placement.autocast():
        assert (matrix @ matrix).dtype == expected
    assert (matrix @ matrix).dtype == torch.float32
