"""What a query string may ask of the admin: what a page lists as its filters, on every page."""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import ModelAdmin
from django.contrib.admin.sites import AdminSite
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client, RequestFactory
from django.urls import reverse
from django_celery_results.models import TaskResult

from notifications.admin_site import Narrowed, Site
from notifications.models import Attempt, FailedDelivery, Notification, Suppression

HIDDEN = {
    *("args", "attachments", "body", "content", "context", "detail", "errors", "history", "kwargs"),
    *("metadata", "password", "recipient", "request", "result", "secrets", "subject", "task_args"),
    *("task_kwargs", "traceback", "celery_links", "hash", "headers", "email"),
}
GARBAGE = ("'", "\x00", "-1", "9" * 40, "[", "{}", "\ud7ff", "a" * 3000, "%", "2026-13-99", "NaN")


def changelist(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def lookups_of(model: Any) -> Iterator[str]:
    for field in model._meta.get_fields():
        yield from (f"{field.name}{form}" for form in ("", "__startswith", "__contains", "__gt"))
        if field.is_relation and field.related_model:
            for inner in field.related_model._meta.get_fields():
                yield f"{field.name}__{inner.name}__startswith"


def parameters(listed: Any) -> Iterator[Any]:
    """Name what a page's filters ask by."""
    for filter_ in listed.list_filter:
        yield filter_ if isinstance(filter_, str) else filter_.parameter_name


ADMINS = [*admin.site._registry.values()]


@pytest.mark.parametrize("listed", ADMINS, ids=lambda listed: listed.model._meta.label)
def test_no_page_can_be_filtered_by_what_it_does_not_list(listed: Any, rf: RequestFactory) -> None:
    assert isinstance(listed, Narrowed)
    known = {*parameters(listed), *getattr(listed, "listed_lookups", ())}
    for lookup in {*lookups_of(listed.model), "pk__gt", "no_such__startswith"} - known:
        assert not listed.lookup_allowed(lookup, "a", rf.get("/")), lookup
    assert all(listed.lookup_allowed(lookup, "a", rf.get("/")) for lookup in known)


@pytest.mark.parametrize("listed", ADMINS, ids=lambda listed: listed.model._meta.label)
def test_no_page_is_ordered_searched_or_filtered_by_what_it_hides(listed: Any) -> None:
    by = [*listed.search_fields, *(listed.ordering or ()), *parameters(listed)]
    for column in listed.list_display:
        method = getattr(listed, column, None)
        by.append(getattr(method, "admin_order_field", None) if method else column)
    names = {name.lstrip("-") for name in by if isinstance(name, str)}
    names -= {"=recipient"}  # the whole address has to be known already
    if listed.model is User:
        names -= {"email"}  # who sees users sees their addresses
    assert {name for name in names if set(name.split("__")) & HIDDEN} == set()


def test_garbage_in_a_query_string_is_no_error_of_ours(admin_client: Client) -> None:
    admin_client.raise_request_exception = False
    garbage = cycle(GARBAGE)
    failed = []
    for listed in ADMINS:
        for name in ("q", "o", *parameters(listed)):
            value = next(garbage)
            answer = admin_client.get(changelist(listed.model), {name: value, "p": value})
            if answer.status_code not in (200, 302, 400):
                failed.append((f"{listed.model} {name}={value}", answer.status_code))
    assert failed == []


def test_an_action_on_an_id_that_is_none_is_not_found_or_refused(
    admin_client: Client, rf: RequestFactory, admin_user: User
) -> None:
    admin_client.raise_request_exception = False
    request = rf.get("/")
    request.user = admin_user
    garbage = cycle(GARBAGE)
    failed, tried = [], 0
    for listed in ADMINS:
        for name in listed.get_actions(request):
            value = next(garbage)
            sent = {"action": name, ACTION_CHECKBOX_NAME: value, "index": 0}
            answer = admin_client.post(changelist(listed.model), sent)
            tried += 1
            if answer.status_code not in (200, 302, 400):
                failed.append((f"{listed.model} {name}={value}", answer.status_code))
        rows = [url for url in listed.get_urls() if "object_id" in url.pattern.converters]
        for url in rows:
            if url.name is None:
                continue
            for value in (next(garbage), "0", str(uuid4())):
                where = reverse(f"admin:{url.name}", args=[value])
                answer = admin_client.post(where, {"_form_submitted": "on", "reason": "r"})
                tried += 1
                if answer.status_code not in (302, 400, 403, 404):
                    failed.append((where[:80], answer.status_code))
    assert failed == []
    assert tried > 200


@pytest.mark.parametrize("row", ["0", "zzz", "9" * 40, "..%2f"])
def test_a_page_of_an_action_on_no_row_is_not_found(admin_client: Client, row: str) -> None:
    for page, verb in (
        ("notifications/notification", "cancel"),
        ("notifications/faileddelivery", "discard"),
        ("notifications/provideraccount", "send_test"),
        ("django_celery_beat/periodictask", "run"),
        ("templates_engine/template", "new_version"),
        ("templates_engine/templateversion", "publish"),
    ):
        sent = {"_form_submitted": "on", "reason": "r", "recipient": "a@b.example"}
        answer = admin_client.post(f"/admin/{page}/{row}/{verb}/", sent)
        assert answer.status_code == 404, page


@pytest.mark.parametrize("row", ["1", "zzz", "9" * 40])
def test_nothing_is_found_on_the_site_by_no_id(admin_client: Client, row: str) -> None:
    for kind in ContentType.objects.all():
        assert admin_client.get(f"/admin/r/{kind.pk}/{row}/").status_code == 404, kind
    assert admin_client.get(f"/admin/r/{10**6}/{row}/").status_code == 404


@pytest.mark.parametrize("deep", ["[" * 50_000, '{"a":' * 50_000])
def test_a_field_that_is_nested_too_deeply_is_refused(admin_client: Client, deep: str) -> None:
    rule = {"name": "r", "event": "a.b", "channel": "sms", "recipients": "data.to", "context": deep}
    answer = admin_client.post("/admin/notifications/eventrule/add/", rule)
    assert answer.status_code == 400


def test_a_new_admin_class_cannot_forget_it() -> None:
    site = Site()
    site.register(Attempt, ModelAdmin)
    site.register([Suppression])
    for model in (Attempt, Suppression):
        assert not site._registry[model].lookup_allowed("detail__startswith", "a")
    assert isinstance(site, AdminSite)


def test_a_viewer_reads_nothing_hidden_character_by_character(
    browser_of: Callable[..., Any], accepted: Callable[..., Notification]
) -> None:
    accepted(recipient="ada", body="the secret body", metadata={"card": "4111"})
    viewer = browser_of("view_notification", "view_batch", "view_suppression")
    for lookup in (
        "body__startswith",
        "metadata__card",
        "recipient__startswith",
        "context__contains",
        "attempts__detail__contains",
        "batch__errors__contains",
        "id__in",
    ):
        for value in ("the", "4", "a"):
            url = "/admin/notifications/notification/"
            assert viewer.get(url, {lookup: value}).status_code == 400, lookup
    assert viewer.get("/admin/notifications/batch/", {"errors__contains": "{"}).status_code == 400


def test_addresses_in_what_a_server_said_are_masked_with_the_rest(
    browser_of: Callable[..., Any], dead: Callable[..., Any]
) -> None:
    row = dead()
    words = "550 5.1.1 <ada.lovelace@example.org> (+43 664 1234567): unknown"
    Attempt.objects.update(detail=words)
    FailedDelivery.objects.update(
        detail=words, history=[{**entry, "detail": words} for entry in row.history]
    )
    viewer = browser_of("view_notification", "view_faileddelivery", "view_attempt")
    for url in (
        f"/admin/notifications/faileddelivery/{row.pk}/change/",
        f"/admin/notifications/notification/{row.notification_id}/change/",
        "/admin/notifications/faileddelivery/causes/",
    ):
        page = viewer.get(url)
        assert page.status_code == 200
        text = page.content.decode()
        assert "5.1.1" in text
        assert "lovelace" not in text
        assert "1234567" not in text


def test_what_a_job_was_given_is_shown_to_who_may_see_contents_alone(
    browser_of: Callable[..., Any],
) -> None:
    row = TaskResult.objects.create(task_id="x", task_kwargs='{"to": "ada@example.org"}')
    page = f"/admin/django_celery_results/taskresult/{row.pk}/change/"
    person = browser_of("view_batch")
    for codename, shown in (("view_taskresult", False), ("view_content", True)):
        user = User.objects.get(username="staff")
        user.user_permissions.add(Permission.objects.get(codename=codename))
        text = person.get(page).content.decode()
        assert ("ada@example.org" in text) is shown
