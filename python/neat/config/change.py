"""A configuration with some values replaced, validated like any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from neat.config.compare import difference
from neat.config.explain import explain
from neat.config.load import load
from neat.config.schema import Config, settings
from neat.config.show import toml_value
from neat.errors import ConfigError


def changed(config: Config, values: Mapping[str, object]) -> Config:
    """`config` with the values of dotted keys replaced.

    Raises:
        ConfigError: A value is out of range or at odds with another setting.
    """
    tree = config.model_dump()
    for key, value in values.items():
        section, dot, name = key.rpartition(".")
        (tree[section] if dot else tree)[name] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError.of(explain(error, dict.fromkeys(settings()))) from error


def over_preset(config: Config, base: str, head: str) -> str:
    """A TOML text that gives `config` again: what differs from the preset `base` ("": from the defaults).

    Args:
        config: What the text stands for, but for its name: a file names its runs after itself.
        base: Name of a preset.
        head: Comment lines at the beginning.
    """
    values = {key: value for key, _, value in difference(load(base or None).config, config) if key != "name"}
    if "data.sources" in values:
        # Other sources would leave the held-out text of the base behind.
        values |= {f"data.{key}": getattr(config.data, key) for key in ("validation", "validation_share")}
    lines = [*(f"# {line}" for line in head.splitlines())]
    if base:
        lines.append(f"base = {toml_value(base)}")
    section = ""
    for key in settings():
        if key in values:
            prefix, _, name = key.rpartition(".")
            if prefix != section:
                section = prefix
                lines += ["", f"[{section}]"]
            lines.append(f"{name} = {toml_value(values[key])}")
    return "\n".join(lines) + "\n"


def base_of(source: str) -> str:
    """The preset that a `--config` source stands on: itself, or what the file names; "" where there is none."""
    from neat.config.load import PRESETS
    from neat.config.tomlfile import parse, read

    if source in PRESETS:
        return source
    path = Path(source)
    path = path / "config.toml" if (path / "config.toml").is_file() else path
    if not path.exists():
        return path.stem if path.stem in PRESETS else ""
    base = parse(read(path), source).get("base", "")
    return base if isinstance(base, str) else ""
