"""Which settings may differ between a network and the one that it grows into."""

from __future__ import annotations

from neat.config.compare import difference
from neat.config.schema import Config
from neat.config.show import toml_value
from neat.errors import Problem

GROWING = (
    *("network.width", "network.layers", "network.heads", "network.kv_heads", "network.ffn_width"),
    *("network.local_width", "network.local_heads", "network.hash_rows", "memory.heads", "vision.head_ffn_width"),
    *("network.encoder_layers", "network.encoder_ffn_width", "network.decoder_layers", "network.decoder_ffn_width"),
)
"""Sizes that may become larger."""
SWITCHED_ON = {
    "network.hash_orders": "embedding.hash.",
    "network.smear": "embedding.smear.",
    "network.ngram_features": "embedding.ngram.",
    "network.xsa": "attention.exclusive.",
    "network.attention_gate": "attention.head_gate.",
    "network.kv_conv": "attention.convolution.",
    "network.encoder_ffn_width": "patching.encoder.",
    "network.decoder_ffn_width": "patching.decoder.",
    "memory.variant": ".memory.",
    "expert.count": "experts.",
}
"""What the source may lack altogether, as it starts without any effect, and what its parameters are called."""
COMPUTED = frozenset(
    {
        "network.window", "network.local_window", "network.loop_middle", "network.rope_theta", "memory.chunk",
        "memory.max_rate", "memory.clip", "memory.gram", "memory.surprise_threshold", "recursion.halt_threshold",
        "recursion.min_depth", "recursion.calibration_decay",
    }
)  # fmt: skip
"""What changes the function but no weight."""
FREE = frozenset(
    {
        "memory.layers", "memory.recompute", "recursion.supervision", "recursion.halt_weight",
        "recursion.ponder_weight", "recursion.diversity_weight", "recursion.diversity_target", "vision.codec",
        "vision.loss_weight", "vision.discrepancy_weight", "vision.max_images", "vision.min_gap",
    }
)  # fmt: skip
"""What changes neither. Where memories stand is for `depth.py` to judge, and codecs are compared by their weights."""
SECTIONS = ("network.", "memory.", "recursion.", "vision.")


def check(old: Config, new: Config) -> tuple[list[Problem], list[str]]:
    """Problems of growing from `old` to `new`, and the settings that change what is computed."""
    problems, changes = [], []
    for key, before, after in difference(old, new):
        if not key.startswith(SECTIONS) and key != "expert.count":
            continue
        if key.startswith("vision.") and not (old.vision.on or new.vision.on):
            continue
        if new.init.method == "exact" and (key in GROWING or key in SWITCHED_ON or key == "memory.layers"):
            message = f"{key} is {toml_value(after)}, {toml_value(before)} in the source, and init.method is exact"
            problems.append(Problem(message, "set init.method=preserve to let it grow"))
        elif key in COMPUTED:
            changes += [key] if old.memory.on or not key.startswith("memory.") else []
        elif key not in FREE and not _is_switched_on(old, key, before, after):
            problem = _problem(key, before, after)
            problems += [problem] if problem else []
    return problems, changes


def begins_without_effect(name: str, old: Config, new: Config) -> bool:
    """Whether the parameter `name`, which the source lacks, belongs to something that was switched on since."""
    keys = {key for key, before, after in difference(old, new) if _is_switched_on(old, key, before, after)}
    # A memory may also be added to one more layer.
    keys |= {"memory.variant"} if new.memory.variant in ("mag", "mal") else set()
    return any(SWITCHED_ON[key] in name for key in keys & SWITCHED_ON.keys())


def _is_switched_on(old: Config, key: str, before: object, after: object) -> bool:
    if key == "memory.variant":
        return before == "off" and after in ("mag", "mal")
    if key.startswith("memory.") and not old.memory.on:
        return key != "memory.persistent"
    if key == "network.kv_conv":
        return before in (0, 1) and after not in (0, 1)
    if key == "network.hash_rows":
        return not old.network.hash_orders
    return key in SWITCHED_ON and not before and bool(after)


def _problem(key: str, before: object, after: object) -> Problem | None:
    """What is wrong with a setting that differs; None for one that has grown."""
    if key in GROWING:
        assert isinstance(before, int) and isinstance(after, int)
        if after > before:
            return None
        return Problem(
            f"{key} is {after}, {before} in the source: a network can grow, not shrink", f"set {key}={before} or more"
        )
    if key in ("vision.on", "vision.codes"):
        message = (
            f"{key} is {toml_value(after)}, {toml_value(before)} in the source: the network has another vocabulary"
        )
        return Problem(message, f"set {key}={toml_value(before)}")
    message = f"{key} is {toml_value(after)}, {toml_value(before)} in the source: growth does not carry that change"
    return Problem(message, f"set {key}={toml_value(before)}")
