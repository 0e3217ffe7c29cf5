"""Merges a template with its layout and partials into one source, which the version keeps.

So a version depends on nothing else, an edit of a layout reaches only later versions, and rendering
looks nothing up.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from templates_engine.errors import InvalidTemplate
from templates_engine.source import MAX_SOURCE, Kind, Segment, check_syntax, normalized, segments

FindPartial = Callable[[str], str | None]


@dataclass(frozen=True)
class Block:
    """``{% block name %}`` with what it contains."""

    name: str
    items: tuple["Segment | Block", ...]
    required: bool
    line: int


Items = tuple[Segment | Block, ...]
Blocks = Mapping[str, Items]
Names = tuple[str, ...]

_PREAMBLE_REGIONS = {"macro": "endmacro", "set": "endset"}


def compose(source: str, find: FindPartial) -> str:
    """Merge in what the source extends and includes. ``find`` returns a partial's source by name.

    Raises: InvalidTemplate for an unknown name, a cycle, or a result that is too long.
    """
    merged = _merged(_Composer(find), source, ())
    if len(merged) > MAX_SOURCE:
        raise InvalidTemplate(f"With its layout it has over {MAX_SOURCE:,} characters.")
    return merged


def check_partial(name: str, source: str, others: Mapping[str, str]) -> None:
    """Refuse a layout or partial that can't be used. ``others`` are those it may name.

    Raises: InvalidTemplate for a syntax error, an unknown name or a cycle.
    """
    check_syntax(source)
    composer = _Composer({**others, name: source}.get)
    # A layout by itself need not fill what it requires of others.
    composer.complete = False
    _merged(composer, normalized(source), (name,))


def _merged(composer: "_Composer", source: str, inside: Names) -> str:
    items = _tree(composer.included(segments(source), inside))
    return "".join(segment.source for segment in composer.extended(items, {}, inside))


class _Composer:
    def __init__(self, find: FindPartial) -> None:
        self.find = find
        self.length = 0
        self.complete = True

    def load(self, segment: Segment, inside: Names) -> tuple[Items, Names]:
        """Return the partial that a tag names, and the way to it."""
        name = _name_in(segment)
        if name in inside:
            circle = " → ".join([*inside[inside.index(name) :], name])
            raise InvalidTemplate(f"{circle} is a circle of references.", line=segment.line)
        source = self.find(name)
        if source is None:
            raise InvalidTemplate(
                f"There is no layout or partial {name!r}.",
                hint="Create it first.",
                line=segment.line,
            )
        way = (*inside, name)
        return _tree(self.included(segments(source.removesuffix("\n")), way)), way

    def included(self, row: Iterable[Segment], inside: Names) -> list[Segment]:
        """Put partials in place of ``include``."""
        merged: list[Segment] = []
        for segment in row:
            if segment.verb == "include":
                items, way = self.load(segment, inside)
                merged += _scoped(self.extended(items, {}, way))
                continue
            self.length += len(segment.source)
            if self.length > 2 * MAX_SOURCE:
                raise InvalidTemplate("Its partials make it too long.", line=segment.line)
            merged.append(segment)
        return merged

    def extended(self, items: Items, overrides: Blocks, inside: Names) -> list[Segment]:
        """Fill the blocks of the layout, the most derived content first."""
        own = {block.name: block.items for block in _blocks(items)}
        filled = {
            name: _with_super(content, own[name]) if name in own else content
            for name, content in overrides.items()
        }
        blocks = {**own, **filled}
        extends = [item for item in items if isinstance(item, Segment) and item.verb == "extends"]
        if extends:
            layout, way = self.load(extends[0], inside)
            return [*_preamble(items), *self.extended(layout, blocks, way)]
        placed: set[str] = set()
        for block in _blocks(items):
            if self.complete and block.required and blocks[block.name] is block.items:
                raise InvalidTemplate(f"The layout needs a block {block.name}.")
        merged = list(_filled(items, blocks, (), placed))
        if overrides.keys() - placed:
            raise InvalidTemplate(
                f"The layout has no block {', '.join(sorted(overrides.keys() - placed))}.",
                hint=f"It has: {', '.join(sorted(own)) or 'none'}.",
            )
        return merged


def _tree(row: Iterable[Segment]) -> Items:
    """Nest the segments by their blocks."""
    root = Segment(Kind.TEXT, "")
    open_blocks: list[tuple[Segment, list[Segment | Block]]] = [(root, [])]
    for segment in row:
        if segment.verb == "block":
            open_blocks.append((segment, []))
        elif segment.verb == "endblock":
            begin, items = open_blocks.pop()
            block = Block(begin.words[1], tuple(items), "required" in begin.words[2:], begin.line)
            open_blocks[-1][1].append(block)
        else:
            open_blocks[-1][1].append(segment)
    return tuple(open_blocks[0][1])


def _blocks(items: Items) -> Iterator[Block]:
    for item in items:
        if isinstance(item, Block):
            yield item
            yield from _blocks(item.items)


def _with_super(content: Items, parent: Items) -> Items:
    """Put the parent's content in place of ``{{ super() }}``."""
    merged: list[Segment | Block] = []
    for item in content:
        if isinstance(item, Block):
            inner = _with_super(item.items, parent)
            merged.append(Block(item.name, inner, item.required, item.line))
        elif _is_super(item):
            merged += parent
        else:
            merged.append(item)
    return tuple(merged)


def _filled(items: Items, blocks: Blocks, inside: Names, placed: set[str]) -> Iterator[Segment]:
    for item in items:
        if isinstance(item, Segment):
            if _is_super(item):
                raise InvalidTemplate("super() needs a block of the layout.", line=item.line)
            yield item
            continue
        if item.name in inside:
            raise InvalidTemplate(f"Block {item.name} contains itself.", line=item.line)
        content = blocks[item.name]
        placed.add(item.name)
        yield from _scoped(list(_filled(content, blocks, (*inside, item.name), placed)))


def _scoped(row: Sequence[Segment]) -> Sequence[Segment]:
    """Keep to a block what is set in it. ``+`` keeps the white space on both sides."""
    if not any(segment.verb in ("set", "macro") for segment in row):
        return row
    begin = Segment(Kind.STATEMENT, "{%+ with +%}", words=("with",))
    end = Segment(Kind.STATEMENT, "{%+ endwith +%}", words=("endwith",))
    return [begin, *row, end]


def _preamble(items: Items) -> Iterator[Segment]:
    """Keep what a derived template sets beside its blocks; refuse what would never be shown."""
    until = ""
    for item in items:
        if isinstance(item, Block):
            continue
        if until:
            yield item
            until = "" if item.verb == until else until
        elif item.verb in _PREAMBLE_REGIONS:
            yield item
            if item.verb == "macro" or "=" not in item.words:
                until = _PREAMBLE_REGIONS[item.verb]
        elif item.verb != "extends" and not item.source.isspace():
            raise InvalidTemplate(
                "A template with a layout shows only its blocks.",
                hint="Move this into a block.",
                line=item.line,
            )


def _is_super(segment: Segment) -> bool:
    if segment.kind is not Kind.EXPRESSION or "super" not in segment.words:
        return False
    if segment.words != ("super", "(", ")"):
        raise InvalidTemplate("super() stands alone: {{ super() }}.", line=segment.line)
    return True


def _name_in(segment: Segment) -> str:
    name, rest = segment.words[1], segment.words[2:]
    if name[0] not in "'\"" or rest not in ((), ("with", "context")):
        raise InvalidTemplate(
            f"{segment.verb} takes one name in quotes.",
            hint="So that a version can keep what it names.",
            line=segment.line,
        )
    return name[1:-1]
