"""Bombs, and the published escapes from Jinja2's sandbox. None gets out; each ends as an error."""

import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from templates_engine.budget import CPU_SECONDS
from templates_engine.errors import RenderError, RenderLimitExceeded
from templates_engine.sandbox import HTML, PLAIN
from tests.unit.templates_engine.content import text, unchecked

ROOT = Path(__file__).resolve().parents[3]

LAUGHS = "{% set a = ['ha'] %}" + "{% set a = [a, a, a, a, a, a, a, a, a, a] %}" * 9
TWINS = (
    "{% set a = ['x'] %}{% set b = ['x'] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 60
    + "{{ a == b }}"
)
BOMBS = [
    "{{ 'a' * 10**9 }}",
    "{{ ['a'] * 10**9 }}",
    "{{ 10**(10**10) }}",
    "{% set ns = namespace(n=9) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000d}'.format(1) }}",
    "{{ 5|round(-1000000000) }}",
    "{{ [1]|batch(10**9, 'x')|list }}",
    "{{ 'ab'|replace('', big) }}",
    "{{ range(100000)|join(big) }}",
    "{{ range(10**9)|list }}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(9999) %}{% for j in range(9999) %}{{ i }}{% endfor %}{% endfor %}",
    "{% for i in range(9999) %}" + "x" * 9999 + "{% endfor %}",
    "{% set ns = namespace(s='aaaaaaaa') %}"
    "{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s='aaaaaaaa') %}"
    "{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(l=[1]) %}"
    "{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{{ ns.l|length }}",
    LAUGHS + "{{ a|tojson }}",
    LAUGHS + "{{ a ~ '' }}",
    LAUGHS + "{{ a|string }}",
    TWINS,
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro d(x) %}{{ x }}{{ x }}{% endmacro %}{{ " + "d(" * 40 + "'aaaaaaaa'" + ")" * 40 + " }}",
    "{% macro d(x) %}" + "{{ x }}" * 999 + "{% endmacro %}{{ d(d(d('aaaaaaaa'))) }}",
    "{% for i in range(90000) %}{% set s = big[1:] %}{% endfor %}",
    "{% for i in range(90000) %}{{ 'x' if big == twin }}{% endfor %}",
    "{% for i in range(90000) %}{{ 'x' if 'ab' in big }}{% endfor %}",
    "{% for i in range(90000) %}{% set s = big.upper() %}{% endfor %}",
    "{% for i in range(90000) %}{% set s = big.count('ab') %}{% endfor %}",
    "{% for i in range(90000) %}{% set s = big|upper %}{% endfor %}",
    "{% for i in range(90000) %}{% set s = 'x'|truncate(1, true, big) %}{% endfor %}",
]
BOMBS += [
    "{% set many = range(900000)|map(attribute='x', default=big) %}" + use
    for use in (
        "{{ many|select('eq', twin)|list|length }}",
        "{{ many|join }}",
        "{{ many|tojson }}",
        "{{ many|map('upper')|list|length }}",
        "{{ many|batch(2)|tojson }}",
    )
]
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ [1]|map('attr', '__class__')|list }}",
    "{{ [1]|map(attribute='__class__')|list }}",
    "{{ ['']|groupby('__class__') }}",
    "{{ ['']|sum(attribute='__class__') }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0.__class__}'.format_map({'0': 1}) }}",
    "{% set f = ''.format %}{{ f('{0.__class__}', 1) }}",
    "{{ ['{0.__class__}']|map('format', 1)|list }}",
    "{{ '%s'|format(1) }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ range.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for i in [1] %}{{ loop._iterable }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{{ varargs.__class__ }}{% endmacro %}{{ m(1) }}",
    "{{ missing.__class__ }}",
    "{{ missing.__init__.__globals__ }}",
    "{{ (missing|default(missing)).__class__ }}",
    "{{ config }}",
    "{{ request.application.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ thing }}",
    "{{ thing.password }}",
    "{{ function() }}",
    "{{ numbers.append(1) }}",
    "{{ numbers.sort() }}",
    "{{ order.update({'a': 1}) }}",
    "{{ order.pop('a') }}",
    "{% set order.a = 2 %}",
    "{% import 'os' as os %}",
    "{% from 'os' import popen %}",
    "{% autoescape false %}{{ name }}{% endautoescape %}",
    "{{ name|safe }}",
    "{{ x is filter('upper') }}",
    "{{ [-1000000000]|map('§spent')|list|length }}{{ 'a' * 9**9 }}",
    "{% debug %}",
    "{{ ()|xmlattr }}",
]


class Thing:
    password = "hunter2"

    def __str__(self) -> str:
        return self.password


CONTEXT: dict[str, Any] = {
    "big": "ab" * 250_000,
    "twin": "".join(["ab"] * 250_000),
    "name": "<b>",
    "numbers": [2, 1],
    "order": {"a": 1},
    "thing": Thing(),
    "function": lambda: "called",
}


