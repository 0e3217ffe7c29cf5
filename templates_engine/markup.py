"""HTML as a tree of elements and texts, read as browsers read it where it matters for a mail.

Built on Python's own tokenizer. Marks of a template's tags (``masking``) pass through as text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    ]
)

# An element that is open ends where one of these begins:
# https://html.spec.whatwg.org/multipage/syntax.html#optional-tags
_CELLS = frozenset({"td", "th", "tr", "tbody", "thead", "tfoot"})
_ENDED_BY: dict[str, frozenset[str]] = {
    "li": frozenset({"li"}),
    "dt": frozenset({"dt", "dd"}),
    "dd": frozenset({"dt", "dd"}),
    "td": _CELLS,
    "th": _CELLS,
    "tr": frozenset({"tr", "tbody", "thead", "tfoot"}),
    "option": frozenset({"option", "optgroup"}),
    "p": frozenset(
        [
            "address",
            "article",
            "aside",
            "blockquote",
            "center",
            "details",
            "div",
            "dl",
            "fieldset",
            "figcaption",
            "figure",
            "footer",
            "form",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "header",
            "hr",
            "main",
            "menu",
            "nav",
            "ol",
            "p",
            "pre",
            "section",
            "table",
            "ul",
        ]
    ),
}
_HIDING = re.compile(
    r"(display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all)", re.IGNORECASE
)


@dataclass(slots=True)
class Element:
    """An element with its attributes (the first of a name counts) and what it contains."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Element | str"] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The names in its ``class``."""
        return self.attributes.get("class", "").split()

    @property
    def is_hidden(self) -> bool:
        """Whether its own attributes keep it from being shown."""
        return "hidden" in self.attributes or bool(_HIDING.search(self.attributes.get("style", "")))

    def texts(self) -> Iterator[str]:
        """Return all texts inside, in order."""
        for child in self.children:
            if isinstance(child, str):
                yield child
            else:
                yield from child.texts()


def parsed(html: str) -> Element:
    """Return the root of the tree.

    Nothing is refused: an element that is not closed ends with its parent, and an end tag without
    a start tag is ignored.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.open[0]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _ENDED_BY.get(self.open[-1].name, ()):
            self.open.pop()
            if tag in _ENDED_BY.get(self.open[-1].name, ()):  # a cell, then its row
                self.open.pop()
        element = Element(tag, {name: value or "" for name, value in reversed(attrs)})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # "/>" means nothing on an element of HTML: it stays open.
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        for index in range(len(self.open) - 1, 0, -1):
            if self.open[index].name == tag:
                del self.open[index:]
                return

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)
