"""Makes renderable versions without a database."""

from typing import Any

from templates_engine.building import Draft, build, compiled_version
from templates_engine.rendering import CompiledVersion


def version(channel: str = "chat", **given: Any) -> CompiledVersion:
    """Build a version: parts of the default locale by name, or ``variants``; ``partials``."""
    fields = {"partials", "variants", "sample_context", "context_schema", "base_url"}
    options = {name: given.pop(name) for name in fields & given.keys()}
    variants = {"default": given, **options.pop("variants", {})}
    draft = Draft("greeting", channel, "transactional", variants, **options)
    return compiled_version(draft, build(draft))


def text(source: str, locale: str | None = None, **context: Any) -> str:
    """Render a source as plain text."""
    return str(version(text=source).render(context, locale)["text"])


def html(source: str, **context: Any) -> str:
    """Render a source as a mail's HTML."""
    return str(version("email", subject="s", html=source).render(context)["html"])


def unchecked(source: str, part: str = "text", channel: str = "chat") -> CompiledVersion:
    """Make a version of what build() would refuse, as if it had come into the database."""
    return CompiledVersion(
        1, "greeting", channel, "transactional", frozenset(), {"default": {part: source}}
    )
