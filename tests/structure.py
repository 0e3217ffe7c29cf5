"""What the code's structure looks like, counted: rooms, cycles, the longest functions, dead names.

``make check`` runs it. It prints the figures, and fails if a package has a cycle of imports, if
something is defined that nothing uses, if an exception to the linter has no reason, if an
exception's name is against the rule of CONTRIBUTING.md, if a public method has no documentation,
if a notification's status or due time is set elsewhere than in ``transitions``, or if a thread is
made elsewhere than by ``scheduling.threads``. A use in a test or a benchmark does not count.
"""

import ast
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("config", "notifications", "scheduling", "templates_engine")
SHOWN = 10  # of the longest functions

# Decorators that register nothing: what they decorate must be used by its name.
PLAIN = {
    "cache",
    "cached_property",
    "classmethod",
    "contextmanager",
    "dataclass",
    "lru_cache",
    "property",
    "staticmethod",
}
# Frameworks look these names up.
LOOKED_UP = {
    "Command",
    "handle_DATA",
    "handle_RCPT",
    "pytest_configure",
    "application",
    "disable_rate_limits",
    *("handler500", "process_view"),
    "urlpatterns",
}
# Files whose names a framework reads, each of them.
READ_WHOLE = ("config/settings.py", "notifications/settings.py", "config/formats/", "/apps.py")

# The columns of a notification that only the functions of one room set, that room, and the rooms
# whose dictionaries and attributes of these names are a notification's.
WRITTEN_ONCE = {"status", "due_at"}
WRITER = "notifications/transitions"
WITH_ROWS = {
    f"notifications/{room}"
    for room in (
        *("audiences", "chains", "delivery", "events", "maintenance", "operations", "queueing"),
        "submission",
    )
}
# Where a thread does one thing and ends, so that none waits for it for longer than for its answer.
# A thread with a loop is made by ``scheduling.threads``: it goes on after an exception.
MAKES_THREADS = "scheduling/threads.py"
SHORT_THREADS = {
    "config/system.py",
    "notifications/channels/outgoing.py",
    "notifications/providers/smtp_connection.py",
    "notifications/tracing/collector.py",
    "scheduling/interruption.py",
    "scheduling/watch.py",
}

OWN_DUE_TIME = "PendingReceipt"  # a table with a column ``due_at`` of its own
_SETS_IN_SQL = re.compile(
    r"\bSET\b.*\b(status|due_at)\s*=|(^|,)\s*(status|due_at) = (%s|NULL|CASE)", re.DOTALL
)

