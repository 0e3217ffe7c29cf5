"""Content from a version and a context: pure, thread-safe, and free of Django."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    localcontext,
)
from functools import cached_property
from types import TracebackType
from typing import Any, NamedTuple
from unicodedata import category

from jinja2 import Template
from jinja2.exceptions import (
    SecurityError,
    TemplateRuntimeError,
    TemplateSyntaxError,
    UndefinedError,
)

from templates_engine import budget, slack_blocks
from templates_engine.analysis import (
    PREFERENCES_URL,
    UNSUBSCRIBE_URL,
    Path,
    bare_values,
    formatted_values,
    needs,
    printed_values,
)
from templates_engine.budget import MAX_OUTPUT, LimitReached
from templates_engine.context_schema import BrokenRule, ContextValidator, may_be_empty
from templates_engine.email_html import INLINE_WHEN_RENDERED, forbidden_link, inline_css
from templates_engine.errors import (
    InvalidContext,
    MissingVariables,
    RenderError,
    RenderLimitExceeded,
)
from templates_engine.formatting import (
    FALLBACK_LOCALE,
    FILTERS,
    parsed_zone,
    why_unreadable,
)
from templates_engine.parts import (
    BLOCK_PARTS,
    DEFAULT_LOCALE,
    HEADER_PARTS,
    HTML_PARTS,
    JSON_PARTS,
    MARKETING,
    Content,
    Variants,
    locale_chain,
    may_be_json,
    parts_of,
)
from templates_engine.sandbox import BLOCKS, CHAT, HTML, JSON, PLAIN
from templates_engine.schema_cost import BadSchema
from templates_engine.sms import check_segments, sendable
from templates_engine.values import BadValue, blocks_of, chat_parts, json_text

# What str.splitlines breaks at, and what a mail header or a phone can't show.
_LINE_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")

_BLANK_LINES = re.compile(r"\n{3,}")

# Python's own figures, whatever code that ran before in this thread has left there.
_ARITHMETIC = Context(
    prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow]
)


class Links(NamedTuple):
    """The recipient's own links, by which a template's variables are called; empty: none."""

    unsubscribe_url: str = ""
    preferences_url: str = ""


NO_LINKS = Links()


@dataclass(frozen=True, eq=False)
class CompiledVersion:
    """One version, ready to check contexts and to render. Share it freely between threads.

    Some names of the context have a meaning: ``timezone`` (IANA, default UTC) is the zone of the
    date and time filters, ``locale`` is set to the one rendered for, and the names of ``Links`` are
    the recipient's links, unless the context has its own.
    """

    id: int
    template_name: str
    channel: str
    category: str
    required: frozenset[str]
    sources: Variants
    schema: Mapping[str, Any] | bool | None = None
    base_url: str = ""
    default_locale: str = FALLBACK_LOCALE
    max_segments: int = 10
    keep_typography: bool = False
    _compiled: dict[str, dict[str, tuple[str, Template]]] = field(default_factory=dict, repr=False)

    def check(self, context: Mapping[str, Any], *, nulls: bool = True) -> None:
        """Refuse a context that could not be rendered: microseconds, more with a schema.

        ``nulls`` is false where a null is refused as an empty text is, rather than left to
        rendering, which says where it would be printed.
        Raises: MissingVariables, InvalidContext.
        """
        if not self.required <= context.keys():
            raise MissingVariables(self.template_name, self.required - context.keys())
        empty = [".".join(p) for p in self._printed if _is_empty(_at(context, p), nulls=nulls)]
        if empty:
            raise MissingVariables(self.template_name, empty, empty=True)
        for path in self._bare:
            if isinstance(_at(context, path), list | tuple | Mapping):
                raise InvalidContext(self.template_name, ".".join(path), *_NO_TEXT)
        for path, name in self._formatted:
            value = _at(context, path)
            if value is None or value is _ELSEWHERE:
                continue
            if problem := why_unreadable(name, value):
                hint = f"The template formats it by |{name}."
                raise InvalidContext(self.template_name, ".".join(path), problem, hint)
        try:
            if self._validator is not None:
                self._validator.check(context)
        except BrokenRule as error:
            raise InvalidContext(self.template_name, error.path, str(error)) from None
        except BadSchema as error:  # published before such schemas were refused
            raise InvalidContext(
                self.template_name, "", f"its context schema cannot be used. {error}"
            ) from None

    @cached_property
    def may_unsubscribe(self) -> bool:
        """Whether its sources speak of ``unsubscribe_url``, and its category has one."""
        return self.category == MARKETING and any(
            UNSUBSCRIBE_URL in source for source in self._all_sources()
        )

    @cached_property
    def shows_preferences(self) -> bool:
        """Whether its sources speak of ``preferences_url``."""
        return any(PREFERENCES_URL in source for source in self._all_sources())

    @cached_property
    def source_length(self) -> int:
        """How many characters the sources of its longest locale have."""
        return max((sum(map(len, parts.values())) for parts in self.sources.values()), default=0)

    def missing_links(self, context: Mapping[str, Any], links: Links = NO_LINKS) -> list[str]:
        """Return the links that it needs, and gets neither by its context nor by ``links``."""
        return [
            name
            for name, link in zip(Links._fields, links, strict=True)
            if not link and not context.get(name) and name in self._needed_links
        ]

    @property
    def sample_links(self) -> Links:
        """What stands for a recipient's links in a preview."""
        base = (self.base_url or "https://shop.example").rstrip("/")
        return Links(
            f"{base}/unsubscribe/sample" if self.may_unsubscribe else "",
            f"{base}/preferences/sample" if self.shows_preferences else "",
        )

    def render(
        self, context: Mapping[str, Any], locale: str | None = None, links: Links = NO_LINKS
    ) -> Content:
        """Make the content.

        For chat, ``mrkdwn`` (Slack) and ``markdown`` are the text with values escaped, where they
        hold what could be markup.

        ``locale`` such as ``de-AT`` falls back to ``de``, then to the default.
        Raises: RenderError, RenderLimitExceeded.
        """
        with localcontext(_ARITHMETIC):
            return self._content(context, locale, links)

    def _content(self, context: Mapping[str, Any], locale: str | None, links: Links) -> Content:
        chosen = locale_chain(locale, self.sources)[0]
        spoken = self._spoken(locale, chosen)
        variant = self._variant(chosen)
        self._begin(context, spoken)
        given = zip(Links._fields, links, strict=True)
        own = {name: link for name, link in given if link and not context.get(name)}
        variables = {**context, **own, "locale": spoken}
        content: Content = {}
        for part, (source, template) in variant.items():
            text = _rendered(part, source, template, variables)
            if may_be_json(part, self.channel):
                text = json_text(text)
            content[part] = _FINISH.get(part, _finished)(part, text)
            if part in HTML_PARTS and source.startswith(INLINE_WHEN_RENDERED):
                content[part] = inline_css(text)
        if self.channel == "sms":
            text = sendable(str(content["text"]), keep_typography=self.keep_typography)
            check_segments(text, self.max_segments)
            content["text"] = text
        if self.channel == "chat":
            content |= chat_parts(str(content["text"]))
        return content

    @cached_property
    def _printed(self) -> frozenset[Path]:
        """What must not be empty of the required names."""
        try:
            paths = {path for s in self._all_sources() for path in printed_values(s)}
        except (TemplateSyntaxError, RecursionError):
            return frozenset()  # rendering says so
        return frozenset(
            path
            for path in paths
            if path[0] in self.required and not may_be_empty(self.schema, path)
        )

    @cached_property
    def _bare(self) -> frozenset[Path]:
        """What must have a text, for it is printed as it is."""
        try:
            paths = {path for source in self._all_sources() for path in bare_values(source)}
        except (TemplateSyntaxError, RecursionError):
            return frozenset()  # rendering says so
        return frozenset(path for path in paths if path[0] in self.required)

    @cached_property
    def _formatted(self) -> frozenset[tuple[Path, str]]:
        """What is formatted, and by which filter."""
        try:
            formatted = {
                value for source in self._all_sources() for value in formatted_values(source)
            }
        except (TemplateSyntaxError, RecursionError):
            return frozenset()  # rendering says so
        return frozenset(
            (path, name)
            for path, name in formatted
            if path[0] in self.required and name in FILTERS and not may_be_empty(self.schema, path)
        )

    @cached_property
    def _needed_links(self) -> frozenset[str]:
        try:
            return frozenset(
                name
                for name in Links._fields
                if any(needs(source, name) for source in self._all_sources())
            )
        except (TemplateSyntaxError, RecursionError):
            return frozenset()  # rendering says so

    def _all_sources(self) -> Iterator[str]:
        return (source for sources in self.sources.values() for source in sources.values())

    @cached_property
    def _validator(self) -> ContextValidator | None:
        return None if self.schema is None else ContextValidator.of(self.schema)

    def _spoken(self, wanted: str | None, locale: str) -> str:
        """Numbers and dates follow the text: no German date in an English sentence."""
        language = self.default_locale if locale == DEFAULT_LOCALE else locale
        same = wanted and wanted.replace("_", "-").split("-")[0] == language.split("-")[0]
        return wanted.replace("_", "-") if wanted and same else language

    def _begin(self, context: Mapping[str, Any], locale: str) -> None:
        try:
            zone = parsed_zone(str(context.get("timezone") or "UTC"))
        except BadValue as error:
            raise RenderError(f"timezone: {error}", reason="value") from None
        budget.begin(locale, zone, self.base_url)

    def _variant(self, locale: str) -> dict[str, tuple[str, Template]]:
        # Kept by the locale that is found, so that callers' inventions don't fill the memory.
        if locale not in self._compiled:
            self._compiled[locale] = {
                part: (source, _compiled(part, source, self.channel))
                for part, source in pick_sources(self.channel, self.sources, locale).items()
            }
        return self._compiled[locale]


