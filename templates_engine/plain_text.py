"""The text part of a mail, made from its HTML once, when the version is published."""

import re
from collections.abc import Iterator

from templates_engine.markup import Element, parsed
from templates_engine.masking import MARK, masked, unmasked
from templates_engine.source import Kind, Segment

# Stands for a blank that is kept: of a <pre>, of an indentation, between cells.
_KEPT_BLANK = "\ue002"
_HTML_BLANKS = re.compile(r"[ \t\n\r\f]+")
_NOT_SHOWN = frozenset({"head", "style", "script", "title", "template", "noscript"})
_LEFT_OUT = frozenset({"preheader", "no-text"})  # classes
_CELL_GAP = _KEPT_BLANK * 2
_RULE = "-" * 20

# What stands on lines of its own; with blank lines around it, or without.
_PARAGRAPHS = frozenset(
    [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "dl",
        "table",
        "blockquote",
        "pre",
        "hr",
        "figure",
        "fieldset",
    ]
)
_LINES = frozenset(
    [
        "address",
        "article",
        "aside",
        "center",
        "dd",
        "details",
        "div",
        "dt",
        "figcaption",
        "footer",
        "form",
        "header",
        "legend",
        "li",
        "main",
        "nav",
        "section",
        "summary",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "caption",
    ]
)


def text_source(html_source: str) -> str:
    """Make a text template of a composed HTML template, as a reader sees the HTML.

    Links keep their addresses. What is not displayed is left out, and so are elements of class
    ``preheader`` or ``no-text``. Struck text stands between ``~~``.
    """
    html, tags = masked(html_source)
    writer = _Writer(tags)
    writer.write(parsed(html))
    return _restored(_tidy(writer.text, tags), tags).strip().replace(_KEPT_BLANK, " ") + "\n"


