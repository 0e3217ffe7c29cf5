"""The general filters: Jinja2's own where they can be bounded, ours where they can't.

Left out on purpose: ``attr`` (a way round the sandbox), ``format``, ``center``, ``indent``,
``slice``, ``wordwrap``, ``pprint``, ``xmlattr``, ``urlize``, ``striptags``, ``random`` and
``filesizeformat`` (unbounded, quadratic, or different each time), ``safe`` (values are escaped).
"""

import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import Environment, pass_environment, pass_eval_context
from jinja2.filters import make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from templates_engine.budget import LimitReached
from templates_engine.values import BadValue, Json, measured, paid, printable

Filter = Callable[..., Any]

_OF_TEXT = ["capitalize", "lower", "title", "trim", "upper", "urlencode", "wordcount", "string"]
_OF_ANYTHING = [
    "abs",
    "count",
    "dictsort",
    "first",
    "float",
    "groupby",
    "items",
    "last",
    "length",
    "list",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "unique",
]
_AS_THEY_ARE = ("d", "default", "e", "escape")
MAX_DECIMALS = 20


def allowed(builtin: dict[str, Filter]) -> dict[str, Filter]:
    """Choose from Jinja2's filters, each made to pay, and add ours."""
    return {
        **{name: builtin[name] for name in _AS_THEY_ARE},
        **{name: _paying(builtin[name], _text_or_link_parts) for name in _OF_TEXT},
        **{name: _paying(builtin[name], paid) for name in _OF_ANYTHING},
        "batch": _batch,
        "int": _int,
        "join": _join,
        "nl2br": _nl2br,
        "replace": _replace,
        "round": _round,
        "sum": _sum,
        "tojson": _tojson,
        "truncate": _truncate,
    }


def _paying(function: Filter, look_at: Callable[[Any], Any]) -> Filter:
    """Pay for the input and the output; what is produced lazily is collected to be counted."""
    position = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        look_at(args[position])
        result = function(*args, **options)
        return paid(list(result) if isinstance(result, Iterator) else result)

    return wrapper


def _text_or_link_parts(value: Any) -> Any:
    # urlencode makes a query of a dict, or of a list of pairs.
    if isinstance(value, dict):
        return [printable(item) for pair in value.items() for item in pair]
    return printable(value)


def _batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> list[list[Any]]:
    items = paid(list(value))
    if not 1 <= linecount <= 1000:
        raise BadValue("batch makes rows of 1 to 1000.")
    rows = [items[start : start + linecount] for start in range(0, len(items), linecount)]
    if rows and fill_with is not None:
        rows[-1] += [fill_with] * (linecount - len(rows[-1]))
    return rows


def _int(value: Any, default: int = 0) -> int:
    text = value if isinstance(value, int | float) else printable(value)
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return default


@pass_environment
def _join(
    environment: Environment, value: Iterable[Any], d: str = "", attribute: str | None = None
) -> str:
    items = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    texts = [printable(item) for item in items]
    paid(d)
    if len(texts) * len(d) > 1_000_000:
        raise LimitReached("It joins too much.")
    if environment.autoescape:
        return paid(escape(d).join(texts))
    return paid(d.join(texts))


@pass_eval_context
def _nl2br(context: EvalContext, value: Any) -> str:
    """Keep line breaks in HTML; elsewhere they need no help."""
    text = printable(value)
    if not context.autoescape:
        return text
    return Markup("<br>\n").join(escape(line) for line in text.splitlines())


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    text, old, new = printable(value), printable(old), printable(new)
    if (text.count(old) + 1) * len(new) > 1_000_000:
        raise LimitReached("It replaces too much.")
    return paid(text.replace(old, new, count))


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if not isinstance(precision, int) or abs(precision) > MAX_DECIMALS:
        raise BadValue(f"round takes at most {MAX_DECIMALS} decimals.")
    if method not in ("common", "ceil", "floor"):
        raise BadValue("round takes the methods common, ceil and floor.")
    if method == "common":
        return float(round(value, precision))
    scale = 10.0**precision
    exact: float = value * scale
    whole = math.ceil(exact) if method == "ceil" else math.floor(exact)
    return whole / scale


@pass_environment
def _sum(
    environment: Environment, iterable: Iterable[Any], attribute: Any = None, start: float = 0
) -> Any:
    numbers = paid(list(iterable))
    if attribute is not None:
        numbers = list(map(make_attrgetter(environment, attribute), numbers))
    total: Any = start
    for number in numbers:
        total = environment.call_binop(None, "+", total, number)  # type: ignore[attr-defined]
    return total


@pass_eval_context
def _tojson(context: EvalContext, value: Any) -> str:
    """Write JSON; in HTML with the characters escaped that would end a script or an attribute."""
    measured(value)
    if context.autoescape:
        return paid(htmlsafe_json_dumps(value))
    try:
        return paid(Json(json.dumps(value, ensure_ascii=False)))
    except TypeError:
        raise BadValue("tojson writes plain values only.") from None


def _truncate(value: Any, length: int = 255, killwords: bool = False, end: str = "…") -> str:  # noqa: FBT001, FBT002 -- as Jinja2's
    text, end = printable(value), printable(end)
    if len(text) <= length:
        return text
    cut = text[: max(0, length - len(end))]
    if not killwords:
        cut = cut.rsplit(" ", 1)[0]
    return cut + end
