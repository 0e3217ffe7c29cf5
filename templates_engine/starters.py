"""What a template's first draft holds: something that works, to be written over."""

from typing import Any

from templates_engine.parts import Sources, parts_of

_EMAIL = """{% extends "email" %}
{% block brand %}Your company{% endblock %}
{% block content %}
<h1>Hello {{ name }}</h1>
<p>Write your message here.</p>
{% endblock %}
{% block footer %}Your company, your street, your city{% endblock %}
"""
_STARTERS: dict[str, Sources] = {
    "email": {"subject": "Hello {{ name }}", "html": _EMAIL},
    "sms": {"text": "Hello {{ name }}"},
    "push": {"title": "Hello {{ name }}", "body": "Write your message here."},
    "webhook": {"body": '{"name": {{ name|tojson }}}'},
    "chat": {"text": "Hello {{ name }}"},
}
SAMPLE: dict[str, Any] = {"name": "Ada"}


def starter(channel: str) -> Sources:
    """Return working sources for a channel's default locale; ``SAMPLE`` renders them."""
    return _STARTERS.get(channel) or dict.fromkeys(parts_of(channel), "Hello {{ name }}")
