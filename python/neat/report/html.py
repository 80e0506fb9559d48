"""Writes a report as one HTML page that asks for nothing else: style and plots are inside, and there is no script.

Whatever came from the events goes through `escape`, and the page's own policy forbids scripts and requests besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
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
from neat.report.plot import Plot
from neat.report.svg import render, style

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_WIDE, _NARROW, _HALF = 1130, 358, 540
"""Pixels of a plot across the page, of the same on a telephone, and of one of two beside each other."""


def page(report: Report) -> Iterator[str]:
    """The page in pieces, so that it need not be held at once."""
    css = (files("neat.report") / "page.css").read_text(encoding="utf-8")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f'<title>{escape(report.title)}</title>\n<style>\n{css}{style()}</style>\n</head>\n<body>\n<div class="sheet">\n'
    yield f'<header><h1>{escape(report.title)}</h1>\n<p class="lead">{escape(report.lead)}</p>\n<nav>'
    yield "".join(f'<a href="#{section.name}">{escape(section.title)}</a>' for section in report.sections)
    yield "</nav></header>\n<main>\n"
    for section in report.sections:
        yield from _section(section)
    yield f"</main>\n<footer>{escape(report.source)}</footer>\n</div>\n</body>\n</html>\n"


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{section.name}"><h2>{escape(section.title)}</h2>\n'
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
            yield f"<p>{escape(text)}</p>\n"
        case Heading(text):
            yield f"<h3>{escape(text)}</h3>\n"
        case Absent(what, why):
            yield f'<p class="absent"><b>{escape(what[:1].upper() + what[1:])}: {NOT_MEASURED}.</b> {escape(_sentence(why))}</p>\n'
        case Facts(rows):
            yield f'<dl class="facts">{"".join(_fact(*row) for row in rows)}</dl>\n'
        case Table():
            yield from _table(block)
        case Figure(plot, wide, caption):
            yield _figure(plot, caption, wide=wide)
        case Quote(title, prompt, text, measures):
            yield f'<div class="quote"><h3>{escape(title)}</h3><pre><span class="prompt">{escape(prompt)}</span>{escape(text)}</pre>'
            yield f'<div class="measures">{escape(measures)}</div></div>\n'
        case Listing(title, text):
            yield f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>\n"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."


def _fact(name: str, value: str) -> str:
    kind = ' class="none"' if value == NOT_MEASURED else ""
    return f"<div><dt>{escape(name)}</dt><dd{kind}>{escape(value)}</dd></div>"


def _table(table: Table) -> Iterator[str]:
    yield '<div class="scroll"><table>'
    if table.caption:
        yield f"<caption>{escape(table.caption)}</caption>"
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
        yield f"<{tag}{kind}>{escape(content)}</{tag}>"


def _figure(plot: Plot, caption: str, *, wide: bool) -> str:
    told = f"<small>{escape(caption)}</small>" if caption else ""
    head = f'<figure class="{"wide" if wide else "half"}"><figcaption>{escape(plot.title)}{told}</figcaption>'
    if wide:
        return (
            f'{head}<div class="broad">{render(plot, _WIDE)}</div>'
            f'<div class="narrow">{render(plot, _NARROW)}</div></figure>\n'
        )
    return f"{head}{render(plot, _HALF)}</figure>\n"
