"""Runs that take a second: a small corpus on disk and the configuration of a tiny model on it."""

from __future__ import annotations

import json
from pathlib import Path

from neat.config.load import load
from neat.config.schema import Config
from support.text import prose

SETTINGS = {
    "seed": 7,
    "patcher.mean_length": 3.5,
    "patcher.max_length": 8,
    "ngram.order": 3,
    "ngram.folds": 2,
    "network.width": 16,
    "network.layers": 1,
    "network.heads": 2,
    "network.kv_heads": 1,
    "network.ffn_width": 16,
    "network.local_width": 8,
    "network.decoder_layers": 1,
    "network.decoder_ffn_width": 16,
    "network.hash_orders": [2, 3],
    "network.hash_rows": 64,
    "optim.ema_decay": 0.9,
    "train.max_steps": 30,
    "train.batch_bytes": 256,
    "train.window": 64,
    "train.curriculum": [[0.2, 32]],
    "train.log_every": 1,
    "train.sample_bytes": 20,
    "data.lanes": 3,
    "checkpoint.every_steps": 10,
    "runtime.device": "cpu",
    "runtime.dtype": "float32",
    "runtime.threads": 1,
    "monitor.sample_s": 0.0,
}


def write_corpus(folder: Path) -> tuple[Path, Path]:
    """Training and validation text as JSONL, about 25 kB and 2 kB."""
    folder.mkdir(parents=True, exist_ok=True)
    train, valid = folder / "train.jsonl", folder / "valid.jsonl"
    for path, seeds in ((train, range(80)), (valid, range(1000, 1006))):
        path.write_text("".join(json.dumps({"text": prose(seed).decode()}) + "\n" for seed in seeds), encoding="utf-8")
    return train, valid


def overrides(folder: Path, **changes: object) -> list[str]:
    """`KEY=VALUE` texts of a run on the corpus in `folder`; a dot in a key is written as two underscores."""
    train, valid = folder / "train.jsonl", folder / "valid.jsonl"
    values = SETTINGS | {"data.sources": [str(train)], "data.validation": [str(valid)]}
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def configure(folder: Path, **changes: object) -> Config:
    """The configuration of `overrides`."""
    return load(None, overrides(folder, **changes)).config
