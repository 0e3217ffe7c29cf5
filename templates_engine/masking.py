"""Hides a template's tags behind marks, so that HTML tools can work on the source itself.

What is done once to the source need not be done to each message.
"""

import re
from collections.abc import Callable

from templates_engine.source import Kind, Segment, segments

# Characters of Unicode's private use area, which tools pass through and no text has.
_BEGIN, _END = "\ue000", "\ue001"
MARK = re.compile(f"{_BEGIN}(\\d+){_END}")


def mark(index: int) -> str:
    """Write the mark of the tag at an index."""
    return f"{_BEGIN}{index}{_END}"


def masked(
    source: str, statement_as: Callable[[str], str] = lambda text: text
) -> tuple[str, list[Segment]]:
    """Return the source with each tag as its mark, and the tags.

    ``statement_as`` wraps the marks of statements, as in an HTML comment.
    """
    text: list[str] = []
    tags: list[Segment] = []
    for segment in segments(source):
        if segment.kind is Kind.TEXT:
            text.append(segment.source)
            continue
        own = mark(len(tags))
        text.append(statement_as(own) if segment.kind is Kind.STATEMENT else own)
        tags.append(segment)
    return "".join(text), tags


def unmasked(text: str, tags: list[Segment]) -> str:
    """Put the tags back in place of their marks."""
    return MARK.sub(lambda match: tags[int(match[1])].source, text)


def order(text: str) -> list[int]:
    """Return the indexes of the marks, as they stand in the text."""
    return [int(match[1]) for match in MARK.finditer(text)]
