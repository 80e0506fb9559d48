"""Writes a report as one HTML page that asks for nothing else: style and plots are inside, and there is no script.

Whatever came from the events goes through `escaped`, and the page's own policy forbids scripts and requests besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import groupby

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
    Section,
    Table,
)
from neat.report.escape import escaped
from neat.report.plot import Plot
from neat.report.svg import render, style

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_WIDE, _NARROW, _HALF = 1130, 358, 470
"""Pixels of a plot across the page, of the same on a telephone, and of one of two beside each other."""


def page(report: Report) -> Iterator[str]:
    """The page in pieces, so that it need not be held at once."""
    css = (files("neat.report") / "page.css").read_text(encoding="utf-8")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escaped(_POLICY)}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{escaped(report.title)}</title>\n<style>\n{css}{style()}</style>\n</head>\n"
    yield '<body>\n<div class="sheet">\n'
    yield f'<header><h1>{escaped(report.title)}</h1>\n<p class="lead">{escaped(report.lead)}</p>\n<nav>'
    yield "".join(f'<a href="#{section.name}">{escaped(section.title)}</a>' for section in report.sections)
    yield "</nav></header>\n<main>\n"
    for section in report.sections:
        yield from _section(section)
    yield f"</main>\n<footer>{escaped(report.source)}</footer>\n</div>\n</body>\n</html>\n"


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{section.name}"><h2>{escaped(section.title)}</h2>\n'
    for small, blocks in groupby(section.blocks, key=lambda block: isinstance(block, Figure) and not block.wide):
        if small:
            yield '<div class="grid">\n'
        for block in blocks:
            yield from _block(block)
        if small:
            yield "</div>\n"
    yield "</section>\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield f"<p>{escaped(text)}</p>\n"
        case Heading(text):
            yield f"<h3>{escaped(text)}</h3>\n"
        case Absent(what, why):
            yield f'<p class="absent"><b>{escaped(_capital(what))}: {NOT_MEASURED}.</b> {_coded(_capital(why))}.</p>\n'
        case Facts(rows):
            yield f'<dl class="facts">{"".join(_fact(*row) for row in rows)}</dl>\n'
        case Table():
            yield from _table(block)
        case Figure(plot, wide, caption):
            yield _figure(plot, caption, wide=wide)
        case Quote(title, prompt, text, measures):
            yield f'<div class="quote"><h3>{escaped(title)}</h3>'
            yield f'<pre><span class="prompt">{escaped(prompt)}</span>{escaped(text)}</pre>'
            yield f'<div class="measures">{escaped(measures)}</div></div>\n'
        case Listing(title, text):
            yield f"<details><summary>{escaped(title)}</summary><pre>{escaped(text)}</pre></details>\n"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _coded(words: str) -> str:
    """Escaped text with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped(words))


def _fact(name: str, value: str) -> str:
    kind = ' class="none"' if value == NOT_MEASURED else ""
    return f"<div><dt>{escaped(name)}</dt><dd{kind}>{escaped(value)}</dd></div>"


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield f'<p class="caption">{escaped(table.caption)}</p>\n'
    yield '<div class="scroll"><table>'
    if any(table.columns):
        yield f"<thead><tr>{''.join(_cells(table, table.columns, 'th'))}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        yield f"<tr>{''.join(_cells(table, row, 'td'))}</tr>\n"
    yield "</tbody></table></div>\n"
    if table.left_out:
        yield f'<p class="more">{table.left_out:,} more are not shown.</p>\n'


def _cells(table: Table, row: Iterable[str], tag: str) -> Iterator[str]:
    for index, content in enumerate(row):
        kinds = [*(("n",) if index in table.numeric else ()), *(("none",) if content == NOT_MEASURED else ())]
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        yield f"<{tag}{kind}>{escaped(content)}</{tag}>"


def _figure(plot: Plot, caption: str, *, wide: bool) -> str:
    told = f"<small>{escaped(caption)}</small>" if caption else ""
    head = f'<figure class="{"wide" if wide else "half"}"><figcaption>{escaped(plot.title)}{told}</figcaption>'
    if wide:
        return (
            f'{head}<div class="broad">{render(plot, _WIDE)}</div>'
            f'<div class="narrow">{render(plot, _NARROW)}</div></figure>\n'
        )
    return f"{head}{render(plot, _HALF)}</figure>\n"
