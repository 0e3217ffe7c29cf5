"""HTML as mail clients need it: CSS inlined, and no link that runs code."""

import re
from functools import lru_cache
from html.parser import HTMLParser
from itertools import zip_longest
from typing import TYPE_CHECKING

from templates_engine.markup import VOID
from templates_engine.masking import MARK, masked, order, unmasked
from templates_engine.source import Kind, Segment, segments

if TYPE_CHECKING:
    from css_inline import CSSInliner

# Stands before a source whose CSS can be inlined only when it is rendered.
INLINE_WHEN_RENDERED = "{#- CSS is inlined when it is rendered -#}"

# What an element matches by its place changes with the loops and conditions around it.
_CSS_BY_PLACE = re.compile(r":(first|last|nth|only|empty|not|has)|[+~]\s*[\w.#*\[]")

_IMPLIED = re.compile(r"</?tbody>")
_WRAPPED = re.compile(f"<!--({MARK.pattern})-->")

_FORBIDDEN_SCHEMES = ("javascript:", "vbscript:", "data:", "file:")
_SIGNS = (b"script:", b"data:", b"file:")
# Something dynamic before the colon that ends an address' scheme.
_VARYING_SCHEME = re.compile(rf"[^/?#:]*{MARK.pattern}[^/?#]*:")
_URL_ATTRIBUTES = frozenset(
    ["href", "src", "action", "formaction", "background", "poster", "srcset", "content"]
)

_ADDRESSES = _URL_ATTRIBUTES - {"content", "srcset"}


def inline_css(html: str) -> str:
    """Copy the rules of ``<style>`` to the elements they match.

    What cannot be copied stays: ``@media``, ``@font-face``, ``:hover``, and rules that match
    nothing here.
    """
    return _inliner().inline(html)


@lru_cache(maxsize=1)
def _inliner() -> "CSSInliner":
    import css_inline  # noqa: PLC0415 -- 39 modules that only who has HTML mail uses

    return css_inline.CSSInliner(
        load_remote_stylesheets=False,
        keep_at_rules=True,
        keep_style_tags=True,
        remove_inlined_selectors=True,
    )


def with_css_inlined(source: str) -> str:
    """Inline the CSS of a composed template, or mark it to be done when it is rendered.

    The latter is needed where tags decide what a rule matches: inside a class, a style or an HTML
    comment, around unbalanced elements, and with rules such as ``:first-child``.
    """
    if "<style" not in source.lower():
        return source
    html, tags = masked(source, lambda mark: f"<!--{mark}-->")
    reader = _Structure(tags)
    reader.feed(html)
    reader.close()
    if reader.depends_on_values or _CSS_BY_PLACE.search(reader.css):
        return INLINE_WHEN_RENDERED + source
    inlined = inline_css(html)
    if order(inlined) != list(range(len(tags))):
        return INLINE_WHEN_RENDERED + source
    if "<tbody" not in source.lower():
        # The parser puts in what is implied; inside a loop, once for each row.
        inlined = _IMPLIED.sub("", inlined)
    return unmasked(_WRAPPED.sub(r"\1", inlined), tags)


class _Structure(HTMLParser):
    """Reads masked HTML: is each branch and loop made of whole elements?"""

    def __init__(self, tags: list[Segment]) -> None:
        super().__init__(convert_charrefs=False)
        self.tags = tags
        self.open: list[str] = []
        self.entered: list[list[str]] = []
        self.depends_on_values = False
        self.css = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            marks = order(f"{name} {value or ''}")
            decisive = name in ("class", "id", "style") or MARK.search(name)
            statements = any(self.tags[index].kind is Kind.STATEMENT for index in marks)
            if marks and (decisive or statements):
                self.depends_on_values = True

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.depends_on_values = True

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.css += data
            self.depends_on_values = self.depends_on_values or bool(MARK.search(data))

    def handle_comment(self, data: str) -> None:
        match = MARK.fullmatch(data)
        if not match:
            self.depends_on_values = self.depends_on_values or bool(MARK.search(data))
            return
        statement = self.tags[int(match[1])]
        verb = statement.verb
        if verb in ("else", "elif") or verb.startswith("end"):
            # Nothing was entered here if the statement began inside a tag.
            balanced = bool(self.entered) and self.entered[-1] == self.open
            self.depends_on_values = self.depends_on_values or not balanced
            if verb.startswith("end"):
                del self.entered[-1:]
        elif verb != "set" or "=" not in statement.words:
            self.entered.append([*self.open])


def forbidden_link(html: str, *, thorough: bool = False) -> str:
    """Return the scheme of the first link that runs code or carries its content, or "".

    The search costs microseconds; only what looks like a hit is parsed. A source is searched
    thoroughly, as it may hide a scheme behind entities, which a value can't: it is escaped.
    """
    if not thorough:
        # Browsers skip tabs and line breaks inside a scheme.
        squeezed = html.encode("utf-8", "surrogatepass").lower().translate(None, b"\t\r\n")
        if not any(sign in squeezed for sign in _SIGNS):
            return ""
    reader = _Links()
    reader.feed(html)
    reader.close()
    return reader.forbidden


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forbidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if self.forbidden:
                return
            attribute = name.rpartition(":")[2]
            if attribute in _ADDRESSES and _VARYING_SCHEME.match(value or ""):
                self.forbidden = "a varying scheme"
            url = "".join(char for char in value or "" if ord(char) > 0x20).lower()
            self.forbidden = self.forbidden or _scheme_of(attribute, url.replace("'", ""))


def _scheme_of(attribute: str, url: str) -> str:
    for scheme in _FORBIDDEN_SCHEMES:
        if attribute in _URL_ATTRIBUTES and (
            url.startswith(scheme) or f"url={scheme}" in url or f",{scheme}" in url
        ):
            return scheme
        if attribute == "style" and f"url({scheme}" in url:
            return scheme
    return ""


# What no mail client runs, and what makes spam filters suspicious.
FORBIDDEN_ELEMENTS = frozenset(["script", "iframe", "object", "embed", "applet", "form"])


def forbidden_element(html: str) -> str:
    """Return the first element or event handler that has no place in a mail, if any."""
    reader = _Elements()
    reader.feed(html)
    reader.close()
    return reader.forbidden


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forbidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in FORBIDDEN_ELEMENTS:
            self.forbidden = self.forbidden or f"<{tag}>"
        for name, _ in attrs:
            if name.startswith("on"):
                self.forbidden = self.forbidden or f"{name}="


def open_to_values(source: str) -> str:
    """Return the name of the first element of a source that a value could give attributes, or "".

    A value is escaped, so that quotes hold it; in a tag, outside quotes, a blank ends it. So
    the source is read twice, with harmless values and with values of several words: where
    the elements or their attributes differ, a value has changed them.
    """
    harmless, hostile = (_attribute_names(_printed(source, value)) for value in ("v", "v on=v "))
    for first, second in zip_longest(harmless, hostile):
        if first != second:
            return str((second or first)[0])
    return ""


def _printed(source: str, value: str) -> str:
    """Return the source with each expression as this value, and without its statements."""
    return "".join(
        {Kind.EXPRESSION: value, Kind.STATEMENT: " "}.get(segment.kind, segment.source)
        for segment in segments(source)
    )


def _attribute_names(html: str) -> list[tuple[str, ...]]:
    reader = _AttributeNames()
    reader.feed(html)
    reader.close()
    return reader.found


class _AttributeNames(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))