def outcome(source: str) -> RenderError | str:
    try:
        return str(unchecked(source).render(CONTEXT)["text"])
    except RenderError as error:
        return error


@pytest.mark.parametrize("escape", ESCAPES)
def test_an_escape_ends_as_an_error_that_shows_no_value(escape: str) -> None:
    ended = outcome(escape)
    assert isinstance(ended, RenderError), ended
    assert "hunter2" not in str(ended)


def test_the_context_is_as_it_was_after_every_attempt() -> None:
    for escape in ESCAPES:
        outcome(escape)
    assert CONTEXT["numbers"] == [2, 1]
    assert CONTEXT["order"] == {"a": 1}


def ends_within_a_gigabyte() -> list[tuple[str, bool, float]]:
    """Return for each bomb whether it ended as an error, and its CPU seconds."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    ends = []
    for bomb in BOMBS:
        before = time.thread_time()
        ended = outcome(bomb)
        ends.append((bomb, isinstance(ended, RenderError), time.thread_time() - before))
    return ends


@pytest.mark.slow
def test_every_bomb_ends_as_a_render_error_and_costs_little_time_and_memory() -> None:
    # A new one: what the tests before have taken of a fork's memory depends on their order.
    call = f"import json, {__name__} as it; print(json.dumps(it.ends_within_a_gigabyte()))"
    child = subprocess.run(
        [sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    ends = json.loads(child.stdout)
    assert len(ends) == len(BOMBS)
    assert [bomb for bomb, failed, _ in ends if not failed] == []
    # CPU time, not the clock; some steps pass between two looks at it.
    assert [bomb for bomb, _, seconds in ends if seconds > 2 * CPU_SECONDS + 1] == []


@pytest.mark.slow
def test_bombs_in_threads_leave_other_threads_their_budgets() -> None:
    ends: list[RenderError | str] = []

    def run(source: str) -> None:
        ends.append(outcome(source))

    sources = [BOMBS[12], "{{ order.a }}"] * 4
    threads = [threading.Thread(target=run, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(end, RenderLimitExceeded) for end in ends) == 4
    assert ends.count("1") == 4


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("{{ order.items }}", "a key"),
        ("{{ order['items'] }}", "a key"),
        ("{% for key, value in order.pairs.items() %}{{ key }}{{ value }}{% endfor %}", "b2"),
        ("{{ name.upper().startswith('A') }}", "True"),
        (
            "{% for row in rows|groupby('kind') %}"
            "{{ row.grouper }}{{ row.list|length }}{% endfor %}",
            "x2y1",
        ),
        (
            "{% for row in rows %}{{ loop.index }}{{ '' if loop.last else ',' }}{% endfor %}",
            "1,2,3",
        ),
        ("{{ rows|map(attribute='n')|sum }} {{ rows|sum('n') }}", "6 6"),
        ("{{ rows|selectattr('kind', 'eq', 'x')|map(attribute='n')|join('+') }}", "1+2"),
        ("{{ (7 / 2)|round(1, 'floor') }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 2**10 }}", "3.5 3 3 1024"),
        (
            "{% set ns = namespace(n=0) %}"
            "{% for r in rows %}{% set ns.n = ns.n + r.n %}{% endfor %}"
            "{{ ns.n }}",
            "6",
        ),
        (
            "{% macro b(x, y='!') %}{{ x }}{{ y }}{% endmacro %}{{ b('a') }}{{ b('b', y='?') }}",
            "a!b?",
        ),
        ("{{ [1, 2, 3][1:]|join(',') }}{{ 'abc'[0] }}", "2,3a"),
        ("{{ rows|batch(2)|map('length')|join(',') }}", "2,1"),
        ("{{ {'a': [1]}|tojson }}", '{"a": [1]}'),
        (
            "{{ 'a long text'|truncate(8) }}|{{ ' a '|trim }}|{{ 'x'|replace('x', 'y') }}",
            "a long…|a|y",
        ),
    ],
)
def test_what_authors_need_works(source: str, printed: str) -> None:
    rows = [{"kind": "x", "n": 1}, {"kind": "x", "n": 2}, {"kind": "y", "n": 3}]
    order = {"items": "a key", "pairs": {"b": 2}}
    assert text(source, order=order, rows=rows, name="ada") == printed


def test_only_filters_known_to_be_bounded_are_there() -> None:
    dropped = {
        "attr",
        "format",
        "center",
        "indent",
        "safe",
        "random",
        "pprint",
        "urlize",
        "xmlattr",
    }
    for environment in (HTML, PLAIN):
        assert not dropped & environment.filters.keys()
        assert environment.globals.keys() == {"range", "namespace"}
