"""Which variables a template can't do without, found without running it.

A variable is needed when some use of it is guarded neither by ``|default`` nor by an
``is defined`` around it. What only one branch of an ``if`` sets counts as not set, so the answer
errs to the safe side: it may ask for a variable that a given context would not use.
"""

from collections.abc import Iterable
from typing import cast

from jinja2 import nodes

from templates_engine.sandbox import PLAIN

UNSUBSCRIBE_URL = "unsubscribe_url"
PREFERENCES_URL = "preferences_url"
# The engine gives these, or defines what they mean.
GIVEN = frozenset({"locale", UNSUBSCRIBE_URL, PREFERENCES_URL})
_DEFAULT_FILTERS = frozenset({"default", "d"})
Path = tuple[str, ...]


def needed_variables(source: str) -> set[str]:
    """Return the names that the context must have for a valid, composed source."""
    return _needed(source) - GIVEN


def needs(source: str, name: str) -> bool:
    """Return whether a source cannot do without a name, one that the engine gives included."""
    return name in source and name in _needed(source)


def _needed(source: str) -> set[str]:
    reader = _Reader()
    reader.body(PLAIN.parse(source).body, _Scope())
    return reader.needed - PLAIN.globals.keys()


def printed_values(source: str) -> set[Path]:
    """Return what a source prints of needed names, whose emptiness would leave a hole.

    ``{{ user.name }}`` is ``("user", "name")``. These are printed by themselves, perhaps through
    filters. A name that the source asks about (``if``, ``or``, ``default``) is not among them: the
    source says what an empty one means.
    """
    tree = PLAIN.parse(source)
    needed = needed_variables(source) - _asked_about(tree)
    return {
        path
        for output in tree.find_all(nodes.Output)
        for expression in output.nodes
        for path in _printed(expression)
        if path[0] in needed
    }


def bare_values(source: str) -> set[Path]:
    """Return what a source prints of the context as it is: such a list or object has no text."""
    tree = PLAIN.parse(source)
    needed = _never_set(tree, source)
    return {
        path
        for output in tree.find_all(nodes.Output)
        for expression in output.nodes
        for path in _path(expression)
        if path[0] in needed
    }


def formatted_values(source: str) -> set[tuple[Path, str]]:
    """Return what of the context goes into a filter as it is, with the filter's name.

    A name that the source asks about is not among them.
    """
    tree = PLAIN.parse(source)
    needed = _never_set(tree, source) - _asked_about(tree)
    return {
        (path, found.name)
        for found in tree.find_all(nodes.Filter)
        if found.node is not None
        for path in _path(found.node)
        if path[0] in needed
    }


def _never_set(tree: nodes.Template, source: str) -> set[str]:
    """Return the needed names that stand for the context's value wherever they stand."""
    stored = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    return needed_variables(source) - stored


def _printed(expression: nodes.Node | None) -> set[Path]:
    match expression:
        case nodes.Name():
            return {(expression.name,)}
        case nodes.Getattr():
            return {(*path, expression.attr) for path in _path(expression.node)}
        case nodes.Getitem(arg=nodes.Const(value=str() as key)):
            return {(*path, key) for path in _path(expression.node)}
        case nodes.Filter():
            return _printed(expression.node)
        case nodes.Concat():
            return {path for part in expression.nodes for path in _printed(part)}
    return set()


def _path(expression: nodes.Node) -> set[Path]:
    is_path = isinstance(expression, nodes.Name | nodes.Getattr | nodes.Getitem)
    return _printed(expression) if is_path else set()


def _asked_about(tree: nodes.Node) -> set[str]:
    asking: list[nodes.Node] = [node.test for node in tree.find_all(nodes.If)]
    asking += (node.test for node in tree.find_all(nodes.CondExpr))
    asking += tree.find_all((nodes.Or, nodes.And))
    asking += (f for f in tree.find_all(nodes.Filter) if f.name in _DEFAULT_FILTERS)
    names = {node.name for node in asking if isinstance(node, nodes.Name)}
    return names | {name.name for node in asking for name in node.find_all(nodes.Name)}


