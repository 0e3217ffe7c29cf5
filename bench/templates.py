"""Content from templates, beside plain ``jinja2.Template.render`` of the same sources.

Both sides render the parts of a one-time code by SMS and of a receipt by mail with ten lines, as
compiled when the version was published (layout merged, CSS inlined, text part made). Ours also
escapes the HTML, bounds what a template may do, folds line breaks and looks for forbidden links.
"""

import time
from collections.abc import Callable
from typing import Any

from jinja2 import Template

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage
from templates_engine.building import Draft, build, compiled_version
from templates_engine.layouts import built_in
from templates_engine.rendering import CompiledVersion

SECONDS = 1.0
_RECEIPT = """{% extends "email" %}
{% block preheader %}{{ total }} paid{% endblock %}
{% block content %}
<h1>Thank you, {{ customer.name }}</h1>
<table class="rows">
{% for line in lines %}
<tr><td>{{ line.name }}</td><td class="amount">{{ line.quantity }}</td>
<td class="amount">{{ line.total }}</td></tr>
{% endfor %}
</table>
{% if total != "0.00" %}<p>Total: {{ total }}</p>{% endif %}
<p><a href="{{ url }}">View your order</a></p>
{% endblock %}
"""
SOURCES = {
    "sms": {"text": "Your code is {{ code }}. It is valid for {{ minutes }} minutes."},
    "email": {"subject": "Receipt {{ number }}: {{ total }}", "html": _RECEIPT},
}
CONTEXT: dict[str, Any] = {
    "code": "123456",
    "minutes": 5,
    "number": "2026-00417",
    "customer": {"name": "Ada Müller"},
    "lines": [{"name": f"Notes & Sketches {n}", "quantity": n, "total": "9.60"} for n in range(10)],
    "total": "96.00",
    "url": "https://shop.example/orders/2026-00417",
}


def prepare(_: Stage) -> Callable[[], Sample]:
    versions = [_version(channel) for channel in SOURCES]
    plain = [
        Template(source, trim_blocks=True, lstrip_blocks=True)
        for version in versions
        for source in version.sources["default"].values()
    ]
    with_locale = {**CONTEXT, "locale": "en"}

    def ours() -> None:
        for version in versions:
            version.render(CONTEXT)

    def floor() -> None:
        for template in plain:
            template.render(with_locale)

    return lambda: Sample(ours=len(plain) * _rate(ours), floor=len(plain) * _rate(floor))


def _version(channel: str) -> CompiledVersion:
    variants = {"default": SOURCES[channel]}
    draft = Draft("bench", channel, "transactional", variants, built_in())
    return compiled_version(draft, build(draft))


def _rate(step: Callable[[], None]) -> float:
    """Return how often a second a step runs."""
    times = 0
    started = time.perf_counter()
    while (seconds := time.perf_counter() - started) < SECONDS:
        for _ in range(50):
            step()
        times += 50
    return times / seconds


TEMPLATES = Benchmark(
    title="templates rendered, four parts of two messages",
    floor_title="plain jinja2.Template.render of the same sources",
    unit="/s",
    prepare=prepare,
    target=">= 0.7 x",
)
