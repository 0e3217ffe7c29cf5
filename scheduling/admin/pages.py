"""What the pages share: types for unfold's decorators, and how an action answers."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold import decorators

Shown = TypeVar("Shown", bound=Callable[..., Any])
Acting = TypeVar("Acting", bound=Callable[..., HttpResponse])


def labelled(description: str, labels: Mapping[str, str]) -> Callable[[Shown], Shown]:
    """Show a column's value, or its (value, words), as a label in the colour of the value."""
    return cast(
        "Callable[[Shown], Shown]", decorators.display(description=description, label=labels)
    )


def with_dialog(
    description: str, permission: str, icon: str, dialog: Mapping[str, Any]
) -> Callable[[Acting], Acting]:
    """Make a method an action of a schedule's page that asks before it acts, and acts by POST."""
    made = decorators.action(
        description=description, permissions=[permission], icon=icon, dialog=dialog
    )
    return cast("Callable[[Acting], Acting]", made)


def with_page(description: str, permission: str, icon: str) -> Callable[[Acting], Acting]:
    """Make a method an action of a schedule's page that leads to a page of its own."""
    made = decorators.action(description=description, permissions=[permission], icon=icon)
    return cast("Callable[[Acting], Acting]", made)


def answer(request: HttpRequest, where: str, text: str, *, is_done: bool = True) -> HttpResponse:
    """Say on the page ``where`` what an action came to; a dialog's form is sent by htmx."""
    messages.add_message(request, messages.SUCCESS if is_done else messages.ERROR, text)
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": where})
    return redirect(where)
