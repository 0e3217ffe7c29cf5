"""Content from a version and a context: pure, thread-safe, and free of Django."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jinja2 import Template
from jinja2.exceptions import SecurityError, UndefinedError
from jsonschema import Draft202012Validator
from referencing import Registry

from templates_engine.errors import InvalidContext, MissingVariables, RenderError
from templates_engine.parts import (
    HEADER_PARTS,
    HTML_PARTS,
    JSON_PARTS,
    Variants,
    locale_chain,
    parts_of,
)
from templates_engine.sandbox import environment

HTML = environment(html=True)
PLAIN = environment(html=False)
# What str.splitlines breaks at, and what a mail header or a phone can't show.
_LINE_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, eq=False)
class CompiledVersion:
    """One version, ready to check contexts and to render. Share it freely between threads."""

    id: int
    template_name: str
    channel: str
    category: str
    required: frozenset[str]
    sources: Variants
    schema: Mapping[str, Any] | bool | None = None
    _templates: dict[str, dict[str, Template]] = field(default_factory=dict, repr=False)

    def check(self, context: Mapping[str, Any]) -> None:
        """Refuse a context that could not be rendered, in microseconds.

        Raises: MissingVariables, InvalidContext.
        """
        if not self.required <= context.keys():
            raise MissingVariables(self.template_name, self.required - context.keys())
        if self._validator is not None:
            for problem in self._validator.iter_errors(dict(context)):
                raise InvalidContext(
                    self.template_name,
                    problem.json_path.removeprefix("$").lstrip("."),
                    problem.message,
                )

    def render(
        self, context: Mapping[str, Any], locale: str | None = None
    ) -> dict[str, str | dict[str, str]]:
        """Make the content: part name → text; ``data`` → an object of texts.

        Raises: RenderError, RenderLimitExceeded.
        """
        return {
            part: _finished(part, self._text_of(part, template, context))
            for part, template in self._variant(locale).items()
        }

    @cached_property
    def _validator(self) -> Draft202012Validator | None:
        if self.schema is None:
            return None
        return Draft202012Validator(self.schema, registry=Registry())

    def _variant(self, locale: str | None) -> dict[str, Template]:
        key = locale or ""
        if key not in self._templates:
            self._templates[key] = {
                part: (HTML if part in HTML_PARTS else PLAIN).from_string(source)
                for part, source in pick_sources(self.channel, self.sources, locale).items()
            }
        return self._templates[key]

    def _text_of(self, part: str, template: Template, context: Mapping[str, Any]) -> str:
        try:
            return template.render(context)
        except UndefinedError as error:
            raise RenderError(str(error), reason="undefined", part=part) from error
        except SecurityError as error:
            raise RenderError(str(error), reason="security", part=part) from error
        except Exception as error:
            raise RenderError(str(error), reason="error", part=part) from error


def pick_sources(channel: str, variants: Variants, locale: str | None) -> dict[str, str]:
    """Choose each part's source: the locale's own, else its language's, else the default's."""
    chosen = {}
    for part in parts_of(channel):
        for name in locale_chain(locale):
            if part in variants.get(name, {}):
                chosen[part] = variants[name][part]
                break
    return chosen


def _finished(part: str, text: str) -> str | dict[str, str]:
    if part in HEADER_PARTS:
        return _LINE_BREAKS_AND_CONTROLS.sub(" ", text).strip()
    if part in JSON_PARTS:
        return {key: str(value) for key, value in json.loads(text).items()}
    return text
