"""Queries with a name that an operation does not know, or has twice, are refused, not ignored.

A filter with a slip in its name would otherwise answer with everything, and one that is there
twice by its last value alone.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.operation import Operation

from notifications.api.problems import Problem


def refuse_unknown(api: NinjaAPI) -> None:
    """Let every operation of an API refuse what its query does not have, or does not have twice."""
    for _, router in api._routers:  # noqa: SLF001 -- ninja has no public list of operations
        for view in router.path_operations.values():
            for operation in view.operations:
                operation.view_func = _strict(operation.view_func, _names(operation))


def _names(operation: Operation) -> frozenset[str]:
    return frozenset(
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in getattr(model, "__ninja_flatten_map__", {})
    )


def _strict(view: Callable[..., Any], known: frozenset[str]) -> Callable[..., Any]:
    @wraps(view)
    def strict(request: HttpRequest, **values: Any) -> Any:
        unknown = request.GET.keys() - known
        if unknown:
            name = min(unknown)
            raise Problem(
                "unknown-argument",
                f"This path has no query parameter {name[:100]!r}.",
                field=name[:100],
                hint=f"Known: {', '.join(sorted(known))}." if known else "This path takes none.",
            )
        repeated = [name for name, given in request.GET.lists() if len(given) > 1]
        if repeated:
            name = min(repeated)
            raise Problem(
                "invalid-request",
                f"The query has {name!r} twice, and it takes one value.",
                field=name,
                hint="Send one request for each value.",
            )
        return view(request, **values)

    return strict
