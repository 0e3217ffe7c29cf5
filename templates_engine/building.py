"""Makes what is sent out of what an author wrote, refusing what could not be sent. No Django."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from templates_engine import slack_blocks
from templates_engine.analysis import UNSUBSCRIBE_URL, needed_variables, needs
from templates_engine.composition import compose
from templates_engine.context_schema import check_schema
from templates_engine.email_html import (
    forbidden_element,
    forbidden_link,
    open_to_values,
    with_css_inlined,
)
from templates_engine.errors import InvalidTemplate, TemplateError
from templates_engine.markdown_html import html_source
from templates_engine.masking import MARK, masked
from templates_engine.parts import (
    BLOCK_PARTS,
    DEFAULT_LOCALE,
    HTML_PARTS,
    JSON_PARTS,
    MARKDOWN_PARTS,
    MARKETING,
    NEEDED_PARTS,
    Sources,
    Variants,
    is_reserved,
    parts_of,
)
from templates_engine.plain_text import text_source
from templates_engine.rendering import CompiledVersion
from templates_engine.source import check_syntax, normalized

LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Draft:
    """What an author wrote. ``partials`` are all sources it may extend or include, by name."""

    template_name: str
    channel: str
    category: str
    variants: Variants
    partials: Mapping[str, str] = field(default_factory=dict)
    sample_context: Mapping[str, Any] = field(default_factory=dict)
    context_schema: Mapping[str, Any] | None = None
    base_url: str = ""
    default_locale: str = "en"
    max_segments: int = 10
    keep_typography: bool = False


@dataclass(frozen=True)
class Build:
    """What is rendered: composed sources, the variables they need, and a mark of all of it."""

    compiled: Variants
    required: list[str]
    checksum: str


def build(draft: Draft) -> Build:
    """Check a draft and make its version renderable.

    Raises: InvalidTemplate, naming locale, part, line and column where it can.
    """
    _check_shape(draft)
    check_schema(draft.context_schema)
    for name, partial in draft.partials.items():
        # It was checked when it was saved, but maybe by an older engine, or not by SQL.
        _placed("partial", name, check_syntax, partial)
    compiled = {
        locale: _compiled(draft, locale, sources) for locale, sources in draft.variants.items()
    }
    required = sorted(
        {
            name
            for sources in compiled.values()
            for source in sources.values()
            for name in needed_variables(source)
        }
    )
    content = [draft.channel, compiled, required, draft.context_schema]
    checksum = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    built = Build(compiled, required, checksum)
    _check_sample(draft, built)
    return built


def compiled_version(draft: Draft, built: Build, version_id: int = 0) -> CompiledVersion:
    """Make a draft's build renderable, as its published version would be."""
    return CompiledVersion(
        id=version_id,
        template_name=draft.template_name,
        channel=draft.channel,
        category=draft.category,
        required=frozenset(built.required),
        sources=built.compiled,
        schema=draft.context_schema,
        base_url=draft.base_url,
        default_locale=draft.default_locale,
        max_segments=draft.max_segments,
        keep_typography=draft.keep_typography,
    )


def _check_shape(draft: Draft) -> None:
    for locale, sources in draft.variants.items():
        if locale != DEFAULT_LOCALE and not LOCALE.fullmatch(locale):
            raise InvalidTemplate(
                f"{locale!r} is not a locale.", hint="Write it as de or de-AT.", locale=locale
            )
        unknown = set(sources) - set(parts_of(draft.channel))
        if unknown:
            raise InvalidTemplate(
                f"{draft.channel} content has no part {', '.join(sorted(unknown))}.",
                hint=f"Its parts are {', '.join(parts_of(draft.channel))}.",
                locale=locale,
            )
    default = draft.variants.get(DEFAULT_LOCALE, {})
    for group in NEEDED_PARTS.get(draft.channel, (frozenset(parts_of(draft.channel)),)):
        if not any(default.get(part, "").strip() for part in group):
            wanted = " or ".join(part for part in parts_of(draft.channel) if part in group)
            raise InvalidTemplate(
                f"It needs {wanted}.", locale=DEFAULT_LOCALE, part=sorted(group)[0]
            )


