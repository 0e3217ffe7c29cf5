import json
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from templates_engine.errors import InvalidContext, MissingVariables, RenderError
from tests.unit.templates_engine.content import html, text, unchecked, version


def test_values_are_escaped_in_html_only() -> None:
    content = version("email", subject="{{ x }}", html="<p>{{ x }}</p>", text="{{ x }}").render(
        {"x": "<b> & \"'"}
    )
    assert content["html"] == "<p>&lt;b&gt; &amp; &#34;&#39;</p>"
    assert content["text"] == content["subject"] == "<b> & \"'"


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\x00"])
def test_a_line_break_in_a_value_cannot_start_a_header(line_break: str) -> None:
    mail = version("email", subject="Hi {{ name }}!", text="x")
    subject = mail.render({"name": f"Ada{line_break}Bcc: all@x.example"})["subject"]
    assert subject == "Hi Ada Bcc: all@x.example!"


def test_a_missing_variable_never_becomes_a_hole() -> None:
    with pytest.raises(RenderError, match="'name' is undefined") as failed:
        unchecked("Hi {{ name }}").render({})
    assert failed.value.reason == "undefined"
    with pytest.raises(RenderError, match="no attribute 'city'"):
        text("{{ address.city }}", address={})


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, object(), {1}, b"x"])
def test_what_no_reader_wants_to_see_is_refused(value: object) -> None:
    with pytest.raises(RenderError, match="It would print a"):
        text("{{ value }}", value=value)


def test_plain_values_print_as_themselves() -> None:
    moment = datetime(2026, 3, 29, 1, 2, tzinfo=UTC)
    values = [1, 1.5, Decimal("1.50"), True, "x", moment.date()]
    assert text("{% for v in values %}{{ v }} {% endfor %}", values=values) == (
        "1 1.5 1.50 True x 2026-03-29"
    )


def test_content_that_renders_to_nothing_is_not_sent() -> None:
    with pytest.raises(RenderError, match="nothing") as failed:
        text("{% if on %}x{% endif %} ", on=False)
    assert failed.value.reason == "empty"


def test_an_error_shows_no_value_of_the_context() -> None:
    for source in ("{{ otp|money('EUR') }}", "{{ otp|date }}", "{{ otp + 1 }}", "{{ otp[1:'x'] }}"):
        with pytest.raises(RenderError) as failed:
            text(source, otp="no-123456")
        assert "123456" not in f"{failed.value} {failed.value.hint}"
        assert failed.value.__cause__ is None


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "vbscript:x",
        "data:text/html,<script>",
        "file:///etc/passwd",
    ],
)
def test_a_value_that_makes_a_link_run_code_is_refused(address: str) -> None:
    for source in ('<a href="{{ u }}">x</a>', "<img src='{{ u }}'>", '<a href=" {{ u }}">x</a>'):
        with pytest.raises(RenderError) as failed:
            html(source, u=address)
        assert failed.value.reason == "link"


def test_a_scheme_made_of_two_values_is_refused_too() -> None:
    with pytest.raises(RenderError, match="javascript:"):
        html('<a href="{{ a }}{{ b }}">x</a>', a="java", b="script:alert(1)")


@pytest.mark.parametrize("words", ["javascript: a history", "href=data: see below", "?u=data:x"])
def test_what_only_looks_like_such_a_link_is_sent(words: str) -> None:
    assert words in html('<p>{{ w }}</p><a href="https://x.example/{{ w }}">x</a>', w=words)


def test_push_data_is_an_object_of_texts() -> None:
    push = version("push", title="T", body="B", data='{"n": {{ n|tojson }}, "s": {{ s|tojson }}}')
    assert push.render({"n": 1, "s": 'a"b'})["data"] == {"n": "1", "s": 'a"b'}


EVE = 'Eve", "admin": "yes\n\t\\ \x01/'


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ('{"name": "{{ x }}", "n": {{ n }}}', {"name": EVE, "n": 7}),
        ('{"name": {{ x|tojson }}, "of": "{{ n }}"}', {"name": EVE, "of": "7"}),
        ('["a {{ x ~ n }}"]', [f"a {EVE}7"]),
        ('{% macro one(v) %}{"v": "{{ v }}"}{% endmacro %}[{{ one(x) }}]', [{"v": EVE}]),
        ('[{% for v in xs %}"{{ v }}"{% if not loop.last %},{% endif %}{% endfor %}]', [EVE, "b"]),
        ('{"given": {{ json }}}', {"given": {"a": 'b"'}}),
        ("{{ json }}", {"a": 'b"'}),
    ],
)
def test_a_value_neither_ends_a_text_of_json_nor_adds_to_it(source: str, printed: object) -> None:
    made = version("webhook", body=source)
    json_itself = '{"a": "b\\""}'
    body = made.render({"x": EVE, "n": 7, "xs": [EVE, "b"], "json": json_itself})["body"]
    assert json.loads(str(body)) == printed


def test_what_is_not_json_shows_values_as_they_are() -> None:
    for source in ("Hello {{ x }}", "[Shop] {{ x }}", "{{ x }}"):
        body = version("webhook", body=source).render({"x": EVE})["body"]
        assert str(body) == source.replace("{{ x }}", EVE)