class _Scope:
    """The names that need no context here: bound ones, and those known to be defined."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = set(names)

    def inner(self, *names: str) -> "_Scope":
        return _Scope({*self.names, *names})


class _Reader:
    def __init__(self) -> None:
        self.needed: set[str] = set()

    def body(self, body: Iterable[nodes.Node], scope: _Scope) -> None:
        for node in body:
            self.read(node, scope)

    def read(self, node: nodes.Node, scope: _Scope) -> None:
        handler = getattr(self, f"read_{type(node).__name__.lower()}", self.read_children)
        handler(node, scope)

    def read_children(self, node: nodes.Node, scope: _Scope) -> None:
        self.body(node.iter_child_nodes(), scope)

    def read_name(self, node: nodes.Name, scope: _Scope) -> None:
        if node.ctx == "load" and node.name not in scope.names:
            self.needed.add(node.name)

    def read_if(self, node: nodes.If, scope: _Scope) -> None:
        ends = []
        otherwise = scope
        for arm in (node, *node.elif_):
            self.read(arm.test, otherwise)
            then = otherwise.inner(*_defined_when(arm.test, outcome=True))
            self.body(arm.body, then)
            ends.append(then)
            otherwise = otherwise.inner(*_defined_when(arm.test, outcome=False))
        self.body(node.else_, otherwise)
        ends.append(otherwise)
        # Known afterwards is what each way through has bound or found defined.
        scope.names |= set.intersection(*(end.names for end in ends))

    def read_condexpr(self, node: nodes.CondExpr, scope: _Scope) -> None:
        self.read(node.test, scope)
        self.read(node.expr1, scope.inner(*_defined_when(node.test, outcome=True)))
        if node.expr2 is not None:
            self.read(node.expr2, scope.inner(*_defined_when(node.test, outcome=False)))

    def read_and(self, node: nodes.And, scope: _Scope) -> None:
        self.read(node.left, scope)
        self.read(node.right, scope.inner(*_defined_when(node.left, outcome=True)))

    def read_or(self, node: nodes.Or, scope: _Scope) -> None:
        self.read(node.left, scope)
        self.read(node.right, scope.inner(*_defined_when(node.left, outcome=False)))

    def read_test(self, node: nodes.Test, scope: _Scope) -> None:
        asks = node.name in ("defined", "undefined") and isinstance(node.node, nodes.Name)
        self.read_children(node, _with_name(scope, node.node) if asks else scope)

    def read_filter(self, node: nodes.Filter, scope: _Scope) -> None:
        guards = node.name in _DEFAULT_FILTERS and isinstance(node.node, nodes.Name)
        if guards and node.node is not None:
            self.body([*node.args, *node.kwargs], scope)
        else:
            self.read_children(node, scope)

    def read_for(self, node: nodes.For, scope: _Scope) -> None:
        self.read(node.iter, scope)
        inside = scope.inner("loop", *_stored(node.target))
        if node.test is not None:
            self.read(node.test, inside)
            inside = inside.inner(*_defined_when(node.test, outcome=True))
        self.body(node.body, inside)
        self.body(node.else_, scope.inner())

    def read_assign(self, node: nodes.Assign, scope: _Scope) -> None:
        self.read(node.node, scope)
        self.read(node.target, scope)
        scope.names |= _stored(node.target)

    def read_assignblock(self, node: nodes.AssignBlock, scope: _Scope) -> None:
        if node.filter is not None:
            self.read(node.filter, scope)
        self.body(node.body, scope.inner())
        scope.names |= _stored(node.target)

    def read_nsref(self, node: nodes.NSRef, scope: _Scope) -> None:
        if node.name not in scope.names:
            self.needed.add(node.name)

    def read_with(self, node: nodes.With, scope: _Scope) -> None:
        self.body(node.values, scope)
        names = {name for target in node.targets for name in _stored(target)}
        self.body(node.body, scope.inner(*names))

    def read_macro(self, node: nodes.Macro, scope: _Scope) -> None:
        scope.names.add(node.name)
        self.body(node.defaults, scope)
        self.body(node.body, scope.inner("caller", *(arg.name for arg in node.args)))

    def read_callblock(self, node: nodes.CallBlock, scope: _Scope) -> None:
        self.read(node.call, scope)
        self.body(node.defaults, scope)
        self.body(node.body, scope.inner(*(arg.name for arg in node.args)))

    def read_filterblock(self, node: nodes.FilterBlock, scope: _Scope) -> None:
        self.read(node.filter, scope)
        self.body(node.body, scope.inner())


def _stored(target: nodes.Node) -> set[str]:
    names = [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name)
    return {name.name for name in names if name.ctx == "store"}


def _with_name(scope: _Scope, node: nodes.Node) -> _Scope:
    return scope.inner(cast("nodes.Name", node).name)


def _defined_when(test: nodes.Node, *, outcome: bool) -> set[str]:
    """Return the variables known to be defined when the test comes out so."""
    if isinstance(test, nodes.Not):
        return _defined_when(test.node, outcome=not outcome)
    if (isinstance(test, nodes.And) and outcome) or (isinstance(test, nodes.Or) and not outcome):
        return _defined_when(test.left, outcome=outcome) | _defined_when(
            test.right, outcome=outcome
        )
    asks = "defined" if outcome else "undefined"
    if isinstance(test, nodes.Test) and test.name == asks and isinstance(test.node, nodes.Name):
        return {test.node.name}
    return set()
