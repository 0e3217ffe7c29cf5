"""Whether some data fits an expression's types, by trying it on samples before it is saved.

The library has no type checker, and an event's data has no schema. So each part of an expression
between ``&&`` and ``||`` is evaluated with values of every type of JSON for the fields that it
reads. A part that each of them fails, such as ``data.amount > [1]``, can never work, and neither
can ``1 / 0 == 1``.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise, product
from typing import Any

from notifications.events.expressions import (
    MACROS,
    TOKENS,
    BadExpression,
    first_sentence,
    run,
)

VALUES: tuple[Any, ...] = (
    *(1, 1.5, True, None, "1", "1h", "2026-01-01T00:00:00Z"),
    *(["1"], [1], {"a": 1}),
)
MOST_FIELDS = 3
"""Of a part that is tried: each has ten values, so that a part costs a thousand evaluations."""
_OPEN, _CLOSE = "([{", ")]}"

Path = tuple[str, ...]
Fits = Callable[[Any], bool]
GIVES: dict[str, tuple[Fits, str]] = {
    "condition": (lambda value: isinstance(value, bool), "It must give true or false."),
    "recipients": (
        lambda value: isinstance(value, str | list),
        "It must give text or a list of texts.",
    ),
    "to": (
        lambda value: isinstance(value, str | int | list) and not isinstance(value, bool),
        "It must give an id or a list of ids.",
    ),
}
"""Fields of a rule that want a type: what fits, and what is said of anything else."""


def check(expression: str, field: str) -> None:
    """Check an expression that ``expressions.check`` let pass. Raises ``BadExpression``."""
    for part in _parts(expression):
        if (found := _results(part)) is not None and not found:
            raise BadExpression(f"No data fits the types of {part!r}.")
        _check_values(part)
    fits, otherwise = GIVES.get(field, (None, ""))
    found = _results(expression) if fits is not None else None
    if fits is not None and found and not any(map(fits, found)):
        raise BadExpression(otherwise)


def _check_values(part: str) -> None:
    """Refuse a part that fails whatever the data is: a constant one, or one that divides by 0."""
    words = [token[0] for token in _tokens(part)]
    if "data" not in words:
        try:
            run(part, {})
        except Exception as error:  # noqa: BLE001 -- as in ``_results``
            raise BadExpression(f"{part!r} always fails: {first_sentence(error)}") from None
    for sign, divisor, following in zip(words, words[1:], [*words[2:], ""], strict=False):
        if sign in ("/", "%") and divisor in ("0", "0u") and following != ".":
            raise BadExpression(f"{part!r} divides by zero.")


def _results(part: str) -> list[Any] | None:
    """Return what a part gives for the samples that fit it; ``None`` if that cannot be told."""
    paths = _paths(part)
    if paths is None or len(paths) > MOST_FIELDS:
        return None
    found = []
    for values in product(VALUES, repeat=len(paths)):
        try:
            found.append(run(part, _nested(dict(zip(paths, values, strict=True)))))
        except TypeError:
            continue
        except Exception as error:  # noqa: BLE001 -- the library's own, and those of its functions
            if not str(error).startswith("Undefined"):  # of a method that the type lacks
                return None  # other data may do better
    return found


def _nested(values: dict[Path, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for path, value in values.items():
        place = data
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
    return data


def _paths(part: str) -> list[Path] | None:
    """Return the fields that a part reads; ``None`` if it walks lists, or looks into them."""
    words = [token[0] for token in _tokens(part)]
    if MACROS.keys() & {*words}:
        return None
    found: set[Path] = set()
    for start, word in enumerate(words):
        if word != "data" or (start and words[start - 1] == "."):
            continue
        end, path = start + 1, list[str]()
        while words[end : end + 1] == ["."] and words[end + 2 : end + 3] != ["("]:
            path.append(words[end + 1])
            end += 2
        if words[end : end + 1] == ["["]:
            return None
        if path:
            found.add(tuple(path))
    return [
        candidate
        for candidate in sorted(found)
        if not any(_begins(other, candidate) for other in found)
    ]


def _begins(path: Path, with_: Path) -> bool:
    return len(path) > len(with_) and path[: len(with_)] == with_


def _tokens(part: str) -> list[Any]:
    return [token for token in TOKENS.finditer(part) if not token[0].startswith("//")]


def _parts(expression: str) -> Iterator[str]:
    """Return what stands between the outermost ``&&`` and ``||``, and within its parentheses."""
    tokens = _tokens(expression)
    cuts, depth = [0], 0
    for token, following in pairwise(tokens):
        depth += (token[0] in _OPEN) - (token[0] in _CLOSE)
        if not depth and token[0] == "?":
            cuts = [0]
            break
        if not depth and token[0] == following[0] and token[0] in "&|":
            cuts += [token.start(), following.end()]
    ends = [*cuts[1:], len(expression)]
    if len(cuts) == 1:
        yield from _inside(expression)
        return
    for begin, end in list(zip(cuts, ends, strict=True))[::2]:
        yield from _parts(expression[begin:end].strip())


def _inside(part: str) -> Iterator[str]:
    """Return the parts within the parentheses that enclose a part, or else the part itself."""
    tokens = _tokens(part)
    depths = list(accumulate((token[0] in _OPEN) - (token[0] in _CLOSE) for token in tokens))
    if tokens and tokens[0][0] == "(" and depths.index(0) == len(tokens) - 1:
        yield from _parts(part[tokens[0].end() : tokens[-1].start()].strip())
    else:
        yield part.strip()
