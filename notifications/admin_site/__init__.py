"""The admin's site: what a request may ask of any page, whichever admin class made it.

Django lets whoever may see a list filter it by any column, so that ``?body__startswith=`` would
read character by character what the page hides. Here a query string filters by what a page lists
as its filters, and no further. An id that is none is answered with 404 or 400 rather than 500.
Every admin class is narrowed as it is registered, so none can forget it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial, wraps
from typing import Any

from django.contrib import messages
from django.contrib.admin import ListFilter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ERROR_FLAG, ChangeList
from django.core.exceptions import NON_FIELD_ERRORS, BadRequest, ValidationError
from django.db import IntegrityError, connections, router, transaction
from django.db.models import DateTimeField, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.utils.module_loading import autodiscover_modules
from django.utils.timezone import is_aware, make_aware
from unfold.admin import ModelAdmin
from unfold.dataclasses import UnfoldAction
from unfold.sites import UnfoldAdminSite
from unfold.templatetags import unfold_list

from notifications.admin_site import lost_updates
from scheduling import watch

listeners: list[Callable[[HttpRequest, Model, str], None]] = []
"""Told of each act that an admin class logs: the request, the row, and what was done."""

_FORMS = ("", "__exact", "__isnull", "__id__exact")  # what Django's own filters ask for


_make_headers: Callable[[ChangeList], Iterable[dict[str, Any]]] = unfold_list.result_headers


def _headers_of(changelist: ChangeList) -> list[dict[str, Any]]:
    """Return a list's headers: Unfold makes them anew for each row, a quarter of a page's time."""
    kept = vars(changelist)
    if "own_headers" not in kept:
        kept["own_headers"] = list(_make_headers(changelist))
    found: list[dict[str, Any]] = kept["own_headers"]
    return found


unfold_list.result_headers = _headers_of


class _BesideField:
    """A form that says of a row which is there already so beside the last field that tells it."""

    fields: Mapping[str, Any]

    def _update_errors(self, errors: ValidationError) -> None:
        for error in getattr(errors, "error_dict", {}).pop(NON_FIELD_ERRORS, []):
            unique = (error.params or {}).get("unique_check", ())
            shown = [name for name in unique if name in self.fields] or [NON_FIELD_ERRORS]
            errors.error_dict.setdefault(shown[-1], []).append(error)
        super()._update_errors(errors)  # type: ignore[misc]  # a form's


def _without(names: set[str], options: Mapping[str, Any]) -> list[Any]:
    return [field for field in options["fields"] if field not in names]


class Narrowed(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Allows the lookups of an admin class's ``list_filter``.

    A class may name more in ``listed_lookups``: what links of our own pages ask by.
    """

    change_form_template = "notifications/admin/change_form.html"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether a query string may filter by this."""
        filters: Iterable[Any] = self.get_list_filter(request)
        ours = getattr(self, "listed_lookups", ())
        return lookup in ours or any(lookup in _asked_by(filter_) for filter_ in filters)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list; where Django leaves out a filter that it cannot read, say so."""
        response: HttpResponse = super().changelist_view(request, extra_context)
        if response.headers.get("Location") == f"{request.path}?{ERROR_FLAG}=1":
            names = ", ".join(sorted(request.GET))[:200]
            messages.error(request, f"The list is not filtered: {names} cannot be used like this.")
        return response

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out of a form that adds a row what only the database will fill."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None:
            return fieldsets
        columns = self.model._meta.concrete_fields
        filled = {column.name for column in columns if column.has_db_default()}
        filled &= {*self.get_readonly_fields(request, obj)}
        return [
            (
                title,
                {**options, "fields": [name for name in options["fields"] if name not in filled]},
            )
            for title, options in fieldsets
        ]

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        """Sort by no more than ``sortable_by`` offers, also where a link asks for another order.

        A time without an offset that a query string filters by is in the viewer's zone.
        """
        wide: type[ChangeList] = super().get_changelist(request, **options)
        sortable = self.get_sortable_by(request)

        def get_ordering_field(changelist: ChangeList, name: Any) -> Any:
            return wide.get_ordering_field(changelist, name) if name in sortable else None

        def get_filters_params(changelist: ChangeList, params: Any = None) -> dict[str, Any]:
            given = wide.get_filters_params(changelist, params)
            return {
                name: [_in_viewers_zone(self.model, name, value) for value in values]
                for name, values in given.items()
            }

        own = {"get_ordering_field": get_ordering_field, "get_filters_params": get_filters_params}
        return type("Sorted", (wide,), own)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write the act to the admin's log, and send the signal; likewise below."""
        _notify_listeners(request, obj, _said(message) or "Added.")
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        _notify_listeners(request, obj, _said(message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for row in queryset:
            _notify_listeners(request, row, "Deleted.")
        return super().log_deletions(request, queryset)

    def response_action(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Let an action on a list run, unless an id of a row is none."""
        key = self.model._meta.pk
        try:
            for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME):
                key.run_validators(key.to_python(chosen))
        except ValidationError:
            raise BadRequest("The selection contains an invalid id.") from None
        response: HttpResponse = super().response_action(request, queryset)
        return response

    def get_unfold_action(self, action: str) -> UnfoldAction:
        """Make the action of a row's page, which is not found where the row is not."""
        made: UnfoldAction = super().get_unfold_action(action)
        act: Callable[..., HttpResponse] = made.method

        @wraps(act)
        def on_a_row(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
            if "object_id" in options and not self._row(request, options["object_id"]):
                raise Http404
            return act(request, *args, **options)

        return replace(made, method=on_a_row)

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Return the form's class; what is unique by several fields is told beside one of them.

        It refuses to undo what somebody else has saved since the page was opened.
        """
        form = super().get_form(request, *args, **options)
        bases = (_BesideField, lost_updates.KeepsOthersChanges, form)
        return type(form.__name__, bases, {"__module__": form.__module__})

    def get_formsets_with_inlines(self, request: HttpRequest, obj: Any = None) -> Iterator[Any]:
        """Yield the rows that the page edits beside its own, which refuse likewise."""
        for formset, inline in super().get_formsets_with_inlines(request, obj):
            bases = (lost_updates.KeepsOthersRows, formset)
            own = {"__module__": formset.__module__, "rows": inline.verbose_name_plural}
            yield type(formset.__name__, bases, own), inline

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """Draw the page of a row; it carries what the row was when the page was opened."""
        formsets = [inline.formset for inline in context["inline_admin_formsets"]]
        opened = lost_updates.written(context["adminform"].form, formsets)
        carried = {"opened": opened, "opened_name": lost_updates.OPENED}
        page: HttpResponse = super().render_change_form(
            request, {**context, **carried}, *args, **options
        )
        return page

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, *args: Any, **options: Any
    ) -> HttpResponse:
        """Show the page of a row, or go back and say that it does not exist."""
        row = None if object_id is None else self._row(request, object_id)
        if object_id is not None and row is None:
            response: HttpResponse = self._get_obj_does_not_exist_redirect(
                request, self.opts, object_id
            )
        else:
            try:
                change = partial(self._changed, request, row, object_id, *args, **options)
                try:
                    response = watch.past_brief(change)
                except IntegrityError:
                    # Somebody has saved the same meanwhile, which the form sees now.
                    response = watch.past_brief(change)
            except RecursionError:  # what Python's json says of a form's field
                if request.method != "POST":
                    raise
                raise BadRequest("A field is nested too deeply.") from None
        return response

    def _changed(self, request: HttpRequest, row: Any, *args: Any, **options: Any) -> HttpResponse:
        """Show or save a row; of two who save it at once one waits, and reads what was saved.

        A class whose page saves other rows, too, locks in ``lock_first(row)`` those that processes
        lock before its own: so nobody waits in a circle.
        """
        using = router.db_for_write(self.model)
        response: HttpResponse
        if request.method != "POST" or row is None or not self.has_change_permission(request, row):
            response = super().changeform_view(request, *args, **options)
            return response
        with transaction.atomic(using=using):
            if (lock_first := getattr(self, "lock_first", None)) is not None:
                lock_first(row)
            has_weaker = connections[using].features.has_select_for_no_key_update
            rows: QuerySet[Any] = QuerySet(self.model, using=using)
            locked = rows.select_for_update(no_key=has_weaker)
            locked.filter(pk=row.pk).values_list("pk").first()
            response = super().changeform_view(request, *args, **options)
        return response

    def _row(self, request: HttpRequest, object_id: object) -> Any:
        return self.get_object(request, unquote(str(object_id)))


def _in_viewers_zone(model: type[Model], lookup: str, value: Any) -> Any:
    """Return what a time column is filtered by with its offset; anything else as it is."""
    column = next((f for f in model._meta.fields if f.name == lookup.partition("__")[0]), None)
    if not isinstance(column, DateTimeField) or not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return value if is_aware(moment) else make_aware(moment).isoformat()


def _notify_listeners(request: HttpRequest, row: Model, said: str) -> None:
    for listener in listeners:
        listener(request, row, said)


def _said(message: Any) -> str:
    if isinstance(message, str):
        return message
    said: str = LogEntry(change_message=json.dumps(message)).get_change_message()
    return said


def _asked_by(listed: Any) -> Iterator[str]:
    if isinstance(listed, type) and issubclass(listed, ListFilter):
        yield str(getattr(listed, "parameter_name", ""))
    else:
        path = listed if isinstance(listed, str) else listed[0]
        yield from (path + form for form in _FORMS)


class Site(UnfoldAdminSite):  # type: ignore[misc]  # unfold has no types
    """The site of all admin classes.

    ``first_page`` returns what the first page shows. It works without the setting ``UNFOLD``, which
    a project may have of its own.
    """

    first_page: Callable[[HttpRequest], dict[str, Any]] | None = None

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Show the first page, with what ``first_page`` returns."""
        own = self.first_page(request) if self.first_page else {}
        shown: TemplateResponse = super().index(request, own | (extra_context or {}))
        return shown

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what each page has, with our styles and scripts before a project's own."""
        context: dict[str, Any] = super().each_context(request)
        context["styles"] = [static("notifications/admin.css"), *context["styles"]]
        context["scripts"] = [static("notifications/admin.js"), *context["scripts"]]
        return context

    def get_urls(self) -> list[Any]:
        """Return the addresses of all admin classes; a process that has not loaded them does."""
        autodiscover_modules("admin", register_to=self)
        urls: list[Any] = super().get_urls()
        return urls

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[Any] | None = None,
        **options: Any,
    ) -> None:
        """Register an admin class, narrowed."""
        wide = admin_class or ModelAdmin
        narrow = type(wide.__name__, (Narrowed, wide), {"__module__": wide.__module__})
        super().register(model_or_iterable, narrow, **options)

    def admin_view(
        self,
        view: Callable[..., HttpResponse],
        cacheable: bool = False,  # noqa: FBT001, FBT002 -- Django's signature
    ) -> Callable[..., HttpResponse]:
        """Refuse NUL characters, which no database keeps as text, and find nothing by no id."""

        @wraps(view)
        def without_nul(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
            given = (value for name in request.GET for value in request.GET.getlist(name))
            if "\x00" in request.path or any("\x00" in value for value in given):
                raise BadRequest("It holds a NUL character.")
            try:
                return view(request, *args, **options)
            except ValidationError:  # of Django's own pages, for an id that is none
                raise Http404 from None

        made: Callable[..., HttpResponse] = super().admin_view(without_nul, cacheable)
        return made
