import pytest

from templates_engine.analysis import needed_variables


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("{{ name }}", {"name"}),
        ("{{ user.name }} {{ rows[0] }} {{ rows[key] }}", {"user", "rows", "key"}),
        (
            "{% for x in xs %}{{ x }}{{ loop.index }}{% else %}{{ none_left }}{% endfor %}",
            {"xs", "none_left"},
        ),
        ("{% for x in xs %}{{ x }}{% endfor %}{{ x }}", {"xs", "x"}),
        ("{% for key, value in pairs %}{{ key }}{{ value }}{% endfor %}", {"pairs"}),
        ("{% for x in xs if x.on and wanted %}{{ x }}{% endfor %}", {"xs", "wanted"}),
        ("{% set x = y %}{{ x }}", {"y"}),
        ("{% set x %}{{ y }}{% endset %}{{ x }}", {"y"}),
        ("{{ x }}{% set x = 1 %}", {"x"}),
        ("{{ x|default('a') }}{{ y|d }}", set()),
        ("{{ x|default(y) }}", {"y"}),
        ("{{ x|default('a')|upper }}", set()),
        ("{{ x|upper|default('a') }}", {"x"}),
        ("{{ x.y|default('a') }}", {"x"}),
        ("{{ x|default('a') }}{{ x }}", {"x"}),
        ("{% if x is defined %}{{ x }}{% endif %}", set()),
        ("{% if x is defined and x > y %}{{ x }}{% endif %}", {"y"}),
        ("{% if x is undefined %}none{% else %}{{ x }}{% endif %}", set()),
        ("{% if x is undefined or x %}{% endif %}", set()),
        ("{% if not (x is defined) %}none{% elif y %}{{ x }}{% else %}{{ x }}{% endif %}", {"y"}),
        ("{% if x is defined %}{% endif %}{{ x }}", {"x"}),
        ("{{ x if x is defined else 'a' }}", set()),
        ("{{ 'a' if x is defined else x }}", {"x"}),
        ("{% if a %}{% set x = 1 %}{% endif %}{{ x }}", {"a", "x"}),
        ("{% if a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", {"a"}),
        (
            "{% if a %}{% set x = 1 %}{% elif b %}{% set x = 2 %}{% else %}"
            "{% set x = 3 %}{% endif %}{{ x }}",
            {"a", "b"},
        ),
        ("{% if a %}{{ x }}{% endif %}", {"a", "x"}),
        ("{% with x = y %}{{ x }}{% endwith %}{{ x }}", {"x", "y"}),
        ("{% macro m(a, b=c) %}{{ a }}{{ b }}{{ d }}{% endmacro %}{{ m(e) }}", {"c", "d", "e"}),
        (
            "{% macro m() %}{{ caller('x') }}{% endmacro %}"
            "{% call(v) m() %}{{ v }}{{ w }}{% endcall %}",
            {"w"},
        ),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(k) %}{% set ns.n = ns.n + i %}"
            "{% endfor %}{{ ns.n }}",
            {"k"},
        ),
        ("{% filter upper %}{{ x }}{% endfilter %}", {"x"}),
        ("{{ locale }}{{ xs|map(attribute='x')|join(', ') }}", {"xs"}),
        ("{{ a|money(currency) }}", {"a", "currency"}),
        ("{% set x = x|default(1) %}{{ x }}", set()),
    ],
)
def test_the_needed_variables_are_those_that_some_path_uses_unguarded(
    source: str, needed: set[str]
) -> None:
    assert needed_variables(source) == needed
