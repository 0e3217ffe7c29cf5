"""Expressions of rules: what is refused when saved, and that no evaluation goes on and on."""

import re
from typing import Any

import pytest

from notifications.events import expressions
from notifications.events.expressions import BadExpression

DATA = {
    "amount": 150,
    "customer": {"email": "ada@example.org", "vip": True},
    "lines": [{"to": f"a{number}@example.org", "price": number} for number in range(50)],
    "text": "x" * 50_000,
    "name": "ü😀",
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("data.amount > 100 && data.customer.vip", True),
        ("data.customer.email", "ada@example.org"),
        ("data.customer.email.endsWith('@example.org')", True),
        ("has(data.discount) && data.discount > 0", False),
        ("data.lines.filter(l, l.price > 47).map(l, l.to)", ["a48@example.org", "a49@example.org"]),
        ("'(' in ['(', '.map(']", True),
        ("size('ü') == 1 && 'ü'.size() == 1 && size(data.name) == 2", True),
        ("data.lines.filter(l, size(l.to) == 15).size()", 40),
        ("size(data) > 4 && size([1, 2]) == 2 && b'ab'.size() == 2", True),
        ("'size(' + r'\\' + \"\"\"'size('\"\"\" // size(", "size(\\'size('"),
        ("timestamp('2026-01-01T12:00:00Z').getHours() == 12", True),
        ("(1 in [1]) && 1 in ([1])", True),
        ("data.customer.email.matches('^ada@')", True),
    ],
)
def test_an_expression_reads_the_data(expression: str, value: Any) -> None:
    data = {**DATA, "text": ""}
    expressions.check(expression)
    assert expressions.evaluate(expression, data) == value


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("data.amount >", "At character 14"),
        ("data.amount > limit", "There is no 'limit'"),
        ("open('/etc/passwd')", "There is no function 'open'"),
        ("SIZE('a')", "There is no function 'SIZE'"),
        ("max(1, 2) > data.a", "There is no function 'max'"),
        (
            "timestamp(data.t).getHours('Europe/Berlin') == 13",
            "'getHours' takes no arguments, not 1",
        ),
        ("getHours(timestamp(data.t)) == 13", "Call 'getHours' as value.getHours(…)"),
        ("data.t.timestamp() == data.s", "Call 'timestamp' as timestamp(value)"),
        ("data.s.contains('a', 'b')", "'contains' takes 1 argument, not 2"),
        ("data.l.exists(x)", "'exists' takes 2 arguments, not 1"),
        ("data.s.matches('[')", "not a valid regex"),
        ("timestamp('noon') == data.t", "timestamp"),
        ("data.l.map(x, data.l.map(y, 1))", "inside another one"),
        ("data.l.map(x, x + x)", "inside a macro"),
        ("1" + " " * 500, "longer than 500"),
        *[(sign * 490 + "1", "nested too deeply") for sign in "(["],
    ],
)
def test_what_is_not_an_expression_is_refused_and_told_why(expression: Any, why: Any) -> None:
    with pytest.raises(BadExpression, match=re.escape(why)):
        expressions.check(expression)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("data.missing", "no 'missing'"),
        ("data.amount > 'x'", "No such overload"),
        ("data.amount / 0 > 1", "division by zero"),
        ("size(data.amount) > 1", "size takes a text, bytes, a list or an object"),
        ("data.lines.map(l, data.text)", "too large"),
    ],
)
def test_data_that_does_not_fit_is_told(expression: str, why: str) -> None:
    expressions.check(expression)
    with pytest.raises(BadExpression, match=why):
        expressions.evaluate(expression, DATA)
