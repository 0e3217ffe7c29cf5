"""Content from a version and a context: pure, thread-safe, and free of Django."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any

from jinja2 import Template
from jinja2.exceptions import (
    SecurityError,
    TemplateRuntimeError,
    TemplateSyntaxError,
    UndefinedError,
)
from jsonschema import Draft202012Validator
from referencing import Registry

from templates_engine import budget
from templates_engine.budget import MAX_OUTPUT, LimitReached
from templates_engine.email_html import INLINE_WHEN_RENDERED, forbidden_link, inline_css
from templates_engine.errors import (
    InvalidContext,
    MissingVariables,
    RenderError,
    RenderLimitExceeded,
)
from templates_engine.formatting import FALLBACK_LOCALE, parsed_zone
from templates_engine.parts import (
    DEFAULT_LOCALE,
    HEADER_PARTS,
    HTML_PARTS,
    JSON_PARTS,
    Variants,
    locale_chain,
    parts_of,
)
from templates_engine.sandbox import HTML, PLAIN
from templates_engine.sms import check_segments
from templates_engine.values import BadValue

# What str.splitlines breaks at, and what a mail header or a phone can't show.
_LINE_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")

# Money and times have them in many locales; one would turn a whole SMS into UCS-2.
_SPACES_OUTSIDE_GSM = {0xA0: " ", 0x202F: " ", 0x2009: " "}
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, eq=False)
class CompiledVersion:
    """One version, ready to check contexts and to render. Share it freely between threads.

    Two names of the context have a meaning: ``timezone`` (IANA, default UTC) is the zone of the
    date and time filters, and ``locale`` is set to the one rendered for.
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
    _compiled: dict[str, dict[str, tuple[str, Template]]] = field(default_factory=dict, repr=False)

    def check(self, context: Mapping[str, Any]) -> None:
        """Refuse a context that could not be rendered: microseconds, more with a schema.

        Raises: MissingVariables, InvalidContext.
        """
        if not self.required <= context.keys():
            raise MissingVariables(self.template_name, self.required - context.keys())
        if self._validator is not None:
            for problem in self._validator.iter_errors(dict(context)):
                path = problem.json_path.removeprefix("$").lstrip(".")
                raise InvalidContext(self.template_name, path, _rule_broken(problem))

    def render(
        self, context: Mapping[str, Any], locale: str | None = None
    ) -> dict[str, str | dict[str, str]]:
        """Make the content: part name → text; ``data`` → an object of texts.

        ``locale`` such as ``de-AT`` falls back to ``de``, then to the default.
        Raises: RenderError, RenderLimitExceeded.
        """
        found = next(name for name in locale_chain(locale) if name in {*self.sources, "default"})
        spoken = self._spoken(locale, found)
        variant = self._variant(found)
        self._begin(context, spoken)
        variables = {**context, "locale": spoken}
        content: dict[str, str | dict[str, str]] = {}
        for part, (source, template) in variant.items():
            text = _rendered(part, source, template, variables)
            content[part] = (
                _object_of_texts(part, text) if part in JSON_PARTS else _finished(part, text)
            )
            if part in HTML_PARTS and source.startswith(INLINE_WHEN_RENDERED):
                content[part] = inline_css(text)
        if self.channel == "sms":
            text = str(content["text"]).translate(_SPACES_OUTSIDE_GSM)
            check_segments(text, self.max_segments)
            content["text"] = text
        return content

    @cached_property
    def _validator(self) -> Draft202012Validator | None:
        if self.schema is None:
            return None
        # An empty registry: a $ref never makes a request.
        return Draft202012Validator(self.schema, registry=Registry())

    def _spoken(self, wanted: str | None, found: str) -> str:
        """Numbers and dates follow the text: no German date in an English sentence."""
        language = self.default_locale if found == DEFAULT_LOCALE else found
        same = wanted and wanted.replace("_", "-").split("-")[0] == language.split("-")[0]
        return wanted.replace("_", "-") if wanted and same else language

    def _begin(self, context: Mapping[str, Any], locale: str) -> None:
        try:
            zone = parsed_zone(str(context.get("timezone") or "UTC"))
        except BadValue as error:
            raise RenderError(f"timezone: {error}", reason="value") from None
        budget.begin(locale, zone, self.base_url)

    def _variant(self, found: str) -> dict[str, tuple[str, Template]]:
        # Kept by the locale that is found, so that callers' inventions don't fill the memory.
        if found not in self._compiled:
            self._compiled[found] = {
                part: (source, _compiled(part, source))
                for part, source in pick_sources(self.channel, self.sources, found).items()
            }
        return self._compiled[found]


def pick_sources(channel: str, variants: Variants, locale: str | None) -> dict[str, str]:
    """Choose each part's source: the locale's own, else its language's, else the default's."""
    chosen = {}
    for part in parts_of(channel):
        for name in locale_chain(locale):
            if part in variants.get(name, {}):
                chosen[part] = variants[name][part]
                break
    return chosen


def _compiled(part: str, source: str) -> Template:
    try:
        return (HTML if part in HTML_PARTS else PLAIN).compiled(source)
    except (TemplateSyntaxError, SyntaxError, RecursionError, MemoryError, ValueError) as error:
        # What build() has passed compiles, so the row was made some other way.
        raise RenderError(f"It can't be compiled: {error}", reason="error", part=part) from error


def _rendered(part: str, source: str, template: Template, variables: dict[str, Any]) -> str:
    try:
        text = "".join(template.root_render_func(template.new_context(variables)))
    except (LimitReached, RecursionError, MemoryError) as error:
        message = str(error) if isinstance(error, LimitReached) else "It nests too deeply."
        raise RenderLimitExceeded(message, part=part) from None
    except Exception as error:  # noqa: BLE001  (an author's mistake may raise anything)
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


def _rule_broken(problem: Any) -> str:
    # jsonschema's own message shows the value, which may be a secret.
    rule = json.dumps(problem.validator_value)
    return f"it must keep to {problem.validator}: {rule[:200]}"


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


def _object_of_texts(part: str, text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        position = getattr(error, "pos", 0)
        raise RenderError(
            f"It is not JSON at character {position + 1}.", reason="json", part=part
        ) from None
    if not isinstance(found, dict):
        raise RenderError("It must be a JSON object.", reason="json", part=part)
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()
    }
