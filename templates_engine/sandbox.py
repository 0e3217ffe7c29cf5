"""The Jinja2 environment that content runs in: plain values only, each growing step paid for.

Jinja2's own sandbox forbids what is known to be dangerous. Here, only what is known to be harmless
is allowed: attributes and methods by type, filters and functions by name.
"""

import operator
import types
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from jinja2 import StrictUndefined, Template, Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, _GroupTuple
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from markupsafe import Markup

from templates_engine import filters, formatting, metering
from templates_engine.budget import LimitReached, spend
from templates_engine.values import (
    BadValue,
    Json,
    Printed,
    emit_block,
    emit_chat,
    emit_html,
    emit_json,
    emit_text,
    join_html,
    join_text,
    measured,
    paid,
)

# Bits of a whole number that arithmetic may reach.
MAX_INTEGER_BITS = 1024
_CALL_COST = 10

_TEXT = frozenset(
    [
        "capitalize",
        "casefold",
        "count",
        "endswith",
        "find",
        "index",
        "isalpha",
        "isdigit",
        "isnumeric",
        "isspace",
        "islower",
        "isupper",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "rpartition",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
    ]
)
_DATE = frozenset(["year", "month", "day", "weekday", "isoweekday", "isoformat"])
_TIME = frozenset(["hour", "minute", "second", "isoformat"])
_LOOP = frozenset(
    [
        "index",
        "index0",
        "revindex",
        "revindex0",
        "first",
        "last",
        "length",
        "depth",
        "depth0",
        "previtem",
        "nextitem",
        "cycle",
        "changed",
    ]
)
ATTRIBUTES: dict[type, frozenset[str]] = {
    str: _TEXT,
    Markup: _TEXT,
    Printed: _TEXT,
    Json: _TEXT,
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    _GroupTuple: frozenset({"grouper", "list"}),
    date: _DATE,
    datetime: _DATE | _TIME | {"date", "time"},
    time: _TIME,
    timedelta: frozenset({"days", "seconds"}),
    LoopContext: _LOOP,
    int: frozenset(),
    float: frozenset(),
    bool: frozenset(),
    Decimal: frozenset(),
    type(None): frozenset(),
}
_SUBSCRIPTABLE = (dict, list, tuple, str)
_NUMBERS = (int, float, Decimal)
_DATES = (date, timedelta)


class NamedValues(Namespace):
    """``namespace()``, which can hold itself, so it must not be printed item by item."""

    def __repr__(self) -> str:
        return "<namespace>"


def _range(*bounds: int) -> range:
    return paid(range(*bounds))


