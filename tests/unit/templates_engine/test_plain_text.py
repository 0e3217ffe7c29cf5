from typing import Any

import pytest

from tests.unit.templates_engine.content import version


def text_of(html: str, **context: Any) -> str:
    return str(version("email", subject="s", html=html).render(context)["text"])


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<p>See <a href="{{ url }}">your order</a>.</p>', "See your order: https://x.example/1."),
        ('<a href="{{ url }}">{{ url }}</a>', "https://x.example/1"),
        ('<a href="mailto:a@x.example">a@x.example</a>', "a@x.example"),
        ('<a href="tel:+4930">+49 30</a>', "+49 30"),
        ("<p>a</p><p>b<br>c</p>", "a\n\nb\nc"),
        ("<h1>Title</h1><p>a &amp; b &lt;c&gt;</p>", "Title\n\na & b <c>"),
        ("<p>1. Not a list, * nor # this_one</p>", "1. Not a list, * nor # this_one"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>x", "a  b\nc\n\nx"),
        ("<ul>{% for n in names %}<li>{{ n }}</li>{% endfor %}</ul>", "- A & B\n- C"),
        (
            "<table>\n{% for n in names %}\n<tr><td>{{ n }}</td><td>1</td></tr>\n"
            "{% endfor %}\n</table>",
            "A & B  1\nC  1",
        ),
        ("<p>a</p>\n{% if off %}\n<p>b</p>\n{% endif %}\n<p>c</p>", "a\n\nc"),
        ("<p>Dear {% if on %}Ms{% endif %} {{ name }}</p>", "Dear Ms Ada <x>"),
        ('<img src="https://x.example/i.png" alt="Logo"><p>a</p>', "Logo\n\na"),
        ("<style>p{}</style><head><title>t</title></head><!-- no --><p>a</p>", "a"),
        ('<div class="preheader">hidden</div><p>a</p>', "a"),
    ],
)
def test_the_text_part_reads_as_the_html_does(html: str, text: str) -> None:
    context = {"url": "https://x.example/1", "names": ["A & B", "C"], "on": True, "off": False}
    assert text_of(html, name="Ada <x>", **context) == text


def test_a_text_part_that_was_written_is_kept() -> None:
    mail = version("email", subject="s", html="<p>html</p>", text="mine")
    assert mail.render({})["text"] == "mine"
