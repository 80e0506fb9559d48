"""Writes a report as Markdown. Plots are links to files beside it, or named where none were written.

Text of the events is escaped, so that it stays text in whatever shows the Markdown; samples stand in fenced blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from neat.report.document import (
    NOT_MEASURED,
    Absent,
    Block,
    Facts,
    Figure,
    Heading,
    Listing,
    Paragraph,
    Quote,
    Report,
    Table,
)
from neat.report.escape import visible


def markdown(report: Report, plots: Mapping[str, str]) -> Iterator[str]:
    """The text in pieces; `plots` are the relative paths of written plots by name."""
    yield f"# {plain(report.title)}\n\n{plain(report.lead)}\n"
    for section in report.sections:
        yield f"\n## {plain(section.title)}\n"
        for block in section.blocks:
            yield "\n"
            yield from _block(block, plots)
    yield f"\n---\n\n{plain(report.source)}\n"


def _block(block: Block, plots: Mapping[str, str]) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield f"{plain(text)}\n"
        case Heading(text):
            yield f"### {plain(text)}\n"
        case Absent(what, why):
            yield f"**{plain(what[:1].upper() + what[1:])}: {NOT_MEASURED}.** {_coded(why[:1].upper() + why[1:])}.\n"
        case Facts(rows):
            yield from _table(Table(("", ""), rows, frozenset({1})))
        case Table():
            yield from _table(block)
        case Figure(plot):
            path = plots.get(plot.name)
            yield f"![{plain(plot.title)}]({path})\n" if path else f"*Plot: {plain(plot.title)} (in the HTML page)*\n"
        case Quote(title, prompt, text, measures):
            yield f"### {plain(title)}\n\n{_fenced(prompt + text)}"
            yield f"\n{plain(measures)}\n" if measures else ""
        case Listing(title, text):
            yield f"{plain(title)}:\n\n{_fenced(text)}"


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield f"{plain(table.caption)}\n\n"
    yield f"| {' | '.join(plain(name) or ' ' for name in table.columns)} |\n"
    yield f"|{'|'.join('--:' if index in table.numeric else '---' for index in range(len(table.columns)))}|\n"
    for row in table.rows:
        yield f"| {' | '.join(plain(content) for content in row)} |\n"
    if table.left_out:
        yield f"\n{table.left_out:,} more are not shown.\n"


_SPECIAL = re.compile(r"([\\`*_\[\]|~#!$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BARE_LINK = re.compile(r"(https?|ftp)://|www\.|@", re.IGNORECASE)


def plain(text: str) -> str:
    """Text on one line that no reader of Markdown takes for markup, HTML or a link."""
    return _escaped(" ".join(visible(text).split()))


def _escaped(line: str) -> str:
    line = "".join(_ENTITIES.get(character, character) for character in line)
    line = _SPECIAL.sub(r"\\\1", line)
    return _BARE_LINK.sub(
        lambda match: match[0].replace(":", "&#58;").replace(".", "&#46;").replace("@", "&#64;"), line
    )


def _coded(text: str) -> str:
    """Escaped text on one line in which what stands between backticks is code."""
    parts = " ".join(visible(text).split()).split("`")
    return "".join(f"`{part}`" if index % 2 else _escaped(part) for index, part in enumerate(parts))


def _fenced(text: str) -> str:
    """A block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    body = visible(text.replace("\r", "\n")).rstrip("\n")
    return f"{fence}text\n{body}\n{fence}\n"
