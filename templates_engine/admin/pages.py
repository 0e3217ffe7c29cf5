"""What the pages share: who asks, how an action answers, and types for unfold's decorators."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold import decorators

Shown = TypeVar("Shown", bound=Callable[..., str])
Acting = TypeVar("Acting", bound=Callable[..., HttpResponse])


def display(**options: Any) -> Callable[[Shown], Shown]:
    """Mark a method that shows a value (unfold's own decorator, which has no types)."""
    return cast("Callable[[Shown], Shown]", decorators.display(**options))


def action(**options: Any) -> Callable[[Acting], Acting]:
    """Mark a method that acts on one row (as above)."""
    return cast("Callable[[Acting], Acting]", decorators.action(**options))


def user_of(request: HttpRequest) -> User:
    """Return who asks; the admin lets only signed-in users in."""
    return cast("User", request.user)


def answer(request: HttpRequest, where: str, text: str, *, failed: bool = False) -> HttpResponse:
    """Say on the page ``where`` what an action came to; a dialog's form is sent by htmx."""
    messages.add_message(request, messages.ERROR if failed else messages.SUCCESS, text)
    return to(request, where)


def to(request: HttpRequest, where: str) -> HttpResponse:
    """Go on to a page; a dialog's form was sent by htmx, which is told by a header."""
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": where})
    return redirect(where)
