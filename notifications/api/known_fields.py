"""The fields that a body may have where it has one that is not known."""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

UNKNOWN = "extra_forbidden"  # as pydantic names it


def beside(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """Return the fields of the object in which the last part of a location is unknown, sorted.

    ``location`` is pydantic's, from ``model`` on. Of a field of several types it names the one that
    was tried, which is not a field itself.
    """
    models: list[Any] = [model]
    for part in location[:-1]:
        inner = [type_ for kind in models for type_ in _at(kind, part)]
        models = inner or models
    return sorted({name for kind in models if _is_model(kind) for name in _names(kind)})


def _at(kind: Any, part: Any) -> Iterator[Any]:
    """Return what may stand in a value of this kind under a name or a number."""
    if not _is_model(kind):
        yield from _parts(get_args(kind)[-1]) if get_args(kind) else ()
    elif part in _names(kind):
        yield from _parts(_names(kind)[part])
    elif part == kind.__name__:
        yield kind


def _names(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _parts(annotation: Any) -> list[Any]:
    """Return the types that an annotation allows, without what is only metadata."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [part for member in get_args(annotation) for part in _parts(member)]
    return [annotation]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
