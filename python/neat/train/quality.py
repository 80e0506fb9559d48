"""Signs that generated text has collapsed: repetition and long runs of one byte."""

from __future__ import annotations

from itertools import groupby


def degeneracy(text: bytes) -> dict[str, float]:
    """Measures of repetition.

    Returns:
        `distinct_4`: share of different strings among all 4-byte strings, near 0.9 for 400 bytes of English;
        `longest_run`: most equal bytes in a row; `top_byte_share`: share of the most frequent byte.
    """
    if not text:
        return {"distinct_4": 0.0, "longest_run": 0, "top_byte_share": 0.0}
    grams = [text[i : i + 4] for i in range(max(1, len(text) - 3))]
    return {
        "distinct_4": round(len(set(grams)) / len(grams), 3),
        "longest_run": max(len(list(run)) for _, run in groupby(text)),
        "top_byte_share": round(max(text.count(byte) for byte in set(text)) / len(text), 3),
    }