def _at(context: Mapping[str, Any], path: Path) -> Any:
    """Return the value that a path leads to, None where an object on the way lacks it."""
    value: Any = context
    for name in path:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return _ELSEWHERE  # an item, or a method: rendering says what it is
        value = value.get(name)
    return value


_ELSEWHERE = object()
_NO_TEXT = (
    "it must be a text or a number, for the template prints it as it is",
    "Give one of its items, or let the template use a loop, |join or |tojson.",
)
# Categories of characters that nobody sees.
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})


def _is_empty(value: Any, *, nulls: bool) -> bool:
    if value is None:
        return not nulls
    return isinstance(value, str) and all(map(_is_unseen, value))


def _is_unseen(char: str) -> bool:
    return category(char) in _UNSEEN


def pick_sources(channel: str, variants: Variants, locale: str | None) -> dict[str, str]:
    """Choose each part's source: the locale's own, else its language's, else the default's."""
    chosen = {}
    for part in parts_of(channel):
        for name in locale_chain(locale, variants):
            if part in variants.get(name, {}):
                chosen[part] = variants[name][part]
                break
    return chosen


def _compiled(part: str, source: str, channel: str) -> Template:
    environment = CHAT if channel == "chat" else PLAIN
    if part in HTML_PARTS:
        environment = HTML
    elif part in BLOCK_PARTS:
        environment = BLOCKS
    elif may_be_json(part, channel):
        environment = JSON
    try:
        return environment.compiled(source)
    except (TemplateSyntaxError, SyntaxError, RecursionError, MemoryError, ValueError) as error:
        # What build() has passed compiles, so the row was made some other way.
        raise RenderError(f"It can't be compiled: {error}", reason="error", part=part) from error