class _Generator(CodeGenerator):
    """Prints through the environment's ``emit``, joins through its ``join``, folds no constants."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write("environment.emit(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 -- the library's own name
        self.write("environment.join((")
        for item in node.nodes:
            self.visit(item, frame)
            self.write(", ")
        self.write("))")


class Sandbox(ImmutableSandboxedEnvironment):
    """One for each way of printing a value: HTML, chat, Slack's blocks, JSON, and all else."""

    code_generator_class = _Generator
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, emit: Callable[[Any], str] = emit_text, *, html: bool = False) -> None:
        super().__init__(
            autoescape=html,
            undefined=StrictUndefined,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=0,
        )
        self.emit = emit
        self.join: Callable[[Any], str] = join_html if html else join_text
        self.globals = {"range": _range, "namespace": NamedValues}
        self.filters = {
            **filters.allowed(FILTERS),
            **formatting.FILTERS,
            **metering.METERS,
        }
        self.tests = metering.watched_tests(self.tests)

    def compiled(self, source: str) -> Template:
        """Compile a source.

        Raises: jinja2.TemplateSyntaxError; whatever a hostile source makes Python's compiler raise.
        """
        tree = self.parse(source)
        metering.refuse_what_is_not_supported(tree)
        metering.meter(tree)
        return self.template_class.from_code(self, self.compile(tree), self.globals)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look a name up: a dict's keys come before its methods, so ``order.items`` is a key.

        Like the two below, it lets an undefined object raise by asking for its text.
        """
        kind = type(obj)
        if kind is dict and attribute in obj:
            return obj[attribute]
        if kind is NamedValues:
            return self._item_of(obj, attribute)
        if attribute in ATTRIBUTES.get(kind, ()):
            return getattr(obj, attribute)
        if isinstance(obj, Undefined):
            return str(obj)
        if kind in ATTRIBUTES and not hasattr(kind, attribute):
            return self.undefined(obj=obj, name=attribute)
        return self.unsafe_undefined(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Subscribe: an index or key first, an allowed attribute otherwise."""
        if isinstance(obj, Undefined):
            return str(obj)
        if isinstance(obj, _SUBSCRIPTABLE):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        if type(argument) is str:
            return self.getattr(obj, argument)
        return self.undefined(obj=obj, name=argument)

    def _item_of(self, obj: NamedValues, name: str) -> Any:
        if name.startswith("_"):
            return self.unsafe_undefined(obj, name)
        try:
            return getattr(obj, name)
        except AttributeError:
            return self.undefined(obj=obj, name=name)

    def is_safe_callable(self, obj: Any) -> bool:
        """Macros, our own functions, and allowed methods of plain values."""
        if isinstance(obj, Macro) or obj is _range or obj is NamedValues:
            return True
        if not isinstance(obj, types.BuiltinMethodType | types.MethodType):
            return False
        return obj.__name__ in ATTRIBUTES.get(type(obj.__self__), ())

    def call(
        __self,  # noqa: N805 -- Jinja2's own: keyword arguments may be named self
        __context: Context,
        __obj: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Call what is safe, and pay for what it works on and returns."""
        if isinstance(__obj, Undefined):
            return str(__obj)
        if not __self.is_safe_callable(__obj):
            raise SecurityError(f"a {type(__obj).__name__} can't be called")
        spend(_CALL_COST)
        if not isinstance(__obj, Macro):
            paid(getattr(__obj, "__self__", None))
        result = paid(__context.call(__obj, *args, **kwargs))
        if __self.emit in (emit_chat, emit_block, emit_json) and isinstance(__obj, Macro):
            return Printed(result)
        return result

    def call_binop(self, context: Context, op: str, left: Any, right: Any) -> Any:
        """Calculate with bounds.

        Raises: BadValue, LimitReached.
        """
        if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
            return _calculated(op, left, right)
        if op == "+" and type(left) is type(right) and isinstance(left, list | tuple):
            return measured(left + right)
        if op == "+" and isinstance(left, str) and isinstance(right, str):
            return self.join((left, right))
        if op == "*" and isinstance(left, str) and isinstance(right, int):
            spend(len(left) * right)
            return left * right
        if op in "+-" and isinstance(left, _DATES) and isinstance(right, _DATES):
            return self.binop_table[op](left, right)
        for side in (left, right):
            if isinstance(side, Undefined):
                return str(side)
        kinds = f"{type(left).__name__} {op} {type(right).__name__}"
        raise BadValue(f"{kinds} can't be calculated.")


def _calculated(op: str, left: Any, right: Any) -> Any:
    if isinstance(left, float) and isinstance(right, Decimal):
        left = Decimal(str(left))
    if isinstance(right, float) and isinstance(left, Decimal):
        right = Decimal(str(right))
    powers = op == "**" and isinstance(left, int) and isinstance(right, int)
    if powers and left.bit_length() * abs(right) > MAX_INTEGER_BITS:
        raise LimitReached("It calculates a number that is too large.")
    result = _OPERATORS[op](left, right)
    if isinstance(result, int) and result.bit_length() > MAX_INTEGER_BITS:
        raise LimitReached("It calculates a number that is too large.")
    return result


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}

HTML = Sandbox(emit_html, html=True)
CHAT = Sandbox(emit_chat)
BLOCKS = Sandbox(emit_block)
JSON = Sandbox(emit_json)
PLAIN = Sandbox()
