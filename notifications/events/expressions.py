"""Conditions and addresses as data: CEL (cel.dev), checked when saved, bounded when evaluated.

An expression sees ``data`` alone and calls ``FUNCTIONS`` and ``METHODS``. It has no loops but
CEL's macros over lists. What one evaluation may cost is bounded by the length of the expression,
the size of the data and, where a macro walks a list, the product of both.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from notifications.core.text import printable
from notifications.models.event import LONGEST_EXPRESSION

if TYPE_CHECKING:
    import cel

# The arguments that each function takes; what is called on a value is a method.
MACROS = {"all": (2,), "exists": (2,), "exists_one": (2,), "filter": (2,), "map": (2, 3)}
FUNCTIONS = {
    **dict.fromkeys(("bytes", "double", "duration", "has", "int"), (1,)),
    **dict.fromkeys(("size", "string", "timestamp", "uint"), (1,)),
}
METHODS = {
    **MACROS,
    **dict.fromkeys(("contains", "endsWith", "matches", "startsWith"), (1,)),
    **dict.fromkeys(("getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"), (0,)),
    **dict.fromkeys(("getFullYear", "getHours", "getMilliseconds", "getMinutes"), (0,)),
    **dict.fromkeys(("getMonth", "getSeconds", "size"), (0,)),
}
# The library counts the bytes of a text, and lets nobody replace its ``size``.
SIZE = "SIZE"  # as long as ``size``: what the library says of a place stays true
COSTLIEST = 20_000_000  # characters of data * items of the longest list * tokens: about 0.2 s

_RAW_TEXT = r"""[bB]?[rR][bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"]*"|'[^']*')"""
_PLAIN_TEXT = (
    r"""[bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}"""
    r"""|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
)
_TEXT = re.compile(f"{_RAW_TEXT}|{_PLAIN_TEXT}", re.DOTALL)
TOKENS = re.compile(rf"{_TEXT.pattern}|//[^\n]*|\w+|\S", re.DOTALL)
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")


class BadExpression(Exception):
    """An expression cannot be saved, or gives nothing for this data. Its text says why."""


def check(expression: str) -> None:
    """Check an expression before it is saved. Raises ``BadExpression``."""
    if len(expression) > LONGEST_EXPRESSION:
        raise BadExpression(f"It is longer than {LONGEST_EXPRESSION} characters.")
    program = _compiled(expression)
    tokens = _tokens(expression)
    bound = _check_macros(tokens)
    for name in program.variables():
        if name != "data" and name not in bound:
            raise BadExpression(f"There is no {name!r}: an expression can use only data.")
    for name in program.functions():
        if name.isidentifier() and name not in FUNCTIONS | METHODS and not name.startswith("_"):
            raise BadExpression(f"There is no function {name!r}.")
    for call in _calls(tokens):
        _check_call(call)


def evaluate(expression: str, data: dict[str, Any]) -> Any:
    """Return what an expression gives for an event's data. Raises ``BadExpression``."""
    check(expression)
    tokens = _tokens(expression)
    if MACROS.keys() & set(tokens):
        cost = len(json.dumps(data)) * _longest_list(data) * len(tokens)
        if cost > COSTLIEST:
            raise BadExpression("The data is too large for an expression that walks lists.")
    try:
        return run(expression, data)
    except KeyError as error:
        raise BadExpression(f"The data has no {printable(str(error))}.") from None
    except Exception as error:  # noqa: BLE001 -- whatever it is, this data has raised it
        raise BadExpression(first_sentence(error)) from None


def run(expression: str, data: dict[str, Any]) -> Any:
    """Evaluate an expression that was checked. Raises whatever the library does."""
    return _compiled(_with_our_size(expression)).execute({"data": data, SIZE: _size})


@lru_cache(maxsize=2000)
def _compiled(expression: str) -> "cel.Program":
    # Imported by whoever evaluates: it takes 30 MB, which no worker and no scheduler needs.
    compiler = import_module("cel")
    try:
        program: cel.Program = compiler.compile(expression)
    except Exception as error:  # noqa: BLE001 -- the parser's classes are no part of its contract
        raise BadExpression(_where(error)) from None
    return program


def _tokens(expression: str) -> list[str]:
    return [part for part in TOKENS.findall(expression) if not part.startswith("//")]


def _with_our_size(expression: str) -> str:
    """Return an expression that calls ``_size`` wherever it calls ``size``."""
    parts = list(TOKENS.finditer(expression))
    for part, following in reversed(list(pairwise(parts))):
        if part[0] == "size" and following[0] == "(":
            expression = expression[: part.start()] + SIZE + expression[part.end() :]
    return expression


def _size(value: Any) -> int:
    """Count the characters of a text, as CEL has it, or the items of a list or an object."""
    if isinstance(value, str | bytes | list | dict):
        return len(value)
    raise TypeError("size takes a text, bytes, a list or an object")


class _Call(NamedTuple):
    name: str
    is_method: bool
    arguments: list[list[str]]


def _calls(tokens: list[str]) -> Iterator[_Call]:
    """Read each call of a function: its name, and the tokens of each argument."""
    for place, part in enumerate(tokens):
        if part == "(" and place and tokens[place - 1].isidentifier():
            is_method = place > 1 and tokens[place - 2] == "."
            if tokens[place - 1] != "in":
                yield _Call(tokens[place - 1], is_method, _arguments(tokens[place + 1 :]))


def _arguments(tokens: list[str]) -> list[list[str]]:
    """Split what follows an opening parenthesis at its commas, up to the closing one."""
    arguments: list[list[str]] = [[]]
    depth = 0
    for part in tokens:
        depth += (part in _OPEN) - (part in _CLOSE)
        if depth < 0:
            break
        if part == "," and not depth:
            arguments.append([])
        else:
            arguments[-1].append(part)
    return arguments if arguments[0] else []


def _check_call(call: _Call) -> None:
    """Check that a function is called as it can be. Raises ``BadExpression``."""
    name, is_method, arguments = call
    counts = (METHODS if is_method else FUNCTIONS).get(name)
    if counts is None and name in FUNCTIONS | METHODS:
        how = f"{name}(value)" if is_method else f"value.{name}(…)"
        raise BadExpression(f"Call {name!r} as {how}.")
    if counts is None:
        raise BadExpression(f"There is no function {name!r}.")
    if len(arguments) not in counts:
        raise BadExpression(
            f"{name!r} takes {counts[0] or 'no'} argument{'' if counts[0] == 1 else 's'}, "
            f"not {len(arguments)}."
        )
    if name not in MACROS and len(arguments) == 1 and len(arguments[0]) == 1:
        (literal,) = arguments[0]
        if _TEXT.fullmatch(literal):
            value = "''." if is_method else ""
            _check_literal(f"{value}{name}({literal})")


def _check_literal(call: str) -> None:
    """Try a call whose argument is a literal, such as a pattern. Raises ``BadExpression``."""
    try:
        _compiled(_with_our_size(call)).execute({SIZE: _size})
    except Exception as error:  # noqa: BLE001 -- as above
        raise BadExpression(first_sentence(error)) from None


def _check_macros(tokens: list[str]) -> set[str]:
    """Return the names that macros bind. Raises ``BadExpression`` where they could multiply."""
    bound: set[str] = set()
    closes: list[bool] = []  # of each open parenthesis, whether it is a macro's
    for place, part in enumerate(tokens):
        if part == "(":
            macro = place > 1 and tokens[place - 1] in MACROS and tokens[place - 2] == "."
            if macro and any(closes):
                raise BadExpression("A macro over a list cannot stand inside another one.")
            if macro:
                bound.update(tokens[place + 1 : place + 2])
            closes.append(macro)
        elif part == ")" and closes:
            closes.pop()
        elif part == "+" and any(closes):
            raise BadExpression(
                "A + cannot stand inside a macro over a list: its result could grow without limit."
            )
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


def first_sentence(error: Exception) -> str:
    """Return what the library says of a fault, up to its first full stop."""
    return printable(str(error).split(".")[0][:200] + ".")
