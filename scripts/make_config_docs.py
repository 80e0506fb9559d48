"""Writes the tables of `docs/configuration.md` from the schema.

Usage: ``python scripts/make_config_docs.py``. Only the part between the two markers is replaced; the text around it is
written by hand. A test compares the committed page with what this script makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from neat.config.schema import descriptions, sections, settings
from neat.config.show import toml_value

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
BEGIN = "<!-- tables: made by scripts/make_config_docs.py -->"
END = "<!-- end of tables -->"


def tables() -> str:
    """One table per section, the settings without a section first."""
    return "\n\n".join("\n".join(_table(section)) for section in ("", *sections()))


def filled(page: str) -> str:
    """`page` with fresh tables between its markers."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _table(section: str) -> Iterator[str]:
    yield f"### `[{section}]`" if section else "### Top level"
    yield ""
    if section:
        yield " ".join((sections()[section].__doc__ or "").split())
        yield ""
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for key, declared in settings().items():
        if key.rpartition(".")[0] == section:
            default = toml_value(declared.get_default())
            yield f"| `{key}` | `{default}` | {_meaning(key, declared.annotation)} |"


def _meaning(key: str, annotation: object) -> str:
    text = descriptions()[key].replace("|", "\\|")
    if get_origin(annotation) is not Literal:
        return text
    return f"{text} One of {', '.join(f'`{choice}`' for choice in get_args(annotation))}."


def main() -> None:
    """Rewrites the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
