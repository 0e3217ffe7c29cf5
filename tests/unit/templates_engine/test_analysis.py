import pytest

from templates_engine.analysis import needed_variables, printed_values
from templates_engine.errors import InvalidContext, MissingVariables
from tests.unit.templates_engine.content import version


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


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("Hi {{ name }}, {{ n|upper }} {{ a ~ b }}", {"name", "n", "a", "b"}),
        ("{{ user.name }} {{ user['home'].city|title }}", {"user.name", "user.home.city"}),
        ("{{ rows[0] }} {{ rows[0].name }} {{ f(x).y }} {{ items|default([]) }}", set()),
        ("{% if user.name %}{{ user.name }}{% endif %}{{ user.city }}", set()),
        ("{% for x in xs %}{{ x }}{% endfor %}", set()),
        ("{% if name %}Hi {{ name }}{% else %}Hello{% endif %}", set()),
        ("{{ name or 'there' }} {{ other if other else 'x' }}", set()),
        ("{% if name is defined %}{{ name }}{% endif %}", set()),
        ("{{ name|default('there', true) }}", set()),
        ("{% set x = y %}{{ x }}", set()),
    ],
)
def test_what_is_printed_bare_would_leave_a_hole(source: str, printed: set[str]) -> None:
    assert {".".join(path) for path in printed_values(source)} == printed


@pytest.mark.parametrize("empty", ["", "  ", "\u00a0", "\u200b\u200e", "\ufeff\n", None])
def test_nothing_is_sent_with_a_hole(empty: str | None) -> None:
    made = version(text="Hi {{ name }}, {{ n }}.")
    with pytest.raises(MissingVariables, match="name, which must not be empty"):
        made.check({"name": empty, "n": 0}, nulls=False)
    made.check({"name": "Ada", "n": 0})


@pytest.mark.parametrize(
    ("source", "context", "place"),
    [
        ("{{ n }}", {"n": [1]}, "n"),
        ("{{ user }}", {"user": {"name": "Ada"}}, "user"),
        ("{{ user.tags }}", {"user": {"tags": ["a"]}}, "user.tags"),
        ("{{ n|join(', ') }}{{ user.tags|length }}", {"n": [1], "user": {"tags": []}}, ""),
        ("{% for n in n %}{{ n }}{% endfor %}", {"n": [1]}, ""),
        ("{{ n.0 }}{{ n[1] }}{{ user.tags }}", {"n": [1, 2], "user": "Ada"}, ""),
    ],
)
def test_what_has_no_text_is_refused_by_its_place(
    source: str, context: dict[str, object], place: str
) -> None:
    made = version(text=source)
    if not place:
        made.check(context)
        return
    with pytest.raises(InvalidContext, match="must be a text or a number") as refused:
        made.check(context)
    assert refused.value.path == place


@pytest.mark.parametrize(
    ("source", "good", "bad"),
    [
        ("{{ sum|money('EUR') }}", [1, "9.60", 1.5], ["1.234,50", "abc", "", [1], "1" * 70]),
        ("{{ sum|number }}{{ sum|percent(1) }}", ["0.2"], ["20 %"]),
        ("{{ sum|plural('a', 'b') }}", [2], ["two"]),
        ("{{ sum|date('long') }}", ["2026-12-31", "2026-12-31T09:00:00+01:00"], ["31.12.2026", 7]),
        ("{{ sum|datetime }} {{ sum|time }}", ["2026-12-31T09:00"], ["tomorrow"]),
        ("{% if sum %}{{ sum|money('EUR') }}{% endif %}", ["", "abc"], []),
        ("{% for sum in sum %}{{ sum|number }}{% endfor %}", [[1, 2]], []),
        ("{{ sum|upper|phone }}", ["abc"], []),
    ],
)
def test_what_a_filter_cannot_format_is_refused_at_submission(
    source: str, good: list[object], bad: list[object]
) -> None:
    made = version(text=source + ".")
    for value in good:
        made.check({"sum": value}, nulls=False)
    for value in bad:
        with pytest.raises((InvalidContext, MissingVariables), match=r"\bsum\b"):
            made.check({"sum": value}, nulls=False)


@pytest.mark.parametrize("user", [{"name": ""}, {"name": None}, {}, {"name": "\u3000"}])
def test_no_hole_is_left_by_what_stands_in_an_object(user: dict[str, object]) -> None:
    schema = {"properties": {"user": {"properties": {"title": {"minLength": 0}}}}}
    made = version(text="{{ user.title }} {{ user.name }}", context_schema=schema)
    with pytest.raises(MissingVariables, match=r"user\.name, which must not be empty"):
        made.check({"user": {"title": "", **user}}, nulls=False)
    made.check({"user": {"title": "", "name": "Ada"}}, nulls=False)
    deeper = version(text="{{ user.name.first }}")
    nothing: list[dict[str, object]] = [{}, {"name": None}, {"name": {}}]
    for lacking in nothing:
        with pytest.raises(MissingVariables, match=r"user\.name\.first, which must not be empty"):
            deeper.check({"user": lacking}, nulls=False)


@pytest.mark.parametrize(
    "rule", [{"minLength": 0}, {"type": ["string", "null"]}, {"enum": ["", "Dr."]}]
)
def test_a_schema_may_say_that_a_variable_may_be_empty(rule: dict[str, object]) -> None:
    schema = {"properties": {"title": rule}}
    version(text="Hi {{ title }} Ada", context_schema=schema).check({"title": ""})
