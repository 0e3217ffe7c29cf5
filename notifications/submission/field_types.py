"""The types of a request's fields: text and JSON that every database takes."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from notifications.core import errors
from notifications.core.text import DEEPEST, can_be_kept, is_deeper, why_not_json
from notifications.submission.fields import Request

LONGEST_CONTEXT = 1_000_000  # characters of JSON

_encode = json.JSONEncoder(allow_nan=False).encode


def text_of(request: Request, name: str, longest: int) -> str:
    """Return a field's text. Raises ``InvalidField`` if it is too long, or cannot be kept."""
    value = getattr(request, name)
    if not isinstance(value, str):
        raise errors.InvalidField(f"{name} must be text.", field=name)
    if not value:
        return value
    if len(value) > longest:
        raise errors.InvalidField(f"{name} is longer than {longest} characters.", field=name)
    if not can_be_kept(value):
        raise errors.InvalidField(
            f"{name} holds a character that cannot be stored (NUL or half of a surrogate pair).",
            field=name,
        )
    return value


def json_object(value: Mapping[str, Any] | None, field: str) -> dict[str, Any]:
    """Return a JSON object as a new dict. Raises ``InvalidField``."""
    if not value:
        if value is None or isinstance(value, Mapping):
            return {}
        raise errors.InvalidContext(f"The {field} must be a JSON object.", field=field)
    try:
        text = _encode(value)
        kept = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise _not_json(value, field) from None
    # Python 3.14 writes and reads what Python 3.11, which may deliver it, cannot.
    if text.count("[") + text.count("{") > DEEPEST and is_deeper(kept, DEEPEST + 1):
        raise _not_json(value, field)
    if not isinstance(kept, dict):
        raise errors.InvalidContext(f"The {field} must be a JSON object.", field=field)
    if len(text) > LONGEST_CONTEXT:
        raise errors.InvalidContext(f"The {field} is larger than 1 MB.", field=field)
    if ("\\u0000" in text or "\\ud" in text) and not all(map(can_be_kept, _texts(kept))):
        raise errors.InvalidContext(
            f"The {field} holds a character that cannot be stored (NUL or half of a surrogate "
            "pair).",
            field=field,
        )
    return kept


def _not_json(value: Mapping[str, Any], field: str) -> errors.InvalidContext:
    why = why_not_json(value, field) or "it cannot be written"
    return errors.InvalidContext(
        f"The {field} is not JSON: {why}.", field=field, hint="Pass dates as text."
    )


def _texts(value: Any) -> Iterator[str]:
    """Return every text of a JSON value, its keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
