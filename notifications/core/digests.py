"""What a digest's template gets: the items as a list, cut at a limit."""

from collections.abc import Mapping
from typing import Any


def item(context: Mapping[str, Any], subject: str, body: str) -> dict[str, Any]:
    """Return what the template gets of a notification: its context, or else its own text."""
    return dict(context) if context or not body else {"subject": subject, "body": body}


def context_of(items: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """Return a digest's context: ``items``, the ``count`` of all, and how many are the ``rest``."""
    return {"items": items, "count": count, "rest": count - len(items)}


def trials(item: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Return contexts that a digest with this item may get: it alone, and a list that is cut."""
    several = [item] * min(2, limit)
    return [context_of([item], 1), context_of(several, len(several) + 1)]


ITS_CONTEXT = f"A digest's template gets {', '.join(context_of([], 0))}, and nothing else."
