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
        ("<p>#{{ n }} has shipped</p>", "#1 has shipped"),
        (
            "<p># not a heading, * nor - these: f[0](1) <b>x</b>_y_</p>",
            "# not a heading, * nor - these: f[0](1) x_y_",
        ),
        (
            '<a href="{{ url }}">the\n  long [new] label</a>',
            "the long [new] label: https://x.example/1",
        ),
        ('<a href="https://x.example/a\nb">two lines</a>', "two lines: https://x.example/ab"),
        ('<a href="https://x.example/(1)"><img alt="Logo"></a>', "Logo: https://x.example/(1)"),
        ("<p>was <del>20</del> 15</p>", "was ~~20~~ 15"),
        ("<pre>if a:\n    b  c</pre><p>d</p>", "if a:\n    b  c\n\nd"),
        ('<p style="display: none">no</p><p hidden>no</p><p>yes</p>', "yes"),
        ('<p style="display:none">no<p>yes', "yes"),
        ("<ol><li>a<li>b<ul><li>c</ul><li><p>d</p></ol>e", "1. a\n2. b\n  - c\n3. d\n\ne"),
        ("<ol>{% for n in names %}<li>{{ n }}</li>{% endfor %}</ol>", "- A & B\n- C"),
        ("<dl><dt>t<dd>d</dl><blockquote>q<br>r</blockquote>", "t\nd\n\nq\nr"),
        ("<table><tr><td><p>a</p></td><td><h1>b</h1><p>c</p></td></tr></table>", "a\n\nb\n\nc"),
        (
            "<p>a&nbsp;&amp;&nbsp;b</p><!--[if mso]>x<![endif]--><hr>c",
            "a & b\n\n--------------------\n\nc",
        ),
        ("<style>.x{display:none}</style><p class=x>no</p><p>yes</p>", "yes"),
        ("<p>{{ name }}\n  {{ n }}</p>  <p>b</p>", "Ada <x> 1\n\nb"),
    ],
)
def test_the_text_part_reads_as_the_html_does(html: str, text: str) -> None:
    context = {
        "url": "https://x.example/1",
        "names": ["A & B", "C"],
        "on": True,
        "off": False,
        "n": 1,
    }
    assert text_of(html, name="Ada <x>", **context) == text


def test_a_text_part_that_was_written_is_kept() -> None:
    mail = version("email", subject="s", html="<p>html</p>", text="mine")
    assert mail.render({})["text"] == "mine"
