"""Rotary positions by complex numbers, as slow references use them."""

from __future__ import annotations

import cmath

from torch import Tensor

THETA = 100.0


def turned(vector: Tensor, position: int) -> list[float]:
    """One head vector rotated as K / 2 complex numbers."""
    half = len(vector) // 2
    numbers = [
        complex(vector[k], vector[k + half]) * cmath.exp(1j * position * THETA ** (-2 * k / len(vector)))
        for k in range(half)
    ]
    return [number.real for number in numbers] + [number.imag for number in numbers]
