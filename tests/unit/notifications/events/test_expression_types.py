"""Expressions whose types no data fits are found before they are saved."""

import pytest

from notifications.events import expression_types, expressions
from notifications.events.expressions import BadExpression


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("data.amount > [1]", "data.amount > [1]"),
        ("1 > 'a'", "1 > 'a'"),
        ("data.paid && data.amount > [1]", "'data.amount > [1]'"),
        ("has(data.a) || (data.b == 1 && !(data.c.d < [2]))", "data.c.d < [2]"),
        ("data.n in 5", "data.n in 5"),
        ("data.due > timestamp('2026-01-01T00:00:00Z')", "data.due"),
        ("5.startsWith('x')", "5.startsWith"),
        ("data.amount + 1", "true or false"),
        ("'yes'", "true or false"),
        ("1/0 == 1", "division by zero"),
        ("data.paid || 1 % 0 == 1", "modulo by zero"),
        ("data.amount / 0 > 1", "divides by zero"),
        ("data.vip && (data.amount%0 == 1)", "divides by zero"),
        ("[1][5] == 1", "out of bounds"),
        ("[1, 2].exists(x, x / 0 > 1)", "zero"),
        ("9223372036854775807 + 1 > 0", "verflow"),
    ],
)
def test_a_condition_that_no_data_fits_is_refused(expression: str, why: str) -> None:
    expressions.check(expression)
    with pytest.raises(BadExpression) as refused:
        expression_types.check(expression, "condition")
    assert why in str(refused.value)


@pytest.mark.parametrize(
    "expression",
    [
        "true",
        "data.paid",
        "!data.paid",
        "data.amount > 10",
        "data.amount > 1.5 && data.name.startsWith('A')",
        "data.tags == [1]",  # a list, or false
        "data.amount in [1, 2, 3]",
        "data.name in data.names",
        "timestamp(data.due) > timestamp('2026-01-01T00:00:00Z')",
        "duration(data.wait) > duration('1h')",
        "int(data.amount) > 5",
        "size(data.lines) > 2 && data.lines.all(l, l.price > 5)",
        "data.lines[0].price > 5",
        "has(data.phone) && data.phone.matches('^[+]43')",
        "data.customer.email.endsWith('@example.org') && size(data.customer) > 1",
        "data.vip ? data.amount > 1 : data.amount > 100",
        "data.a > 1 && data.b > 1 && data.c > 1 && data.d > 1 && data.e > 1",
        "data.a + data.b + data.c + data.d > 1",
        "(data.a == 'x') // data.b > [1]",
        "data.text == 'a && b > [1]'",
        "data.amount / 0.5 > 1.0",
        "data.amount / data.n > 1",
        "data.text == '1/0'",
        "data.amount > 1 // / 0",
    ],
)
def test_a_condition_that_some_data_fits_is_kept(expression: str) -> None:
    expressions.check(expression)
    expression_types.check(expression, "condition")


def test_recipients_are_text_or_a_list() -> None:
    for expression in ("data.customer", "data.lines.map(l, l.email)", "['ada', data.other]"):
        expression_types.check(expression, "recipients")
    for expression in ("data.amount > 5", "7"):
        with pytest.raises(BadExpression, match="must give text or a list"):
            expression_types.check(expression, "recipients")
