"""Where and in which precision a run computes. Each choice comes with the reason that is shown to people."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from neat.config.schema import Runtime
from neat.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Placement:
    """Device, activation type and whether the network is compiled.

    Attributes:
        device: Where parameters live.
        dtype: Type of matrix products; parameters and sums stay in float32.
        compiled: Run the network through `torch.compile`.
        reasons: One line per choice.
    """

    device: torch.device
    dtype: torch.dtype
    compiled: bool
    reasons: tuple[str, ...]

    def autocast(self) -> AbstractContextManager[object]:
        """Matrix products in `dtype` inside the block."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def place(runtime: Runtime) -> Placement:
    """Decides device, precision and compilation.

    Raises:
        ConfigError: The device asked for is not there; nothing else is taken in its stead.
    """
    device, device_reason = _device(runtime.device)
    dtype, dtype_reason = _dtype(runtime.dtype, device)
    compiled, compile_reason = _compile(runtime.compile, device)
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    threads = f"threads {torch.get_num_threads()}: " + ("runtime.threads" if runtime.threads else "torch's own choice")
    reasons = (device_reason, dtype_reason, compile_reason) + ((threads,) if device.type == "cpu" else ())
    return Placement(device, dtype, compiled, reasons)


def _available(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_available()
    return name == "cpu" or torch.backends.mps.is_available()


def _device(asked: str) -> tuple[torch.device, str]:
    if asked == "auto":
        name = next(name for name in ("cuda", "mps", "cpu") if _available(name))
        reason = "no accelerator found" if name == "cpu" else "the first accelerator found"
        return torch.device(name), f"device {name}: {reason}"
    if not _available(asked):
        raise ConfigError(
            f"runtime.device is {asked}, but torch finds no such device here",
            hint="set runtime.device=auto to use what is there; `neat doctor` shows what torch sees",
        )
    return torch.device(asked), f"device {asked}: runtime.device"


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX512-BF16, AMX or Arm's BF16)."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))


def _dtype(asked: str, device: torch.device) -> tuple[torch.dtype, str]:
    if asked != "auto":
        return getattr(torch, asked), f"{asked}: runtime.dtype"
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and cpu_has_bfloat16()
    if native:
        return torch.bfloat16, "bfloat16: the device computes in it natively"
    return torch.float32, "float32: the device has no native bfloat16"


def _compile(asked: str, device: torch.device) -> tuple[bool, str]:
    if asked != "auto":
        return asked == "on", f"compile {asked}: runtime.compile"
    if device.type == "cuda":
        return True, "compile on: pays on a GPU after the first steps"
    return False, "compile off: compiling takes longer than it saves in a short run on this device"
