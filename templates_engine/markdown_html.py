"""HTML templates made from Markdown once, when a version is published.

Tags are hidden meanwhile, so what a value holds is never Markdown: it is escaped as in any HTML.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from templates_engine.masking import MARK, mark, masked, order, unmasked
from templates_engine.source import Kind, Segment

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

LAYOUT = "email"  # what a source that extends nothing is put into, in its block "content"

_BRANCHES = ("else", "elif")
_FIRST = ("extends", "block")
_COMMENT = re.compile(f"(?:<|&lt;)!--({MARK.pattern})--(?:>|&gt;)\n?")
_ROW_OF_A_TAG = re.compile(
    rf"<tr>\s*<t[dh][^>]*>((?:{MARK.pattern})+)</t[dh]>(?:\s*<t[dh][^>]*></t[dh]>)*\s*</tr>\n?"
)
_GAP_IN_A_TABLE = re.compile(r"(?<=>)\n(?=</?(?:table|thead|tbody|tr|th|td)\b)")
_LOOP_OF_A_LIST = re.compile(
    f"<!--{MARK.pattern}-->\\s*<(ul|ol)>((?:(?!<!--|</?[uo]l>).)*)</\\2>\\s*<!--{MARK.pattern}-->",
    re.S,
)


def html_source(source: str) -> str:
    """Make an HTML template of a Markdown template.

    A tag that has a line for itself stands around what the lines between make: paragraphs, items of
    one list, rows of one table. Any other is a part of its paragraph.
    """
    text, tags = masked(source)
    html = _markdown().render(_with_lines_of_tags(_with_line_ends(text, tags), tags))
    html = _LOOP_OF_A_LIST.sub(lambda match: _one_list(match, tags), html)
    html = _ROW_OF_A_TAG.sub(lambda match: _without_row(match, tags), _COMMENT.sub(r"\1", html))
    html = _GAP_IN_A_TABLE.sub("", html).replace("<table>", _TABLE)
    made = unmasked(html, tags)
    if any(tag.verb == "extends" for tag in tags):
        return made
    return f'{{% extends "{LAYOUT}" %}}{{% block content %}}\n{made}{{% endblock %}}'


_TABLE = '<table class="rows">'


@lru_cache(maxsize=1)
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # noqa: PLC0415 -- 81 modules that only who publishes uses

    made = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    made.normalizeLink = _normalized_link  # type: ignore[method-assign]  # its own way to do so
    return made


def _normalized_link(url: str) -> str:
    """Encode an address, and leave the tags in it as they are."""
    from markdown_it.common.normalize_url import normalizeLink  # noqa: PLC0415 -- as above

    parts = MARK.split(url)  # the marks' numbers stand between the texts
    return "".join(
        mark(int(part)) if at % 2 else normalizeLink(part) for at, part in enumerate(parts)
    )


def _with_line_ends(text: str, tags: list[Segment]) -> str:
    """Put back the line ends after statements, which the lexer counts as theirs."""
    return MARK.sub(lambda match: match[0] + "\n" * tags[int(match[1])].source.endswith("\n"), text)


def _with_lines_of_tags(text: str, tags: list[Segment]) -> str:
    """Write statements that have a line for themselves as HTML comments, or as rows of a table."""
    lines: list[str] = []
    in_table: list[bool] = []  # where the statements that are open were written
    for line in text.split("\n"):
        own = [tags[index] for index in order(line)]
        if own and own[0].verb in _FIRST and own[-1].verb == "endblock":  # one on a line, as it is
            lines.append(MARK.sub(lambda mark: _as_comment(mark, tags), line))
            continue
        if not own or MARK.sub("", line).strip() or any(not _is_statement(tag) for tag in own):
            lines.append(line)
            continue
        as_row = bool(lines) and lines[-1].lstrip().startswith("|")
        for tag in own:
            is_end = tag.verb.startswith("end")
            if (is_end or tag.verb in _BRANCHES) and in_table:
                as_row = in_table.pop()
            if not is_end and _opens(tag):
                in_table.append(as_row)
        lines.append(
            f"| {line.strip()} |"
            if as_row
            else MARK.sub(lambda mark: _as_comment(mark, tags), line)
        )
    return "\n".join(lines)


def _as_comment(match: re.Match[str], tags: list[Segment]) -> str:
    return f"<!--{match[0]}-->" if _is_statement(tags[int(match[1])]) else match[0]


def _without_row(match: re.Match[str], tags: list[Segment]) -> str:
    """Take statements out of the row that stood for them in a table."""
    own = [tags[index] for index in order(match[0])]
    return match[1] if all(map(_is_statement, own)) else match[0]


def _is_statement(tag: Segment) -> bool:
    return tag.kind is Kind.STATEMENT


def _opens(tag: Segment) -> bool:
    """Tell whether an end follows: not after ``extends``, ``include`` or ``set x = 1``."""
    return tag.verb not in ("extends", "include", "import", "from", "do") and not (
        tag.verb == "set" and "=" in tag.words
    )


def _one_list(match: re.Match[str], tags: list[Segment]) -> str:
    """Put a loop whose body is a list into that list, rather than make a list each time."""
    begin, kind, items, end = match.groups()
    if tags[int(begin)].verb != "for":
        return match[0]
    return f"<{kind}>\n{mark(int(begin))}{items}{mark(int(end))}\n</{kind}>"
