"""Mails written in Markdown."""

import re

import pytest

from templates_engine.errors import InvalidTemplate
from templates_engine.layouts import built_in
from tests.unit.templates_engine.content import version

PLAIN = {"email": "{% block content %}{% endblock %}"}
CONTEXT = {
    "name": "Ada *&* <b>",
    "url": "https://x.example/ü?a=1&b=2",
    "on": True,
    "off": False,
    "rows": [{"a": "A|*", "b": 1}, {"a": "B", "b": 2}],
}


def rendered(markdown: str, partials: dict[str, str] | None = None) -> dict[str, str]:
    made = version("email", subject="s", markdown=markdown, partials=partials or PLAIN)
    content = made.render(CONTEXT)
    assert set(content) == {"subject", "html", "text"}
    return {name: str(value) for name, value in content.items()}


NAME = "Ada *&amp;* &lt;b&gt;"


@pytest.mark.parametrize(
    ("markdown", "html", "text"),
    [
        (
            "# Hello {{ name }}\n\nYour *order* **{{ name }}**.",
            f"<h1>Hello {NAME}</h1><p>Your <em>order</em> <strong>{NAME}</strong>.</p>",
            "Hello Ada *&* <b>\n\nYour order Ada *&* <b>.",
        ),
        (
            "[See {{ name }}]({{ url }}) or [ü](https://x.example/ü)",
            f'<p><a href="https://x.example/ü?a=1&amp;b=2">See {NAME}</a> or '
            '<a href="https://x.example/%C3%BC">ü</a></p>',
            "See Ada *&* <b>: https://x.example/ü?a=1&b=2 or ü: https://x.example/%C3%BC",
        ),
        (
            "Items:\n\n{% for r in rows %}\n- {{ r.a }}\n{% endfor %}\n\nEnd",
            "<p>Items:</p><ul><li>A|*</li><li>B</li></ul><p>End</p>",
            "Items:\n\n- A|*\n- B\n\nEnd",
        ),
        (
            "{% for r in rows %}\n1. {{ r.a }}\n{% endfor %}",
            "<ol><li>A|*</li><li>B</li></ol>",
            "- A|*\n- B",
        ),
        (
            "|a|b|\n|-|-|\n{% for r in rows %}\n| {{ r.a }} | {{ r.b }} |\n{% endfor %}\n| t | 3 |",
            '<table class="rows"><thead><tr><th>a</th><th>b</th></tr></thead><tbody>'
            "<tr><td>A|*</td><td>1</td></tr><tr><td>B</td><td>2</td></tr>"
            "<tr><td>t</td><td>3</td></tr></tbody></table>",
            "a  b\nA|*  1\nB  2\nt  3",
        ),
        (
            "{% for r in rows %}\n|a|\n|-|\n| {{ r.a }} |\n{% endfor %}",
            '<table class="rows"><thead><tr><th>a</th></tr></thead><tbody><tr><td>A|*</td></tr>'
            '</tbody></table><table class="rows"><thead><tr><th>a</th></tr></thead><tbody><tr>'
            "<td>B</td></tr></tbody></table>",
            "a\nA|*\n\na\nB",
        ),
        (
            "{% if on %}\nyes *1*\n{% else %}\nno\n{% endif %}\n\n{% if off %}**x**{% endif %}a",
            "<p>yes <em>1</em></p><p>a</p>",
            "yes 1\n\na",
        ),
        ("~~{{ name }}~~ `{{ name }}`", f"<p><s>{NAME}</s> <code>{NAME}</code></p>", None),
        ("```\n{% if on %}\na  {{ name }}\n{% endif %}\n```", None, "a  Ada *&* <b>"),
        ("a<br>\n<b>{{ name }}</b> & co", f"<p>a<br><b>{NAME}</b> &amp; co</p>", None),
    ],
)
def test_markdown_becomes_html_and_values_stay_text(
    markdown: str, html: str | None, text: str | None
) -> None:
    content = rendered(markdown)
    if html is not None:
        assert re.sub(r"\n\s*", "", content["html"]).replace(" ", "") == html.replace(" ", "")
    if text is not None:
        assert content["text"].strip() == text


def test_it_stands_in_the_layout_unless_it_names_one() -> None:
    content = rendered("Hello {{ name }}", built_in())
    assert content["html"].startswith("<!DOCTYPE html>")
    assert "font-family" in content["html"]
    own = (
        '{% extends "email" %}{% block brand %}The Shop{% endblock %}\n'
        "{% block content %}\n# Hello\n{% endblock %}\n"
    )
    branded = rendered(own, built_in())
    assert re.search(r">\s*The Shop\s*</td>", branded["html"])
    assert branded["text"].split() == ["The", "Shop", "Hello"]


@pytest.mark.parametrize(
    ("parts", "complaint", "part"),
    [
        ({"markdown": "a", "html": "<p>b</p>"}, "markdown or html", "markdown"),
        ({"markdown": "a\n{{ b"}, "unexpected|expected", "markdown"),
        ({"markdown": "<script>x</script>"}, "no place in a mail", "markdown"),
        ({"markdown": '<a href="javascript:x()">x</a>'}, "refused in a link", "markdown"),
        ({"markdown": " "}, "needs markdown or html or text", "html"),
    ],
)
def test_what_cannot_be_sent_is_refused(parts: dict[str, str], complaint: str, part: str) -> None:
    with pytest.raises(InvalidTemplate, match=complaint) as refused:
        version("email", subject="s", partials=PLAIN, **parts)
    assert refused.value.part == part
