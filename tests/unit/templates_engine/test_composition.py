from datetime import UTC
from typing import Any

import pytest
from jinja2 import DictLoader, Environment

from templates_engine import budget
from templates_engine.composition import check_partial, compose
from templates_engine.errors import InvalidTemplate
from templates_engine.sandbox import PLAIN

PARTIALS = {
    "base": "<h>{% block title %}T{% endblock %}</h>\n{% block body %}\n"
    "  {% block inner %}I{{ x }}{% endblock %}\n{% endblock body %}\n"
    "{% include 'foot' %}\nend\n",
    "middle": "{% extends 'base' %}{% block inner %}mid {{ super() }}{% endblock %}",
    "foot": "Foot {% set x = 'own' %}{{ x }}\n",
    "strict": "{% block content required %}{% endblock %}",
    "row": "<tr>{{ item }}</tr>",
    "circle-a": "{% include 'circle-b' %}",
    "circle-b": "{% extends 'circle-a' %}",
}
NATIVE = Environment(loader=DictLoader(PARTIALS), trim_blocks=True, lstrip_blocks=True)


@pytest.mark.parametrize(
    "source",
    [
        "{% extends 'base' %}",
        "{% extends 'middle' %}",
        "{% extends 'middle' %}{% block inner %}in {{ super() }}{{ x }}{% endblock %}",
        "{% extends 'middle' %}{% block body %}[{{ super() }}]{% endblock %}",
        "{% extends 'base' %}\n{% set y = x ~ '!' %}\n{% block title %}{{ y }}{% endblock %}\n",
        "{% extends 'base' %}{% macro m(a) %}<{{ a }}>{% endmacro %}"
        "{% block inner %}{{ m(x) }}{% endblock %}",
        "{% extends 'base' %}{% block inner %}{% set x = 2 %}{{ x }}{% endblock %}",
        "{% extends 'base' %}{% block body %}{% block fresh %}f{{ x }}{% endblock %}{% endblock %}",
        "{% include 'foot' %} {{ x }}",
        "  {% include 'foot' %}\n\nnext\n",
        "a {%- include 'foot' -%} b",
        "{% for item in [1, 2] %}\n{% include 'row' %}\n{% endfor %}\n",
        "{# gone #}{% raw %}{{ kept }}{% endraw %}{% block a %}{{ x }}{% endblock %}",
        "{%- block a -%} trimmed {%- endblock -%} end",
    ],
)
def test_a_composed_source_renders_as_jinja2_renders_the_parts(source: str) -> None:
    composed = compose(source, PARTIALS.get)
    assert not {"extends", "include", "block"} & set(composed.replace("%", " ").split())
    budget.begin("en", UTC, "")
    rendered = PLAIN.from_string(composed).render(x="X")
    assert rendered == NATIVE.from_string(source).render(x="X")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% include 'circle-a' %}", "circle-a → circle-b → circle-a is a circle of references"),
        ("{% include 'nowhere' %}", "no layout or partial 'nowhere'"),
        ("{% extends name %}", "one name in quotes"),
        ("{% include ['a', 'b'] %}", "one name in quotes"),
        ("{% include 'foot' ignore missing %}", "one name in quotes"),
        ("{% extends 'base' %}{% block nope %}{% endblock %}", "no block nope"),
        ("{% extends 'strict' %}", "needs a block content"),
        ("{% extends 'base' %}lost", "shows only its blocks"),
        ("{% if x %}{% extends 'base' %}{% endif %}", "shows only its blocks"),
        ("{% extends 'base' %}{% block inner %}{{ super()|upper }}{% endblock %}", "stands alone"),
        ("{% block a %}{{ super() }}{% endblock %}", "needs a block of the layout"),
    ],
)
def test_what_cannot_be_composed_is_refused(source: str, message: str) -> None:
    with pytest.raises(InvalidTemplate, match=message):
        compose(source, PARTIALS.get)


def test_partials_that_multiply_are_refused() -> None:
    partials = {f"p{n}": f"{{% include 'p{n + 1}' %}}" * 10 for n in range(9)} | {"p9": "x" * 100}
    with pytest.raises(InvalidTemplate, match="too long"):
        compose("{% include 'p0' %}", partials.get)


def test_a_partial_that_would_include_itself_is_refused() -> None:
    others: dict[str, Any] = {"b": "{% include 'a' %}"}
    with pytest.raises(InvalidTemplate, match="a → b → a is a circle of references"):
        check_partial("a", "{% include 'b' %}", others)


def test_a_layout_with_a_required_block_is_accepted_by_itself() -> None:
    check_partial("strict", PARTIALS["strict"], {})