_IGNORED = {"migrations", ".venv", "var", "node_modules"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of the product, parsed."""

    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The package it stands in, and within ``notifications`` its room."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return "/".join(parts[:2] if parts[0] == "notifications" else parts[:1])

    @property
    def lines(self) -> int:
        """How long it is."""
        return len(self.path.read_text().splitlines())


def modules() -> list[Module]:
    """Parse every file of the product."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [Module(path, ast.parse(path.read_text())) for path in paths]


def functions(parsed: Iterable[Module]) -> list[tuple[int, str]]:
    """Return the length in lines of each function, docstring included, and where it is."""
    return [
        (node.end_lineno - node.lineno + 1, f"{_place(module)}:{node.lineno} {node.name}")
        for module in parsed
        for node in ast.walk(module.tree)
        if isinstance(node, Function) and node.end_lineno and "migrations" not in module.path.parts
    ]


def cycles() -> list[str]:
    """Return the imports without which no package had a cycle."""
    graph = grimp.build_graph(*PACKAGES)
    return sorted(
        f"{importer} -> {imported}"
        for package in sorted(graph.modules)
        for importer, imported in graph.nominate_cycle_breakers(package)
    )


def dead(parsed: Iterable[Module]) -> list[str]:
    """Return what is defined and used nowhere: by no name, attribute, string, template or page."""
    parsed = list(parsed)
    used = LOOKED_UP.union(*(_uses(module.tree) for module in parsed), _uses_outside())
    prefixes = tuple({prefix for module in parsed for prefix in _prefixes(module.tree)})
    return [
        f"{_place(module)}:{node.lineno} {name}"
        for module in parsed
        if not any(part in _place(module) for part in READ_WHOLE)
        for name, node in _definitions(module.tree)
        if name not in used and not name.startswith(("__", *prefixes))
    ]


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names that only this project can use: of modules, and of classes without a base."""
    yield from _names(tree.body)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.bases:
            yield from _names(node.body)


def _names(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            if all(_name(decorator) in PLAIN for decorator in node.decorator_list):
                yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((t.id, node) for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


def _uses(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module uses, and the words of its strings other than docstrings."""
    unread = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    unread |= {
        id(constant)
        for node in tree.body
        if isinstance(node, ast.Assign) and _name(node.targets[0]) == "__all__"
        for constant in ast.walk(node.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and id(node) not in unread:
            yield from re.findall(r"\w+", str(node.value))


def _prefixes(tree: ast.Module) -> Iterator[str]:
    """Yield the beginnings of names that are put together, as in ``f"read_{kind}"``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node.values:
            head = getattr(node.values[0], "value", "")
            if isinstance(head, str) and re.fullmatch(r"\w{3,}_", head):
                yield head


def _uses_outside() -> set[str]:
    """Return the words of the templates, and of the code in the documentation."""
    templates = [path for package in PACKAGES for path in (ROOT / package).rglob("*.html")]
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    words = {word for path in templates for word in re.findall(r"\w+", path.read_text())}
    return words.union(*(_words_of_code(page.read_text()) for page in pages))


def _words_of_code(page: str) -> Iterator[str]:
    for code in re.findall(r"```.*?```|`[^`]+`|(?m:^    .+$)", page, re.DOTALL):
        yield from re.findall(r"\w+", code)


def _name(node: ast.expr) -> str:
    """Return the last part of a decorator's or target's name."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def without_reason(paths: Iterable[Path]) -> list[str]:
    """Return the lines whose ``noqa`` does not end with `` -- `` and a reason."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"# ?noqa\b(?!: [A-Z0-9, ]+ -- \S)", line)
    ]


def misnamed(parsed: Iterable[Module]) -> list[str]:
    """Return the exceptions that end in ``Error`` though nothing is derived from them.

    An exception is named for what happened (``TemplateNotFound``). ``Error`` is for the base of
    a family, which a caller catches whole (``TemplateError``).
    """
    classes = [
        (module, node, {_name(base) for base in node.bases})
        for module in parsed
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    families = set().union(*(bases for _, _, bases in classes))
    return [
        f"{_place(module)}:{node.lineno} {node.name}"
        for module, node, bases in classes
        if node.name.endswith("Error") and node.name not in families
        if any(base.endswith(("Error", "Exception")) for base in bases)
    ]


def undocumented(parsed: Iterable[Module]) -> list[str]:
    """Return the public methods that say nothing, and have no base or protocol that says it.

    Two kinds of classes are left out: those derived from a framework's class, whose documentation
    says what the method is for, and the pages of the admin, whose methods are named in a list of
    columns or actions, with their title.
    """
    parsed = [module for module in parsed if "admin" not in module.path.parts]
    classes = [
        (module, node)
        for module in parsed
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
    ]
    own = {node.name for _, node in classes} | {
        "ABC",
        "Enum",
        "IntEnum",
        "NamedTuple",
        "Protocol",
        "StrEnum",
    }
    methods = [
        (module, node.name, method)
        for module, node in classes
        if own.issuperset(_name(base) for base in node.bases)
        for method in node.body
        if isinstance(method, Function)
    ]
    bases = {_name(base) for _, node in classes for base in node.bases}
    protocols = {node.name for _, node in classes if "Protocol" in {_name(b) for b in node.bases}}
    documented = {
        method.name
        for _, name, method in methods
        if name in bases | protocols and ast.get_docstring(method)
    }
    return [
        f"{_place(module)}:{method.lineno} {name}.{method.name}"
        for module, name, method in methods
        if not name.startswith("_") and not method.name.startswith("_")
        if method.name not in documented and not ast.get_docstring(method)
    ]


def other_writers(parsed: Iterable[Module]) -> list[str]:
    """Return where a notification's status or due time is set elsewhere than in ``transitions``."""
    rooms = [module for module in parsed if module.room.startswith("notifications/")]
    return [
        f"{_place(module)}:{node.lineno}"
        for module in rooms
        if module.room not in (WRITER, "notifications/migrations")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.expr | ast.stmt)
        if _sets_in_database(node) or (module.room in WITH_ROWS and _sets_in_row(node))
    ]


def _sets_in_database(node: ast.expr | ast.stmt) -> bool:
    """Return whether it is an update of these columns, or a string of SQL with one."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(_SETS_IN_SQL.search(node.value))
    if not isinstance(node, ast.Call) or OWN_DUE_TIME in ast.unparse(node.func):
        return False
    match _name(node.func):
        case "update":
            return not WRITTEN_ONCE.isdisjoint(keyword.arg or "" for keyword in node.keywords)
        case "bulk_update":
            return any(_names_column(inner) for inner in ast.walk(node))
        case _:
            return False


def _sets_in_row(node: ast.expr | ast.stmt) -> bool:
    """Return whether it gives these columns to a row that is a dictionary or an object."""
    if isinstance(node, ast.Dict):
        return any(key is not None and _names_column(key) for key in node.keys)
    if isinstance(node, ast.Subscript):
        return isinstance(node.ctx, ast.Store) and _names_column(node.slice)
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Store) and node.attr in WRITTEN_ONCE
    return False


def _names_column(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in WRITTEN_ONCE


def mortal_threads(parsed: Iterable[Module]) -> list[str]:
    """Return where a thread is made that an exception of its loop would end."""
    return [
        f"{_place(module)}:{node.lineno}"
        for module in parsed
        if _place(module) not in SHORT_THREADS | {MAKES_THREADS}
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _name(node.func) == "Thread"
    ]


def _place(module: Module) -> str:
    return str(module.path.relative_to(ROOT))


def main() -> int:
    """Print the figures; return the exit code."""
    parsed = modules()
    rooms, lines = Counter[str](), Counter[str]()
    for module in parsed:
        rooms[module.room] += 1
        lines[module.room] += module.lines
    print(f"{len(rooms)} rooms")
    for room in sorted(rooms):
        print(f"  {room:<28} {rooms[room]:>3} files {lines[room]:>6} lines")
    sizes = sorted(functions(parsed), reverse=True)
    lengths = [length for length, _ in sizes]
    ninth = statistics.quantiles(lengths, n=10)[-1]
    middle = statistics.median(lengths)
    print(f"{len(sizes)} functions: median {middle:.0f} lines, nine in ten at most {ninth:.0f}")
    for length, place in sizes[:SHOWN]:
        print(f"  {length:>4} {place}")
    faults = {
        "cycles of imports": cycles(),
        "dead names": dead(parsed),
        "exceptions called Error that are no family": misnamed(parsed),
        "public methods without documentation": undocumented(parsed),
        "other writers of a notification's status or due time": other_writers(parsed),
        "threads made elsewhere than by scheduling.threads": mortal_threads(parsed),
        "exceptions to the linter without a reason": without_reason(
            path for path in ROOT.rglob("*.py") if not _IGNORED & set(path.parts)
        ),
    }
    for title, places in faults.items():
        print(f"{len(places)} {title}")
        for place in places:
            print(f"  {place}")
    return 1 if any(faults.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
