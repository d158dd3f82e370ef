"""Pages: text is escaped, nothing is loaded from elsewhere, and every kind of block is rendered."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgrad.report.page import Block, Code, Details, Facts, Figure, Note, Page, Section, Table, Text
from report.gallery import page as gallery_page

NASTY = "<script>alert('1')</script><img src=x onerror=\"alert(2)\">&amp;"
VOID = {"meta", "img", "br", "path", "rect", "use", "circle"}


class Outline(HTMLParser):
    """Collects the tags, attributes and text of a page, and checks that the tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(*blocks: Block, text: str = "text") -> str:
    return Page(text, text, [Section("s", text, text, text, blocks)], [(text, text, text)], text, text).html()


def every_block(text: str) -> list[Block]:
    return [
        Text(text, text),
        Figure("<svg></svg>", text, text),
        Table([text], [[text]], text),
        Facts([(text, text, text)]),
        Code(text, text),
        Note(text, "fault", text, [Text(text)]),
        Details(text, [Text(text)]),
    ]


def test_text_is_never_markup() -> None:
    plain, nasty = (Outline(page_of(*every_block(text), text=text)) for text in ("qwerty", NASTY))
    assert nasty.tags == plain.tags
    assert len(nasty.attributes) == len(plain.attributes)
    assert nasty.text.count(NASTY) == plain.text.count("qwerty") == 28


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_text_survives_escaping(text: str) -> None:
    outline = Outline(page_of(Text(text), Table([text], [[text]])))
    assert outline.text.count(text) >= 3
    assert outline.tags["script"] == 0


def test_the_whole_gallery_is_one_offline_file() -> None:
    text = gallery_page().html()
    outline = Outline(text)
    assert outline.open == []
    assert "default-src 'none'" in text
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(outline.tags)
    for tag, name, value in outline.attributes:
        assert not name.startswith("on"), f"<{tag} {name}>"
        if name in ("src", "href", "xlink:href"):
            assert (value or "").startswith(("#", "data:image/png;base64,")), value
    assert re.findall(r"url\((?!#)", text) == []
    assert "@import" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_ids_are_unique_and_every_reference_has_its_target() -> None:
    outline = Outline(gallery_page().html())
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    references = {value[1:] for _, name, value in outline.attributes if name == "href" and value}
    references |= {
        value[5:-1] for _, name, value in outline.attributes if value and value.startswith("url(#")
    }
    assert references
    assert references <= set(ids)


def test_the_same_page_gives_the_same_bytes() -> None:
    assert gallery_page().html() == gallery_page().html()


def test_every_picture_has_a_title_and_every_image_a_text() -> None:
    text = gallery_page().html()
    for svg in re.findall(r"<svg viewBox.*?>.{7}", text):
        assert 'role="img"' in svg
        assert svg.endswith("<title>")
    outline = Outline(text)
    assert outline.tags["img"] == sum(
        1 for tag, name, value in outline.attributes if (tag, name) == ("img", "alt") and value
    )
    assert outline.tags["h1"] == 1


def test_light_and_dark_have_the_same_colours_to_choose_from() -> None:
    text = gallery_page().html()
    light, dark = re.findall(r":root \{(.*?)\}", text)
    names = set(re.findall(r"(--[\w-]+):", dark))
    assert names == set(re.findall(r"(--[\w-]+):", light))
    set_in_the_style_sheet = {"--tone", "--image"}
    assert set(re.findall(r"var\((--[\w-]+)", text)) <= names | set_in_the_style_sheet


@pytest.mark.parametrize(
    ("value", "shown", "right"),
    [(1234, "1,234", True), (0.5, "0.5", True), (None, "–", True), ("a", "a", False), (True, "True", False)],
)
def test_cells(value: Any, shown: str, right: bool) -> None:
    text = page_of(Table(["h"], [[value]]))
    assert f"<td{' class=' + chr(34) + 'number' + chr(34) if right else ''}>{shown}</td>" in text


def test_neighbouring_figures_share_a_row_and_wide_ones_do_not() -> None:
    picture = Figure("<svg></svg>")
    text = page_of(picture, picture, Text("between"), picture, Figure("<svg></svg>", wide=True), picture)
    assert text.count('class="figures"') == 1
    assert text.count('class="figures alone"') == 2
    assert text.count('class="picture wide"') == 1


def test_a_verdict_is_also_written_in_words() -> None:
    sections = [
        Section(f"s{i}", "t", "q?", "a.", verdict=v) for i, v in enumerate(("ok", "warning", "fault"))
    ]
    text = Page("t", "l", sections).html()
    for words in ("all is well", "worth a look", "a fault"):
        assert text.count(words) == 2
