"""A template's source as a row of segments, for what is done to it before it is compiled."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import TokenStream
from jinja2.parser import Parser

from templates_engine.errors import InvalidTemplate
from templates_engine.metering import refuse_what_is_not_supported
from templates_engine.sandbox import PLAIN

# Characters of one source, and of one with its layout and partials merged in.
MAX_SOURCE = 200_000


class Kind(Enum):
    """What a segment is."""

    TEXT = "text"
    EXPRESSION = "expression"
    STATEMENT = "statement"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of source. ``words`` are a tag's tokens, as ``["include", "'footer'"]``."""

    kind: Kind
    source: str
    line: int = 0
    words: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        """The word a statement starts with, as in ``for``; "" for anything else."""
        return self.words[0] if self.kind is Kind.STATEMENT and self.words else ""


def segments(source: str) -> list[Segment]:
    """Take a valid source apart. Joined again it means the same; comments are left out."""
    return list(_segments(source))


def _segments(source: str) -> Iterator[Segment]:
    pending: list[str] = []
    words: list[str] = []
    start, kind = 0, Kind.TEXT
    for line, lexeme, value in PLAIN.lexer.tokeniter(source, None):
        if lexeme in _BEGINS:
            pending, words, start, kind = [value], [], line, _BEGINS[lexeme]
        elif lexeme in _ENDS:
            pending.append(value)
            if lexeme != "comment_end":
                yield Segment(kind, "".join(pending), start, tuple(words))
            pending = []
        elif pending:
            pending.append(value)
            if lexeme != "whitespace":
                words.append(value)
        else:
            yield Segment(Kind.TEXT, value, line)


_BEGINS = {
    "variable_begin": Kind.EXPRESSION,
    "block_begin": Kind.STATEMENT,
    "raw_begin": Kind.RAW,
    "comment_begin": Kind.TEXT,
}
_ENDS = {"variable_end", "block_end", "raw_end", "comment_end"}


def normalized(source: str) -> str:
    """Return the source with line ends as Jinja2 counts them, as a browser's form sends others."""
    return source.replace("\r\n", "\n").replace("\r", "\n")


def check_syntax(source: str) -> None:
    """Refuse a source that can't be parsed, or that uses what is not supported.

    Raises: InvalidTemplate with line and column.
    """
    if len(source) > MAX_SOURCE:
        raise InvalidTemplate(f"A source has at most {MAX_SOURCE:,} characters.")
    place = _Place(normalized(source))
    try:
        parser = Parser(PLAIN, "")
        parser.stream = TokenStream(PLAIN.lexer.wrap(place.tokens()), None, None)
        tree = parser.parse()
        place.parsed = True
        refuse_what_is_not_supported(tree)
        # The code generator finds unknown filters and tests.
        PLAIN.compile(tree)
    except TemplateSyntaxError as error:
        message = error.message or "syntax error"
        column = place.column(error.lineno, message)
        raise InvalidTemplate(message, line=error.lineno, column=column) from error
    except (RecursionError, MemoryError, ValueError, SyntaxError) as error:
        raise InvalidTemplate("It nests too deeply, or has a number too large.") from error


class _Place:
    """Follows the parser through a source, as Jinja2's errors tell only the line."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.start = self.end = 0
        self.parsed = False

    def tokens(self) -> Iterator[tuple[int, str, str]]:
        try:
            for line, token, value in PLAIN.lexer.tokeniter(self.source, None):
                # What whitespace control dropped lies between; the rest comes in order.
                self.start = self.source.find(value, self.end)
                self.end = self.start + len(value)
                yield line, token, value
        finally:
            # At the end, or where the lexer itself found the error.
            self.start = self.end

    def column(self, line: int, message: str) -> int:
        """Return where on the line the error is, from 1: at the token that was read last."""
        before = self.source[: self.start]
        if not self.parsed and before.count("\n") + 1 == line:
            return len(before) - before.rfind("\n")
        # An error found after parsing: look for the name it quotes.
        lines = self.source.split("\n")
        quoted = re.search(r"'(\w+)'", message)
        text = lines[line - 1] if line <= len(lines) else ""
        return text.find(quoted[1]) + 1 if quoted else 0
