"""Makes a template pay as it runs: the weights of its loops are worked out when it is compiled."""

from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError

from templates_engine.budget import current, spend
from templates_engine.values import FREE_LENGTH, measured, paid

# Names that no template can write, because they are not identifiers.
COUNTED, SPENT, TICKED, MEASURED, PAID = ("§counted", "§spent", "§ticked", "§measured", "§paid")

_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Import: "import is not supported; define the macro in the template, or include",
    nodes.FromImport: "import is not supported; define the macro in the template, or include",
    nodes.ScopedEvalContextModifier: "autoescape can't be changed: HTML is always escaped",
    nodes.EvalContextModifier: "autoescape can't be changed: HTML is always escaped",
}
_REFUSED_NAMES = {"varargs", "kwargs", "self"}
# What an expression may cost: comparing two long texts takes as long as 50 light steps.
_WEIGHTS: dict[type[nodes.Node], int] = {
    nodes.Compare: 50,
    nodes.Test: 50,
    nodes.Filter: 10,
    nodes.Call: 10,
}
_OUTPUT_WEIGHT = 16


def refuse_what_is_not_supported(template: nodes.Template) -> None:
    """Refuse what could go round the sandbox's limits.

    Raises: TemplateSyntaxError.
    """
    for node in template.find_all(nodes.Node):
        message = _REFUSED.get(type(node))
        if isinstance(node, nodes.For) and node.recursive:
            message = "recursive loops are not supported"
        if isinstance(node, nodes.Name) and node.name in _REFUSED_NAMES and node.ctx == "load":
            message = f"{node.name} is not supported"
        if message:
            raise TemplateSyntaxError(message, node.lineno)


def meter(template: nodes.Template) -> None:
    """Insert the payments. The template is changed in place."""
    for loop in list(template.find_all(nodes.For)):
        weight = _OUTPUT_WEIGHT + _weight_of([*loop.body, loop.test])
        if _compares_what_may_be_long(loop):
            loop.body.insert(0, _statement(TICKED, 0, loop.lineno))
        loop.iter = _filter(cast("nodes.Expr", loop.iter), COUNTED, nodes.Const(weight))
    macros: list[nodes.Macro | nodes.CallBlock] = [
        *template.find_all(nodes.Macro),
        *template.find_all(nodes.CallBlock),
    ]
    for macro in macros:
        macro.body.insert(0, _statement(SPENT, _weight_of(macro.body), macro.lineno))
    _meter_expressions(template)


def _meter_expressions(node: nodes.Node) -> None:
    for name, value in list(node.iter_fields()):
        if isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, nodes.Node):
                    _meter_expressions(item)
                    value[index] = _metered(item)
        elif isinstance(value, nodes.Node):
            _meter_expressions(value)
            setattr(node, name, _metered(value))


def _metered(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _filter(node, PAID)
    stored = isinstance(node, nodes.Tuple) and node.ctx != "load"
    if isinstance(node, nodes.List | nodes.Tuple | nodes.Dict) and not stored:
        return _filter(node, MEASURED)
    return node


def _filter(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def _statement(name: str, units: int, lineno: int) -> nodes.ExprStmt:
    const = nodes.Const(units, lineno=lineno)
    return nodes.ExprStmt(_filter(const, name), lineno=lineno)


def _weight_of(body: Iterable[nodes.Node | None]) -> int:
    return sum(_weight(node) for node in body if node is not None)


def _weight(node: nodes.Node) -> int:
    if isinstance(node, nodes.TemplateData):
        return 1 + len(node.data)
    if isinstance(node, nodes.For):
        return 1 + _weight(node.iter) + _weight_of(node.else_)
    if isinstance(node, nodes.Macro):
        return 1
    weight = _WEIGHTS.get(type(node), 1) + _weight_of(node.iter_child_nodes())
    if isinstance(node, nodes.Output):
        weight += _OUTPUT_WEIGHT * len(node.nodes)
    return weight


def _compares_what_may_be_long(loop: nodes.For) -> bool:
    for compare in loop.find_all(nodes.Compare):
        sides = [compare.expr, *(operand.expr for operand in compare.ops)]
        searches = any(operand.op in ("in", "notin") for operand in compare.ops)
        if searches or not any(isinstance(side, nodes.Const) for side in sides):
            return True
    return any(True for _ in loop.find_all(nodes.Test))


def _counted(iterable: Any, weight: int) -> Any:
    if not isinstance(iterable, Sized):
        return iterable
    spend((len(iterable) + 1) * weight)
    return iterable


def _ticked(_: int) -> None:
    current().look()


# Under these names the environment has them as filters.
METERS = {COUNTED: _counted, SPENT: spend, TICKED: _ticked, MEASURED: measured, PAID: paid}


_COMPARING = {"==", "!=", "<", "<=", ">", ">=", "eq", "equalto", "ne", "in"} | {
    "lt",
    "lessthan",
    "le",
    "gt",
    "greaterthan",
    "ge",
}


def watched_tests(builtin: Mapping[str, Any]) -> dict[str, Any]:
    """Make tests that compare look at the clock: ``select('eq', x)`` is a loop of them."""

    def watched(test: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def wrapper(value: Any, other: Any) -> Any:
            for side in (value, other):
                if isinstance(side, Sized) and len(side) > FREE_LENGTH:
                    current().look()
            return test(value, other)

        return wrapper

    return {
        name: watched(test) if name in _COMPARING else test
        for name, test in builtin.items()
        # They would reveal which code exists.
        if name not in ("filter", "test", "callable")
    }
