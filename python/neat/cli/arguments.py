"""What the commands share: a parser that reports like everything else, common options, output."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from neat.errors import UsageError

if TYPE_CHECKING:
    from neat.config.load import Loaded


class Parser(argparse.ArgumentParser):
    """Long options in full only; mistakes are `UsageError`s; descriptions keep their lines."""

    def __init__(self, prog: str, description: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Reports a command line that makes no sense."""
        raise UsageError(message, hint=f"{self.prog} --help")

    def add_commands(self, **commands: str) -> dict[str, Parser]:
        """Subcommands with their one-line help; the chosen one is `arguments.command`."""
        group = self.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Subparser)
        return {
            name: group.add_parser(name.replace("_", "-"), help=text, description=text)
            for name, text in commands.items()
        }


class _Subparser(Parser):
    """A `Parser` that takes whatever argparse hands to the parsers of subcommands."""

    def __init__(self, prog: str, description: str | None = None, **_: object) -> None:
        super().__init__(prog, description)


def add_config_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """`--config` and `--set`."""
    parser.add_argument(
        "--config",
        metavar="PRESET|FILE",
        required=required,
        help="tiny, tiny-full, 100m, 350m, 1b, reasoning, memory, speed, or the path of a TOML file",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="change one setting, as in train.max_steps=100; may be repeated",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """`--device`."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to compute (%(default)s)"
    )


def load_config(arguments: argparse.Namespace) -> Loaded:
    """The configuration that the options describe; remarks go to stderr."""
    from neat.config.load import load  # pydantic; not needed by --help of other commands

    loaded = load(arguments.config, arguments.overrides)
    for note in loaded.notes:
        say(note)
    return loaded


def say(text: str) -> None:
    """A remark for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(table: Mapping[str, object]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(table: Mapping[str, object], indent: str = "") -> None:
    """A nested table as aligned lines on stdout."""
    width = max((len(str(key)) for key in table), default=0)
    for key, value in table.items():
        if isinstance(value, Mapping):
            print(f"{indent}{key}")
            print_table(value, indent + "  ")
        else:
            print(f"{indent}{key!s:<{width}}  {readable(value)}")


def readable(value: object) -> str:
    """A value for people: thousands separated, four significant digits, lists on one line."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:.4g}"
        case list() | tuple():
            return ", ".join(readable(item) for item in value)
    return str(value)


_WHOLE = 10_000.0
