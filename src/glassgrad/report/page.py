"""HTML pages: one self-contained file with light and dark colours, for phones and desktops.

A page has a title, a lead and sections. A section has a question, an answer of one sentence, and blocks of evidence.
This module escapes all text. Only ``Figure.svg`` is markup; ``figures`` and ``maps`` produce it. A page has no
scripts, and its content security policy forbids the browser to load anything.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from typing import Any, Literal, SupportsFloat

from glassgrad.report.svg import LOCAL
from glassgrad.report.theme import css_variables
from glassgrad.report.words import number

Verdict = Literal["ok", "warning", "fault"]

_MARKS: dict[str, tuple[str, str]] = {
    "ok": ("✓", "all is well"),
    "warning": ("!", "worth a look"),
    "fault": ("✕", "a fault"),
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Text:
    """A paragraph below an optional ``heading``. ``quiet`` text is smaller and grey."""

    text: str
    heading: str = ""
    quiet: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture from ``figures`` or ``maps``. ``heading`` says what it shows, ``caption`` how to read it.

    Adjacent figures share a row if the page is wide enough. A ``wide`` figure always fills its row.
    """

    svg: str
    caption: str = ""
    heading: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a header. Numbers have three digits and are right-aligned; ``None`` is shown as a dash."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""


@dataclass(frozen=True)
class Facts:
    """Key figures in large type: (label, value) or (label, value, note)."""

    items: Sequence[tuple[str, Any] | tuple[str, Any, str]]


@dataclass(frozen=True)
class Code:
    """Text in a fixed-width font that keeps its line breaks: a command or an equation."""

    text: str
    caption: str = ""


@dataclass(frozen=True)
class Note:
    """A highlighted sentence, such as a fault and its fix."""

    text: str
    verdict: Verdict | None = None
    heading: str = ""
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Details:
    """Blocks hidden under ``summary`` until the reader opens them; ``opened`` shows them at first."""

    summary: str
    blocks: Sequence[Block]
    opened: bool = False


Block = Text | Figure | Table | Facts | Code | Note | Details


@dataclass(frozen=True)
class Section:
    """One question of a page and its answer. ``id`` is its link target; ``idea`` gives the background."""

    id: str
    title: str
    question: str
    sentence: str
    blocks: Sequence[Block] = ()
    verdict: Verdict | None = None
    idea: str = ""