def _compiled(draft: Draft, locale: str, sources: Sources) -> Sources:
    composed: Sources = {}
    for part, source in sources.items():
        if not source.strip():
            continue
        if part in MARKDOWN_PARTS:
            composed["html"] = _placed(locale, part, _of_markdown, draft, sources)
        else:
            composed[part] = _placed(locale, part, _composed, draft, part, source)
    html = composed.get("html")
    if html is not None:
        composed["html"] = with_css_inlined(html)
        if "text" in parts_of(draft.channel) and "text" not in composed:
            # From what was inlined: a rule may hide an element.
            composed["text"] = text_source(composed["html"])
            _placed(locale, "text", check_syntax, composed["text"])
    return composed


def _of_markdown(draft: Draft, sources: Sources) -> str:
    if sources.get("html", "").strip():
        raise InvalidTemplate(
            "A mail has markdown or html, not both.", hint="Leave one of them empty."
        )
    source = sources["markdown"]
    check_syntax(source)
    return _composed(draft, "html", html_source(normalized(source)))


def _composed(draft: Draft, part: str, source: str) -> str:
    check_syntax(source)
    composed = compose(normalized(source), draft.partials.get)
    if composed != normalized(source):
        check_syntax(composed)
    if draft.category != MARKETING and needs(composed, UNSUBSCRIBE_URL):
        raise InvalidTemplate(
            f"{UNSUBSCRIBE_URL} is there in marketing messages alone, and this is "
            f"{draft.category}: nobody can unsubscribe from it.",
            hint="Make the template's category marketing, take the link out, or put it "
            f"between {{% if {UNSUBSCRIBE_URL} is defined %}} and {{% endif %}}.",
        )
    if part in HTML_PARTS:
        _check_html(composed)
    if part in JSON_PARTS:
        _check_keys(_as_json(composed))
    if part in BLOCK_PARTS:
        document = _as_json(composed)
        problem = "" if document is None else slack_blocks.problem(document)
        if problem:
            raise InvalidTemplate(problem)
    return composed


def _as_json(source: str) -> Any:
    """Parse a source as JSON, as far as it stands in it; None where only rendering can tell."""
    try:
        # Whatever a tag prints, a figure in its place leaves JSON as it is.
        return json.loads(MARK.sub("0", masked(source)[0]))
    except (ValueError, RecursionError):
        return None


def _check_keys(value: object) -> None:
    """Refuse keys that push services keep for themselves."""
    reserved = next(filter(is_reserved, value), "") if isinstance(value, dict) else ""
    if reserved:
        raise InvalidTemplate(
            f"Push services keep the key {reserved!r} for themselves.",
            hint="Choose another name than from, message_type, google.… or gcm.…",
        )


def _check_html(source: str) -> None:
    html, _ = masked(source)
    element = forbidden_element(html)
    if element:
        raise InvalidTemplate(f"{element} has no place in a mail.")
    link = forbidden_link(html, thorough=True)
    if link:
        raise InvalidTemplate(
            f"{link} is refused in a link.", hint="Put the whole address in one variable."
        )
    element = open_to_values(source)
    if element:
        raise InvalidTemplate(
            f"<{element}> prints a value outside quotes, which could add attributes.",
            hint='Write href="{{ url }}".',
        )


def _check_sample(draft: Draft, built: Build) -> None:
    """Render the sample context in every locale, if there is one or no variable needs it."""
    if built.required and not draft.sample_context:
        return
    version = compiled_version(draft, built)
    for locale in built.compiled:
        try:
            version.check(draft.sample_context)
            wanted = None if locale == DEFAULT_LOCALE else locale
            version.render(draft.sample_context, wanted, version.sample_links)
        except TemplateError as error:
            raise InvalidTemplate(
                f"The sample context does not render: {error}",
                hint=error.hint,
                locale=locale,
                part=getattr(error, "part", ""),
            ) from error


def _placed(locale: str, part: str, step: Callable[..., Any], *args: Any) -> Any:
    """Run a step, and say of its error where it was."""
    try:
        return step(*args)
    except InvalidTemplate as error:
        error.locale, error.part = locale, part
        raise