def test_a_value_in_quotes_adds_no_key_to_push_data() -> None:
    push = version("push", title="T", body="B", data='{"name": "{{ x }}"}')
    assert push.render({"x": EVE})["data"] == {"name": EVE}


@pytest.mark.parametrize("data", ["{{ x }}", "[{{ x|tojson }}]"])
def test_push_data_that_is_no_object_is_refused(data: str) -> None:
    with pytest.raises(RenderError) as failed:
        unchecked(data, "data", "push").render({"x": "not json"})
    assert failed.value.reason == "json"


@pytest.mark.parametrize(
    ("locale", "greeting"),
    [
        ("de-AT", "Servus"),
        ("de_AT", "Servus"),
        ("de-CH", "Hallo"),
        ("de", "Hallo"),
        ("fr", "Hello"),
        ("", "Hello"),
        (None, "Hello"),
        ("default", "Hello"),
    ],
)
def test_a_locale_falls_back_to_its_language_and_then_to_the_default(
    locale: str | None, greeting: str
) -> None:
    variants = {"de": {"text": "Hallo"}, "de-AT": {"text": "Servus"}}
    assert version(text="Hello", variants=variants).render({}, locale)["text"] == greeting


@pytest.mark.parametrize(
    ("locale", "greeting"),
    [
        ("de-ch", "Grüezi"),
        ("DE-CH", "Grüezi"),
        ("DE", "Hallo"),
        ("De-at", "Hallo"),
        ("pt_br", "Oi"),
        ("zh-hant-tw", "你好"),
        ("PT", "Hello"),
    ],
)
def test_a_locale_is_found_whatever_its_letter_case(locale: str, greeting: str) -> None:
    texts = {"de": "Hallo", "de-CH": "Grüezi", "pt-BR": "Oi", "zh-Hant": "你好"}
    variants = {name: {"text": text} for name, text in texts.items()}
    assert version(text="Hello", variants=variants).render({}, locale)["text"] == greeting


def test_a_locale_takes_parts_it_lacks_from_the_next() -> None:
    push = version("push", title="Hello", body="B", data="{}", variants={"de": {"title": "Hallo"}})
    assert push.render({}, "de") == {"title": "Hallo", "body": "B", "data": {}}


def test_a_locales_html_brings_its_own_text() -> None:
    mail = version(
        "email",
        subject="S",
        html="<p>Hello</p>",
        text="Hello",
        variants={"de": {"html": "<p>Hallo</p>"}},
    )
    assert mail.render({}, "de")["text"] == "Hallo"


def test_numbers_follow_the_language_of_the_text() -> None:
    variants = {"de": {"text": "Summe {{ n|money('EUR') }}"}}
    both = version(text="Sum {{ n|money('EUR') }}", variants=variants)
    assert both.render({"n": 1234.5}, "de-AT")["text"] == "Summe €\xa01.234,50"
    assert both.render({"n": 1234.5}, "de")["text"] == "Summe 1.234,50\xa0€"
    assert both.render({"n": 1234.5}, "fr")["text"] == "Sum €1,234.50"
    assert both.render({"n": 123456}, "en-IN")["text"] == "Sum €1,23,456.00"


def test_missing_variables_are_refused_by_name() -> None:
    with pytest.raises(MissingVariables) as refused:
        version(text="{{ b }}{{ a }}{{ c|default(1) }}").check({"b": 1})
    assert refused.value.names == ["a"]


def test_a_context_that_breaks_the_schema_is_refused_at_its_path() -> None:
    schema = {"properties": {"items": {"items": {"required": ["price"]}}}}
    sale = version(text="{{ items|length }}", context_schema=schema)
    sale.check({"items": [{"price": 1}]})
    with pytest.raises(InvalidContext) as refused:
        sale.check({"items": [{"price": 1}, {"secret": "hunter2"}]})
    assert refused.value.path == "items[1]"
    assert "hunter2" not in str(refused.value)


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(RenderError, match="timezone"):
        text("{{ when|time }}", when="2026-01-01T00:00:00Z", timezone="../../etc/passwd")


def test_threads_render_with_their_own_locale() -> None:
    variants = {"de": {"text": "{% for i in range(50) %}{{ n|number }} {% endfor %}"}}
    both = version(text=variants["de"]["text"], variants=variants)
    wrong: list[str] = []

    def run(locale: str, expected: str) -> None:
        for _ in range(20):
            printed = set(str(both.render({"n": 1234.5}, locale)["text"]).split())
            if printed != {expected}:
                wrong.append(f"{locale}: {printed}")

    jobs = [("en", "1,234.5"), ("de", "1.234,5")] * 3
    threads = [threading.Thread(target=run, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_sms_that_takes_too_many_segments_is_refused() -> None:
    with pytest.raises(RenderError, match="limit is 10") as failed:
        version("sms", text="{{ x }}").render({"x": "ä" * 1531})
    assert failed.value.reason == "segments"


def test_the_no_break_spaces_of_money_do_not_make_an_sms_dear() -> None:
    sms = version("sms", text="x", variants={"de": {"text": "{{ 5|money('EUR') }}"}})
    assert sms.render({}, "de")["text"] == "5,00 €"
