"""Conditions and addresses as data: CEL (cel.dev), checked when saved, bounded when evaluated.

An expression sees ``data`` alone and calls the functions of ``FUNCTIONS``. It has no loops but
CEL's macros over lists. What one evaluation may cost is bounded by the length of the expression,
the size of the data and, where a macro walks a list, the product of both.
"""

import json
import re
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from notifications.core.text import printable
from notifications.models.event import LONGEST_EXPRESSION

if TYPE_CHECKING:
    import cel

MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
FUNCTIONS = frozenset(
    {
        *("bool", "bytes", "contains", "double", "duration", "endsWith", "getDate"),
        *("getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours"),
        *("getMilliseconds", "getMinutes", "getMonth", "getSeconds", "has", "int", "matches"),
        *("max", "min", "size", "startsWith", "string", "timestamp", "uint"),
    }
)
COSTLIEST = 20_000_000  # characters of data * items of the longest list * tokens: about 0.2 s

_TEXT = r"""[rRbB]{0,2}(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
_TOKENS = re.compile(rf"{_TEXT}|\w+|\S")


class BadExpression(Exception):
    """An expression cannot be saved, or gives nothing for this data. Its text says why."""


def check(expression: str) -> None:
    """Check an expression before it is saved. Raises ``BadExpression``."""
    if len(expression) > LONGEST_EXPRESSION:
        raise BadExpression(f"It is longer than {LONGEST_EXPRESSION} characters.")
    program = _compiled(expression)
    tokens = _TOKENS.findall(expression)
    bound = _check_macros(tokens)
    for name in program.variables():
        if name != "data" and name not in bound:
            raise BadExpression(f"There is no {name!r}: an expression sees data alone.")
    for name in program.functions():
        if name.isidentifier() and not name.startswith("_") and name not in FUNCTIONS | MACROS:
            raise BadExpression(f"There is no function {name!r}.")


def evaluate(expression: str, data: dict[str, Any]) -> Any:
    """Return what an expression gives for an event's data. Raises ``BadExpression``."""
    check(expression)
    tokens = _TOKENS.findall(expression)
    if MACROS.intersection(tokens):
        cost = len(json.dumps(data)) * _longest_list(data) * len(tokens)
        if cost > COSTLIEST:
            raise BadExpression("The data is too large for an expression that walks lists.")
    try:
        return _compiled(expression).execute({"data": data})
    except KeyError as error:
        raise BadExpression(f"The data has no {printable(str(error))}.") from None
    except Exception as error:  # noqa: BLE001 -- whatever it is, this data has raised it
        raise BadExpression(_first_sentence(error)) from None


@lru_cache(maxsize=2000)
def _compiled(expression: str) -> "cel.Program":
    # Imported by whoever evaluates: it takes 30 MB, which no worker and no scheduler needs.
    compiler = import_module("cel")
    try:
        program: cel.Program = compiler.compile(expression)
    except Exception as error:  # noqa: BLE001 -- the parser's classes are no part of its contract
        raise BadExpression(_where(error)) from None
    return program


def _check_macros(tokens: list[str]) -> set[str]:
    """Return the names that macros bind. Raises ``BadExpression`` where they could multiply."""
    bound: set[str] = set()
    closes: list[bool] = []  # of each open parenthesis, whether it is a macro's
    for place, part in enumerate(tokens):
        if part == "(":
            macro = place > 1 and tokens[place - 1] in MACROS and tokens[place - 2] == "."
            if macro and any(closes):
                raise BadExpression("It walks a list within a list.")
            if macro:
                bound.update(tokens[place + 1 : place + 2])
            closes.append(macro)
        elif part == ")" and closes:
            closes.pop()
        elif part == "+" and any(closes):
            raise BadExpression("It adds within a list's walk, which could grow without end.")
    return bound


def _longest_list(value: Any) -> int:
    """Return the length of the longest list, or object, within a value of JSON."""
    longest, unseen = 1, [value]
    while unseen:
        part = unseen.pop()
        if isinstance(part, dict | list):
            longest = max(longest, len(part))
            unseen.extend(part.values() if isinstance(part, dict) else part)
    return longest


def _where(error: Exception) -> str:
    """Return what the parser says of the first mistake, with its column."""
    if "Recursion limit" in str(error):
        return "It is nested too deeply."
    found = re.search(r"ERROR: <input>:\d+:(\d+): ([^\n]{1,200})", str(error))
    if found is None:
        return "It is not an expression of CEL."
    return printable(f"At character {found[1]}: {found[2]}")


def _first_sentence(error: Exception) -> str:
    return printable(str(error).split(".")[0][:200] + ".")
