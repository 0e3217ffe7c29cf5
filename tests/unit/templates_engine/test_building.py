from typing import Any

import pytest

from templates_engine.building import Draft, build
from templates_engine.errors import InvalidTemplate
from tests.unit.templates_engine.content import version

LAYOUT = (
    "<html><head><style>p{color:red}</style></head><body>{% block b %}x{% endblock %}</body></html>"
)


def draft(channel: str = "chat", **given: Any) -> Draft:
    fields = {"variants": {"default": {"text": "Hi {{ name }}"}}} | given
    return Draft("t", channel, "transactional", **fields)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variants": {}}, "needs text"),
        ({"variants": {"default": {"text": " "}}}, "needs text"),
        ({"variants": {"de": {"text": "x"}}}, "needs text"),
        (
            {"channel": "email", "variants": {"default": {"subject": "x"}}},
            "needs markdown or html or text",
        ),
        ({"channel": "email", "variants": {"default": {"html": "x"}}}, "needs subject"),
        ({"channel": "simulator", "variants": {"default": {}}}, "needs subject or body"),
        ({"variants": {"default": {"text": "x", "html": "x"}}}, "no part html"),
        ({"variants": {"default": {"text": "x"}, "../x": {"text": "x"}}}, "not a locale"),
        ({"variants": {"default": {"text": "x"}, "de": {"text": "a\n{{ x"}}}, "de.*line 2"),
        ({"sample_context": {"other": 1}}, "sample context does not render.*needs name"),
        ({"sample_context": {"name": None}}, "sample context does not render.*null"),
        ({"variants": {"default": {"text": "{{ 1 + 'a' }}"}}}, "does not render"),
        ({"context_schema": {"type": "nope"}}, "wrong at type"),
        ({"context_schema": {"properties": {"a": {"$ref": "http://127.0.0.1/x"}}}}, "inside it"),
        ({"context_schema": {"patternProperties": {"a": {}}}}, "not supported"),
        ({"context_schema": []}, "JSON object"),
    ],
)
def test_a_draft_that_could_not_be_sent_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTemplate, match=message):
        build(draft(**given))


def test_the_needed_variables_are_those_of_all_locales_parts_and_layouts() -> None:
    made = build(
        draft(
            "email",
            variants={
                "default": {"subject": "{{ a }}", "html": "{% extends 'l' %}"},
                "de": {"subject": "{{ b|default('x') }}{{ c }}"},
            },
            partials={"l": "<p>{{ d }}</p>"},
        )
    )
    assert made.required == ["a", "c", "d"]


def test_a_build_is_the_same_each_time_and_changes_with_its_layout() -> None:
    variants = {"default": {"subject": "s", "html": "{% extends 'l' %}"}}
    first = build(draft("email", variants=variants, partials={"l": LAYOUT}))
    same = build(draft("email", variants=variants, partials={"l": LAYOUT}))
    other = build(draft("email", variants=variants, partials={"l": LAYOUT + " "}))
    assert first == same
    assert first.checksum != other.checksum


def test_css_of_the_layout_reaches_the_content() -> None:
    mail = version(
        "email",
        subject="s",
        html="{% extends 'l' %}{% block b %}<p>{{ x }}</p>{% endblock %}",
        partials={"l": LAYOUT},
    )
    assert '<p style="color: red;">1</p>' in str(mail.render({"x": 1})["html"])


def test_windows_line_ends_are_no_trouble() -> None:
    assert version(text="a\r\n{% if x %}\r\nb\r\n{% endif %}").render({"x": 1})["text"] == "a\nb"


def test_an_unknown_channel_has_subject_and_body() -> None:
    simulated = version("simulator", subject="S", body="B {{ x }}")
    assert simulated.render({"x": 1}) == {"subject": "S", "body": "B 1"}


def mail(html: str) -> Draft:
    return draft("email", variants={"default": {"subject": "s", "html": html}})


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://shop.example/reset?token={{ token }}">',
        "<a href='{{ u }}' title=x>",
        '<a href="/a?b={{ b }}&c={{ c }}" class="{% if d %}e{% endif %}">x = {{ y }}</a>',
        '<td{% if x is defined %} class="a"{% endif %}>{{ y }}</td>',
        '<!-- <a href={{ u }}> --><p title="a>b">{{ u }}</p>',
        "1 < 2 = {{ u }}",
    ],
)
def test_a_value_may_stand_between_quotes_and_in_text(html: str) -> None:
    build(mail(html))


@pytest.mark.parametrize(
    "html",
    [
        "<a href={{ u }}>",
        '<a title="a>b" href={{ u }}>',
        "<a title='>' href=/x?{{ u }}>",
        "<a {{ u }}>",
        '<a href="x"{{ u }}>',
        "<a\nhref =\n{{ u }}>",
        "<a href={% if u %}{{ u }}{% endif %}>",
        "<{{ u }}>",
    ],
)
def test_a_value_outside_quotes_is_refused(html: str) -> None:
    with pytest.raises(InvalidTemplate, match="outside quotes"):
        build(mail(html))


@pytest.mark.parametrize("key", ["from", "message_type", "google.c.a.e", "gcm.notification.x"])
def test_a_key_that_push_services_keep_is_refused(key: str) -> None:
    data = '{"order": {{ n }}, "' + key + '": "{{ n }}"}'
    parts = {"title": "T", "body": "B", "data": data}
    with pytest.raises(InvalidTemplate, match="keep the key"):
        build(draft("push", variants={"default": parts}))
    parts["data"] = data.replace(key, "origin")
    build(draft("push", variants={"default": parts}))
