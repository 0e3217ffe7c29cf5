"""The layouts and partials: the database's, and the built-in ones behind them."""

from collections.abc import Iterable

from jinja2 import TemplateSyntaxError

from templates_engine.layouts import built_in
from templates_engine.models import Partial
from templates_engine.source import Segment, segments


def partials_reached_from(sources: Iterable[str]) -> dict[str, str]:
    """Return all partials that the sources extend or include, however deep."""
    reached: dict[str, str] = {}
    names = _named_in(sources)
    while names:
        known = {name: source for name, source in built_in().items() if name in names}
        rows = Partial.objects.filter(name__in=names).values_list("name", "source")
        found = {**known, **dict(rows)}
        reached |= found
        names = _named_in(found.values()) - reached.keys()
    return reached


def _named_in(sources: Iterable[str]) -> set[str]:
    return {
        segment.words[1].strip("'\"")
        for source in sources
        for segment in _segments_of_valid(source)
        if segment.verb in ("extends", "include") and len(segment.words) > 1
    }


def _segments_of_valid(source: str) -> list[Segment]:
    try:
        return segments(source)
    except TemplateSyntaxError:
        # build() refuses it, with its line and column.
        return []
