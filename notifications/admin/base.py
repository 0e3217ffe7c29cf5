"""What the pages over large tables share: no full counts, nothing typed over, actions answered."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import cached_property
from unfold import paginator
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

Shown = TypeVar("Shown", bound=Callable[..., str])
Acting = TypeVar("Acting", bound=Callable[..., HttpResponse])

PAGE = 50
DEEPEST = 100_000  # rows; further down a search or a filter finds quicker than paging


class InfinitePaginator(paginator.InfinitePaginator):  # type: ignore[misc]  # unfold has no types
    """Pages without counting the rows: a count of a million costs more than the page.

    By this class's name unfold's templates know that there is no count to show.
    """

    @cached_property
    def count(self) -> int:
        return DEEPEST


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """A table whose rows change through verbs, never through a form."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = PAGE
    list_disable_select_all = True
    show_facets = None
    list_deferred: tuple[str, ...] = ()
    """Columns that only a row's own page shows; they may be long."""

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        """Read for the list no more than it shows."""
        whole: type[ChangeList] = super().get_changelist(request, **options)
        deferred = self.list_deferred

        def get_queryset(changelist: ChangeList, *args: Any, **named: Any) -> "QuerySet[Any]":
            return whole.get_queryset(changelist, *args, **named).defer(*deferred)

        return type("Light", (whole,), {"get_queryset": get_queryset}) if deferred else whole

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def labelled(description: str, labels: Mapping[str, str]) -> Callable[[Shown], Shown]:
    """Show a column's value as a coloured label: ``labels`` gives each value its colour."""
    return cast("Callable[[Shown], Shown]", display(description=description, label=labels))


def with_dialog(
    description: str, permission: str, icon: str, dialog: Mapping[str, Any]
) -> Callable[[Acting], Acting]:
    """Make a method an action of a row's page that asks before it acts.

    The dialog's form is sent by POST, so that no link can set it off.
    """
    made = action(description=description, permissions=[permission], icon=icon, dialog=dialog)
    return cast("Callable[[Acting], Acting]", made)


def who(request: HttpRequest) -> AbstractBaseUser:
    """Return the person behind a request; only staff comes here."""
    return cast("AbstractBaseUser", request.user)


def answer(request: HttpRequest, where: str, text: str, *, failed: bool = False) -> HttpResponse:
    """Say what an action came to on the page ``where``; a dialog's form was sent by htmx."""
    messages.add_message(request, messages.WARNING if failed else messages.SUCCESS, text)
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": where})
    return redirect(where)