def _rendered(part: str, source: str, template: Template, variables: dict[str, Any]) -> str:
    try:
        text = "".join(template.root_render_func(template.new_context(variables)))
    except (LimitReached, RecursionError, MemoryError) as error:
        message = str(error) if isinstance(error, LimitReached) else "It nests too deeply."
        raise RenderLimitExceeded(message, part=part) from None
    except Exception as error:  # noqa: BLE001 -- an author's mistake may raise anything
        reason, message = _explained(error)
        line = _line_of(error.__traceback__)
        tag = source.split("\n")[line - 1].strip()[:80] if line else ""
        message = f"{message} In: {tag}" if tag else message
        # Not chained: the cause's own text may show a value of the context.
        raise RenderError(message, reason=reason, part=part) from None
    if len(text) > MAX_OUTPUT:
        raise RenderLimitExceeded(f"It prints more than {MAX_OUTPUT:,} characters.", part=part)
    return text


def _explained(error: Exception) -> tuple[str, str]:
    """Return a reason and a message that shows no value of the context."""
    if isinstance(error, UndefinedError):
        return "undefined", f"{error}."
    if isinstance(error, SecurityError):
        return "security", f"{error}."
    if isinstance(error, BadValue):
        return "value", str(error)
    if isinstance(error, TemplateRuntimeError):
        return "error", f"{error}."
    return "error", f"A {type(error).__name__} was raised."


def _line_of(trace: TracebackType | None) -> int:
    line = 0
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _finished(part: str, text: str) -> str:
    if part in HEADER_PARTS:
        text = _LINE_BREAKS_AND_CONTROLS.sub(" ", text).strip()
    if not text or text.isspace():
        raise RenderError("It renders to nothing.", reason="empty", part=part)
    # build() has read what the author wrote; only a value can bring a scheme now.
    if part in HTML_PARTS and budget.current().printed_colon:
        link = forbidden_link(text)
        if link:
            raise RenderError(
                f"It links to {link}, which runs code or hides content.", reason="link", part=part
            )
    if part == "text":
        text = text.strip()
        if "\n\n\n" in text:
            text = _BLANK_LINES.sub("\n\n", text)
    return text.replace("\x00", "")


def _parsed(part: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        position = getattr(error, "pos", 0)
        raise RenderError(
            f"It is not JSON at character {position + 1}.", reason="json", part=part
        ) from None


def _blocks(part: str, text: str) -> list[Any]:
    blocks: list[Any] = blocks_of(_parsed(part, text))
    if problem := slack_blocks.problem(blocks):
        raise RenderError(problem, reason="json", part=part)
    return blocks


def _object_of_texts(part: str, text: str) -> dict[str, str]:
    document = _parsed(part, text)
    if not isinstance(document, dict):
        raise RenderError("It must be a JSON object.", reason="json", part=part)
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in document.items()
    }


_FINISH: Mapping[str, Callable[[str, str], str | dict[str, str] | list[Any]]] = {
    **dict.fromkeys(JSON_PARTS, _object_of_texts),
    **dict.fromkeys(BLOCK_PARTS, _blocks),
}
