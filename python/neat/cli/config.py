"""Show, check and compare configurations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from neat.cli.arguments import add_config_options, add_json_option, load_config, print_json

if TYPE_CHECKING:
    from neat.cli.arguments import Parser
    from neat.config.schema import Config


def configure(parser: Parser) -> None:
    """The subcommands of `neat config`."""
    commands = parser.add_commands(
        show="print the resolved configuration as commented TOML",
        check="say whether a configuration is valid",
        diff="print the settings in which two configurations differ",
    )
    add_config_options(commands["show"], required=False)
    commands["show"].add_argument("--origin", action="store_true", help="say where each value was set")
    add_json_option(commands["show"])
    add_config_options(commands["check"], required=True)
    add_json_option(commands["check"])
    for side in ("left", "right"):
        commands["diff"].add_argument(side, metavar=side.upper(), help="preset, TOML file or run directory")
    add_json_option(commands["diff"])


def run(arguments: argparse.Namespace) -> int:
    """Runs the subcommand."""
    commands = {"show": _show, "check": _check, "diff": _diff}
    return commands[arguments.command](arguments)


def _show(arguments: argparse.Namespace) -> int:
    loaded = load_config(arguments)
    origins = loaded.origins if arguments.origin else None
    if not arguments.json:
        from neat.config.show import dump_toml  # pydantic

        print(dump_toml(loaded.config, origins), end="")
        return 0
    table: dict[str, object] = {"config": loaded.config.model_dump(mode="json")}
    if origins is not None:
        table["origins"] = {key: origin.label for key, origin in origins.items()}
    print_json(table)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from neat.config.compare import config_hash  # pydantic

    config = load_config(arguments).config
    if arguments.json:
        print_json({"valid": True, "name": config.name, "hash": config_hash(config)})
    else:
        print(f"{arguments.config}: valid")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from neat.config.compare import difference  # pydantic
    from neat.config.show import toml_value

    differences = difference(_load_any(arguments.left), _load_any(arguments.right))
    if arguments.json:
        print_json({"differences": [{"key": key, "left": left, "right": right} for key, left, right in differences]})
        return 0
    for key, left, right in differences:
        print(f"{key}: {toml_value(left)} -> {toml_value(right)}")
    return 0


def _load_any(source: str) -> Config:
    from neat.config.load import load  # pydantic

    resolved = Path(source) / "config.toml"
    return load(resolved if resolved.is_file() else source).config
