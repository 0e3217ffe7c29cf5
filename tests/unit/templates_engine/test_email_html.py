import re

import pytest

from templates_engine.email_html import INLINE_WHEN_RENDERED, inline_css, with_css_inlined
from templates_engine.errors import InvalidTemplate
from tests.unit.templates_engine.content import html, unchecked

STYLE = "<style>.b { color: red } td { padding: 4px } a { color: blue }</style>"
ROWS = [{"name": "A & B"}, {"name": "<C>"}]

AHEAD = [
    '<p class="b">{{ name }}</p>',
    '<table>{% for r in rows %}<tr><td class="b">{{ r.name }}</td></tr>{% endfor %}</table>',
    '{% if on %}<p class="b">yes</p>{% else %}<p>no</p>{% endif %}',
    "<a href=\"{{ url|default('https://x.example/?a=1&b=2') }}\">{{ name }}</a>",
    "{% macro cell(x) %}<b class='b'>{{ x }}</b>{% endmacro %}<p>{{ cell(name) }}</p>",
    '{% set x %}<b class="b">{{ name }}</b>{% endset %}<p>{{ x }}</p>',
    "<p class='b'>&amp; &lt; ü &copy; {# gone #}</p>",
]
LATE = [
    '<p class="{{ css }}">x</p>',
    '<p {% if on %}class="b"{% endif %}>x</p>',
    '<p class="{% if on %}b{% endif %}">x</p>',
    '<div>{% if on %}<p class="b">{% else %}<p>{% endif %}x</p></div>',
    "<style>td:first-child { color: red }</style><table>{% for r in rows %}<tr><td>a</td></tr>"
    "{% endfor %}</table>",
    "<style>p { color: {{ colour }} }</style><p>x</p>",
]
CONTEXT = {"name": "Ada <x>", "rows": ROWS, "on": True, "css": "b", "colour": "red"}


def rendered_then_inlined(source: str) -> str:
    return inline_css(str(unchecked(source, "html", "email").render(CONTEXT)["html"]))


@pytest.mark.parametrize("body", AHEAD)
def test_css_inlined_at_publish_is_as_if_inlined_in_each_message(body: str) -> None:
    source = f"<html><head>{STYLE}</head><body>{body}</body></html>"
    inlined = with_css_inlined(source)
    assert not inlined.startswith(INLINE_WHEN_RENDERED)
    published = str(unchecked(inlined, "html", "email").render(CONTEXT)["html"])
    # What the HTML parser implies is not left in a published source.
    assert published == re.sub("</?tbody>", "", rendered_then_inlined(source))
    assert "color: " in published


@pytest.mark.parametrize("body", LATE)
def test_css_that_depends_on_values_is_inlined_when_rendered(body: str) -> None:
    source = f"<html><head>{STYLE}</head><body>{body}</body></html>"
    assert with_css_inlined(source).startswith(INLINE_WHEN_RENDERED)
    message = html(source, **CONTEXT)
    assert message == rendered_then_inlined(source)
    assert re.search(r'style="[^"]*color: red;', message)


def test_rules_that_cannot_be_inlined_stay() -> None:
    rules = (
        "a:hover { color: blue; }",
        "@font-face { font-family: f; src: url(https://x.example/f) }",
        "@media (prefers-color-scheme: dark) { a { color: white !important } }",
        "[data-ogsc] a { color: white; }",
        "a::before { content: '*'; }",
    )
    source = f"<style>a {{ color: red; }} {' '.join(rules)}</style><a href='{{{{ u }}}}'>x</a>"
    message = html(source, u="https://x.example")
    style = message[message.index("<style>") : message.index("</style>")]
    for rule in rules:
        assert re.sub(r"['\"\s]", "", rule) in re.sub(r"['\"\s]", "", style)
    assert "color: red" not in style
    assert re.search(r'style="[^"]*color: red;', message)


def test_media_rules_stay_for_dark_mode() -> None:
    source = "<style>@media (prefers-color-scheme: dark) { p { color: white } }</style><p>x</p>"
    assert "prefers-color-scheme" in html(source)


def test_no_stylesheet_is_fetched() -> None:
    page = (
        '<link rel="stylesheet" href="http://127.0.0.1:1/x.css"><style>p{color:red}</style><p>x</p>'
    )
    assert 'style="color: red;"' in html(page)


@pytest.mark.parametrize(
    "source",
    [
        "<script>x</script>",
        "<SCRIPT src='x'></SCRIPT>",
        "<iframe src='https://x.example'></iframe>",
        '<p onclick="x()">x</p>',
        '<a href="javascript:x()">x</a>',
        '<a href="&#106;avascript:x()">x</a>',
        '<div style="background: url(javascript:x)">x</div>',
        '<meta http-equiv="refresh" content="0; url=javascript:x">',
        "<a href={{ url }}>x</a>",
        '<a href="{{ url }}:{{ url }}">x</a>',
        '<a href="{{ url }}&#58;alert(1)">x</a>',
        '<a href="{% if url %}java{% endif %}script:x()">x</a>',
        "<a title=a{{ url }}>x</a>",
        '<a title="a>b" href={{ url }}>x</a>',
    ],
)
def test_what_has_no_place_in_a_mail_is_refused_on_save(source: str) -> None:
    with pytest.raises(InvalidTemplate):
        html(source, url="https://x.example")


def test_a_variable_inside_a_quoted_link_is_accepted() -> None:
    source = '<a title="a>b" href="https://shop.example/reset?token={{ token }}">x</a>'
    assert 'reset?token=a &#34;">' in html(source, token='a "')
