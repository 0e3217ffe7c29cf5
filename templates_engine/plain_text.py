"""The text part of a mail, made from its HTML once, when the version is published."""

import re
from collections.abc import Iterator
from functools import partial

from html2text import HTML2Text

from templates_engine.masking import MARK, masked, unmasked
from templates_engine.source import Kind, Segment

_GAP = "\ue002"
_NOT_READ = re.compile(
    r"<!--.*?-->|<head\b.*?</head\s*>|<style\b.*?</style\s*>"
    r"|<(\w+)[^>]*\bclass=[\"'](?:preheader|no-text)[\"'][^>]*>.*?</\1\s*>",
    re.IGNORECASE | re.DOTALL,
)
_BETWEEN_CELLS = re.compile(r"(</t[dh]\s*>\s*)(?=<t[dh]\b)", re.IGNORECASE)
_AFTER_TABLE = re.compile(r"(</table\s*>)", re.IGNORECASE)
_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(<?([^)\s>]*)>?(?: \"[^\"]*\")?\)")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!-])")


def text_source(html_source: str) -> str:
    """Make a text template of a composed HTML template. Links keep their addresses.

    Elements of class ``preheader`` or ``no-text`` are left out.
    """
    marked, tags = masked(html_source)
    html = _BETWEEN_CELLS.sub(rf"\1{_GAP}", _NOT_READ.sub("", marked))
    html = _AFTER_TABLE.sub(r"\1<p></p>", html)
    text = _LINK.sub(partial(_link, tags), _converter().handle(html))
    text = _ESCAPED.sub(r"\1", text).replace(_GAP, "  ")
    return _restored(_tidy(text, tags), tags).strip() + "\n"


def _converter() -> HTML2Text:
    converter = HTML2Text(bodywidth=0)
    converter.ignore_emphasis = True
    converter.ignore_tables = True
    converter.images_to_alt = True
    converter.unicode_snob = True
    converter.ul_item_mark = "-"
    return converter


def _link(tags: list[Segment], found: re.Match[str]) -> str:
    label, address = found[2].strip(), found[3]
    bare = address.removeprefix("mailto:").removeprefix("tel:")
    shows_it = bare != address and (MARK.search(label) or re.search(r"[@\d]", label))
    if shows_it or unmasked(label, tags) in ("", unmasked(bare, tags)):
        return label or bare
    return f"{label}: {bare}"


def _tidy(text: str, tags: list[Segment]) -> str:
    """Give statements that start a line a line of their own, which vanishes when rendered."""
    lines: list[str] = []
    for raw in text.split("\n"):
        line = raw.strip().lstrip("#").strip()
        found = MARK.match(line)
        while found and tags[int(found[1])].kind is Kind.STATEMENT:
            lines.append(found[0])
            line = line[found.end() :].strip()
            found = MARK.match(line)
            if not line:
                break
        else:
            lines.append(line)
    return "\n".join(_without_double_blanks(lines, tags))


def _without_double_blanks(lines: list[str], tags: list[Segment]) -> Iterator[str]:
    blank = after_begin = True
    for line in lines:
        found = MARK.fullmatch(line)
        if found and tags[int(found[1])].kind is Kind.STATEMENT:
            yield line
            after_begin = not tags[int(found[1])].verb.startswith("end")
        elif line or not (blank or after_begin):
            yield line
            blank, after_begin = not line, False


def _restored(text: str, tags: list[Segment]) -> str:
    """Put the tags back. A line break that follows text and a statement is kept by a ``+``."""

    def source_of(found: re.Match[str]) -> str:
        tag = tags[int(found[1])]
        source = tag.source.rstrip("\n")
        before, after = text[: found.start()], text[found.end() :]
        alone = not before or before.endswith("\n")
        if tag.kind is Kind.STATEMENT and not alone and after.startswith("\n"):
            return re.sub(r"[-+]?%}$", "+%}", source)
        return source

    return MARK.sub(source_of, text)
