"""The typed configuration tree, its presets and how values reach it. Imports neither torch nor numpy."""

from neat.config.compare import config_hash, difference
from neat.config.load import PRESETS, Loaded, Origin, load, load_file, load_text
from neat.config.schema import Config
from neat.config.show import dump_toml

__all__ = [
    "PRESETS",
    "Config",
    "Loaded",
    "Origin",
    "config_hash",
    "difference",
    "dump_toml",
    "load",
    "load_file",
    "load_text",
]
