"""Expressions of rules: what is refused when saved, and that no evaluation goes on and on."""

import pytest

from notifications.events import expressions
from notifications.events.expressions import BadExpression

DATA = {
    "amount": 150,
    "customer": {"email": "ada@example.org", "vip": True},
    "lines": [{"to": f"a{number}@example.org", "price": number} for number in range(50)],
    "text": "x" * 50_000,
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
    ],
)
def test_an_expression_reads_the_data(expression, value):
    data = {**DATA, "text": ""}
    expressions.check(expression)
    assert expressions.evaluate(expression, data) == value


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("data.amount >", "At character 14"),
        ("data.amount > limit", "There is no 'limit'"),
        ("open('/etc/passwd')", "There is no function 'open'"),
        ("data.l.map(x, data.l.map(y, 1))", "a list within a list"),
        ("data.l.map(x, x + x)", "adds within"),
        ("1" + " " * 500, "longer than 500"),
        *[(sign * 490 + "1", "nested too deeply") for sign in "(["],
    ],
)
def test_what_is_not_an_expression_is_refused_and_told_why(expression, why):
    with pytest.raises(BadExpression, match=why.replace("(", r"\(")):
        expressions.check(expression)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("data.missing", "no 'missing'"),
        ("data.amount > 'x'", "No such overload"),
        ("data.amount / 0 > 1", "division by zero"),
        ("data.lines.map(l, data.text)", "too large"),
    ],
)
def test_data_that_does_not_fit_is_told(expression, why):
    expressions.check(expression)
    with pytest.raises(BadExpression, match=why):
        expressions.evaluate(expression, DATA)