@dataclass(frozen=True)
class Page:
    """A page. ``kicker`` is a short line above the title; ``facts`` appear below the lead."""

    title: str
    lead: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, Any] | tuple[str, Any, str]] = ()
    kicker: str = ""
    footer: str = ""

    def html(self) -> str:
        """The page as an HTML document. The same page always gives the same text."""
        escape = html.escape
        kicker = f'<p class="kicker">{escape(self.kicker)}</p>' if self.kicker else ""
        facts = _facts(Facts(self.facts)) if self.facts else ""
        parts = [
            f"<header>{kicker}<h1>{escape(self.title)}</h1>",
            f'<p class="lead">{escape(self.lead)}</p>{facts}</header>',
            _contents(self.sections) if len(self.sections) > 1 else "",
            f"<main>{''.join(map(_section, self.sections))}</main>",
            f"<footer>{escape(self.footer)}</footer>" if self.footer else "",
        ]
        style = css_variables() + files("glassgrad.report").joinpath("page.css").read_text("utf-8")
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{escape(self.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
            f"{_unique(''.join(parts))}\n</body>\n</html>\n"
        )


def _contents(sections: Sequence[Section]) -> str:
    items = "".join(
        f'<li><a href="#{_identifier(item.id)}">{_badge(item.verdict, small=True)}{html.escape(item.title)}</a></li>'
        for item in sections
    )
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _section(section: Section) -> str:
    idea = f'<p class="quiet">{html.escape(section.idea)}</p>' if section.idea else ""
    return (
        f'<section id="{_identifier(section.id)}"><div class="head">'
        f'<p class="kicker">{html.escape(section.title)}{_badge(section.verdict)}</p>'
        f"<h2>{html.escape(section.question)}</h2>"
        f'<p class="answer">{html.escape(section.sentence)}</p>{idea}</div>{_blocks(section.blocks)}</section>'
    )


def _badge(verdict: Verdict | None, small: bool = False) -> str:
    if verdict is None:
        return ""
    mark, words = _MARKS[verdict]
    label = f'<span class="sr">{words}</span>' if small else words
    return f'<span class="badge {verdict}"><span aria-hidden="true">{mark}</span>{label}</span>'


def _blocks(blocks: Iterable[Block]) -> str:
    """The markup of ``blocks`` in order. Adjacent figures share a grid."""
    parts: list[str] = []
    row: list[Figure] = []
    for block in [*blocks, None]:
        if isinstance(block, Figure) and not block.wide:
            row.append(block)
            continue
        if row:
            kind = "figures alone" if len(row) == 1 else "figures"
            parts.append(f'<div class="{kind}">{"".join(map(_figure, row))}</div>')
            row = []
        if block is not None:
            parts.append(_block(block))
    return "".join(parts)


def _block(block: Block) -> str:
    escape = html.escape
    match block:
        case Figure():
            return _figure(block)
        case Text():
            heading = f"<h3>{escape(block.heading)}</h3>" if block.heading else ""
            quiet = ' class="quiet"' if block.quiet else ""
            return f"{heading}<p{quiet}>{escape(block.text)}</p>"
        case Facts():
            return _facts(block)
        case Table():
            return _table(block)
        case Code():
            caption = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
            return f'<figure class="code"><pre><code>{escape(block.text)}</code></pre>{caption}</figure>'
        case Note():
            heading = f"<h3>{escape(block.heading)}</h3>" if block.heading else ""
            kind = f"note {block.verdict}" if block.verdict else "note"
            inner = f"{_badge(block.verdict)}{heading}<p>{escape(block.text)}</p>{_blocks(block.blocks)}"
            return f'<aside class="{kind}">{inner}</aside>'
        case Details():
            summary = f"<summary>{escape(block.summary)}</summary>"
            return f"<details{' open' if block.opened else ''}>{summary}{_blocks(block.blocks)}</details>"


def _figure(figure: Figure) -> str:
    heading = f"<h3>{html.escape(figure.heading)}</h3>" if figure.heading else ""
    caption = f"<figcaption>{html.escape(figure.caption)}</figcaption>" if figure.caption else ""
    kind = "picture wide" if figure.wide else "picture"
    return f'<figure class="{kind}">{heading}<div class="drawing">{figure.svg}</div>{caption}</figure>'


def _facts(facts: Facts) -> str:
    items = []
    for label, value, *note in facts.items:
        remark = f'<dd class="remark">{html.escape(note[0])}</dd>' if note and note[0] else ""
        items.append(f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(_cell(value))}</dd>{remark}</div>")
    return f'<dl class="facts">{"".join(items)}</dl>'


def _table(table: Table) -> str:
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    is_numeric = [
        bool(column) and all(item is None or (_is_number(item)) for item in column) for column in columns
    ]

    def cells(tag: str, texts: Iterable[str]) -> str:
        classes = [' class="number"' if numeric else "" for numeric in is_numeric]
        return "".join(
            f"<{tag}{css_class}>{html.escape(text)}</{tag}>"
            for text, css_class in zip(texts, classes, strict=True)
        )

    body = "".join(f"<tr>{cells('td', map(_cell, row))}</tr>" for row in table.rows)
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    head = f"<thead><tr>{cells('th', table.header)}</tr></thead>"
    return f'<div class="table" tabindex="0"><table>{caption}{head}<tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return number(value) if value is None or _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, SupportsFloat) and not isinstance(value, bool | str)


def _identifier(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or "section"


def _unique(markup: str) -> str:
    """``markup`` with ids made unique: each picture gets its own prefix, since two may use the same ids."""
    numbers = count(1)
    return re.sub(
        r"<svg viewBox.*?</svg>",
        lambda picture: picture[0].replace(LOCAL, f"v{next(numbers)}-"),
        markup,
        flags=re.DOTALL,
    )