class _Writer:
    """Writes a tree as text: blanks collapse, elements begin lines or paragraphs."""

    def __init__(self, tags: list[Segment]) -> None:
        self._tags = tags
        self._written: list[str] = []
        self._breaks = 0  # line breaks that are due before the next text
        self._lists: list[Iterator[str]] = []  # of the lists that are open, their marks to come
        self._begins = True  # nothing stands yet in this item, cell or text: no line is broken
        self._preformatted = False

    @property
    def text(self) -> str:
        return "".join(self._written)

    def write(self, element: Element) -> None:
        if element.name in _NOT_SHOWN or element.is_hidden or _LEFT_OUT & {*element.classes}:
            return
        breaks = 2 if element.name in _PARAGRAPHS and not self._in_list(element) else 0
        breaks = breaks or (1 if element.name in (_LINES | _PARAGRAPHS) else 0)
        self._break(breaks)
        handler = getattr(self, f"_write_{element.name}", self._write_children)
        handler(element)
        self._break(breaks)

    def _in_list(self, element: Element) -> bool:
        return element.name in ("ul", "ol") and bool(self._lists)

    def _write_children(self, element: Element) -> None:
        for child in element.children:
            if isinstance(child, str):
                self._write_text(child)
            else:
                self.write(child)

    def _write_br(self, _: Element) -> None:
        self._flush_breaks()
        self._written.append("\n")

    def _write_hr(self, _: Element) -> None:
        self._write_text(_RULE)

    def _write_img(self, element: Element) -> None:
        self._write_text(element.attributes.get("alt", ""))

    def _write_a(self, element: Element) -> None:
        inner = _Writer(self._tags)
        inner._write_children(element)
        label = _HTML_BLANKS.sub(" ", inner.text).strip()
        # A browser drops line breaks and tabs in an address: https://url.spec.whatwg.org/#concept-basic-url-parser
        address = re.sub(r"[\t\r\n]", "", element.attributes.get("href", "")).strip()
        self._write_text(self._link(label, address))

    def _link(self, label: str, address: str) -> str:
        if not address or address.startswith("#"):
            return label
        bare = address.removeprefix("mailto:").removeprefix("tel:")
        shows_it = bare != address and (MARK.search(label) or re.search(r"[@\d]", label))
        if shows_it or unmasked(label, self._tags) in ("", unmasked(bare, self._tags)):
            return label or bare
        return f"{label}: {bare}"

    def _write_pre(self, element: Element) -> None:
        outer, self._preformatted = self._preformatted, True
        self._write_children(element)
        self._preformatted = outer

    def _write_del(self, element: Element) -> None:
        self._write_text("~~")
        self._write_children(element)
        self._written.append("~~")

    _write_s = _write_strike = _write_del

    def _write_ul(self, element: Element) -> None:
        self._lists.append(iter(lambda: "- ", ""))
        self._write_children(element)
        self._lists.pop()

    def _write_ol(self, element: Element) -> None:
        # A loop writes one item many times: it cannot be counted here.
        if any(MARK.search(text) for text in _own_texts(element)):
            self._write_ul(element)
            return
        start = element.attributes.get("start", "")
        first = int(start) if start.isdecimal() else 1
        self._lists.append(f"{number}. " for number in range(first, first + 100_000))
        self._write_children(element)
        self._lists.pop()

    def _write_li(self, element: Element) -> None:
        mark = next(self._lists[-1], "- ") if self._lists else "- "
        self._flush_breaks()
        self._written.append(_KEPT_BLANK * 2 * (len(self._lists) - 1) + mark)
        self._begins = True
        self._write_children(element)

    def _write_td(self, element: Element) -> None:
        if not (self._breaks or self._ends_blank()):
            self._written.append(_CELL_GAP)
        self._begins = True
        self._write_children(element)

    _write_th = _write_td

    def _write_text(self, text: str) -> None:
        if self._preformatted:
            shown = text.replace("\r\n", "\n").replace(" ", _KEPT_BLANK)
        else:
            shown = _HTML_BLANKS.sub(" ", text)
            if self._breaks or self._ends_blank():
                shown = shown.lstrip(" ")
        shown = shown.replace("\N{NO-BREAK SPACE}", " ")
        if shown:
            self._flush_breaks()
            self._written.append(shown)

    def _ends_blank(self) -> bool:
        return not self._written or self._written[-1].endswith((" ", "\n"))

    def _break(self, lines: int) -> None:
        if not self._begins:
            self._breaks = max(self._breaks, lines)

    def _flush_breaks(self) -> None:
        if self._breaks:
            self._written.append("\n" * self._breaks)
        self._breaks = 0
        self._begins = False


def _own_texts(element: Element) -> Iterator[str]:
    return (child for child in element.children if isinstance(child, str))


def _tidy(text: str, tags: list[Segment]) -> str:
    """Put statements that start a line on a line of their own, which vanishes when rendered."""
    lines: list[str] = []
    for raw in text.split("\n"):
        line = raw.strip()
        match = MARK.match(line)
        while match and tags[int(match[1])].kind is Kind.STATEMENT:
            lines.append(match[0])
            line = line[match.end() :].strip()
            match = MARK.match(line)
            if not line:
                break
        else:
            lines.append(line)
    return "\n".join(_without_double_blanks(lines, tags))


def _without_double_blanks(lines: list[str], tags: list[Segment]) -> Iterator[str]:
    blank = after_begin = True
    for line in lines:
        match = MARK.fullmatch(line)
        if match and tags[int(match[1])].kind is Kind.STATEMENT:
            yield line
            after_begin = not tags[int(match[1])].verb.startswith("end")
        elif line or not (blank or after_begin):
            yield line
            blank, after_begin = not line, False


def _restored(text: str, tags: list[Segment]) -> str:
    """Put the tags back. A line break that follows text and a statement is kept by a ``+``."""

    def source_of(match: re.Match[str]) -> str:
        tag = tags[int(match[1])]
        source = tag.source.rstrip("\n")
        before, after = text[: match.start()], text[match.end() :]
        alone = not before or before.endswith("\n")
        if tag.kind is Kind.STATEMENT and not alone and after.startswith("\n"):
            return re.sub(r"[-+]?%}$", "+%}", source)
        return source

    return MARK.sub(source_of, text)
