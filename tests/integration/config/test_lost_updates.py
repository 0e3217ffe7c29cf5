"""Two people with one change page open: what the first has saved is not undone by the second."""

import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from threading import Thread
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.db.models import Model
from django.test import Client, override_settings
from django.urls import reverse
from django_celery_beat.models import ClockedSchedule, IntervalSchedule, PeriodicTask

from notifications.admin_site.lost_updates import OPENED
from notifications.models import AccountRule, ProviderAccount, Recipient
from notifications.recipients import directory
from scheduling.models import Schedule
from templates_engine.admin.forms import field_name
from templates_engine.parts import DEFAULT_LOCALE
from tests.integration.config.walk_rows import furnished
from tests.integration.config.walk_tables import MODELS
from tests.locks import a_lock_is_awaited
from tests.servers.process import wait_until

pytestmark = pytest.mark.django_db

STEPS = '[{"channel": "sms", "body": "Other", "recipient": "+436641234567"}]'
FILTER = '{"field": "attributes.plan", "op": "eq", "value": "gold"}'
# What the first and the second change, and by which label the page names the first one's field.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "auth.group": ({"name": "reader"}, {"permissions": []}, "Name"),
    "auth.user": ({"first_name": "Eve"}, {"last_name": "Moneypenny"}, "First name"),
    "django_celery_beat.clockedschedule": (
        {"clocked_time_0": "2031-01-01"},
        {"clocked_time_1": "03:04:05"},
        "Clock Time",
    ),
    "django_celery_beat.crontabschedule": ({"hour": "3"}, {"minute": "4"}, "Hour(s)"),
    "django_celery_beat.intervalschedule": (
        {"every": "78"},
        {"period": "minutes"},
        "Number of Periods and Interval Period",  # the row had no period
    ),
    "django_celery_beat.periodictask": (
        {"description": "Ask Ada"},
        {"name": "another"},
        "Description and Keyword Arguments",  # which the form writes in an order of its own
    ),
    "django_celery_beat.solarschedule": ({"latitude": "2"}, {"longitude": "3"}, "Latitude"),
    "notifications.apikey": ({"name": "till"}, {"rate": "7"}, "Name"),
    "notifications.audience": ({"description": "All"}, {"filter": FILTER}, "Description"),
    "notifications.category": ({"title": "Reports"}, {"description": "Numbers"}, "Title"),
    "notifications.chain": ({"steps": STEPS}, {"stop_on": "delivered"}, "Steps"),
    "notifications.deliverywindow": ({"begins": "09:00"}, {"ends": "21:00"}, "Begins"),
    "notifications.eventrule": ({"event": "c.d"}, {"name": "s"}, "Event"),
    "notifications.project": ({"description": "Ours"}, {"description": "Mine"}, "Description"),
    "notifications.provideraccount": ({"weight": "7"}, {"rate_limit": "9/s"}, "Weight"),
    "notifications.queueweight": ({"weight": "4"}, {"queue": "email.high"}, "Weight"),
    "notifications.ratelimit": ({"rate": "6/m"}, {"channel": "sms"}, "Rate"),
    "notifications.recipient": (
        {"addresses": "email ada@example.org"},
        {"locale": "de"},
        "Addresses",
    ),
    "notifications.throttle": ({"limit": "4"}, {"period": "2h"}, "Limit"),
    "templates_engine.partial": ({"source": "y"}, {"description": "Below"}, "Source"),
    "templates_engine.template": (
        {"description": "A code"},
        {"category": "marketing"},
        "Description",
    ),
    "templates_engine.templateversion": (
        {field_name(DEFAULT_LOCALE, "body"): "Your {{ code }}"},
        {field_name(DEFAULT_LOCALE, "subject"): "Code"},
        "Body",
    ),
}
SAID = "Somebody has changed {} since you opened this page. Open it again, then make your change."


class _Form(HTMLParser):
    """Reads what a browser would send of a page's own form."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._of_first: str | None
        self._inside, self._select, self._area = False, "", ""
        self._first, self._of_first = False, None  # the first option of a dropdown

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        name, kind = found.get("name", ""), found.get("type", "text")
        if tag == "form":
            self._inside = found.get("id", "").endswith("_form")
        elif not self._inside or "disabled" in found:
            return
        elif tag == "select":
            self._select, self._first = name, "multiple" not in found
        elif tag == "option" and "selected" in found:
            self.values.setdefault(self._select, []).append(found.get("value", ""))
        elif tag == "option" and self._first:
            self._of_first = found.get("value", "")
            self._first = False
        elif tag == "textarea" and name:
            self._area = name
            self.values[name] = [""]
        elif tag == "input" and name and kind not in ("submit", "button", "file"):
            is_box = kind in ("checkbox", "radio")
            if not is_box or "checked" in found:
                value = found.get("value", "on" if is_box else "")
                self.values.setdefault(name, []).append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""
        elif tag == "select" and self._of_first is not None:  # what a browser chooses by itself
            self.values.setdefault(self._select, [self._of_first])
            self._of_first = None
        elif tag == "form":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._area:
            self.values[self._area][0] += data.removeprefix("\n")


@pytest.fixture(autouse=True)
def _no_contexts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # The test client would copy the context of each of a page's hundred templates.
    monkeypatch.setattr("django.test.client.store_rendered_templates", lambda *_, **__: None)


def browser_of(name: str) -> Client:
    browser = Client()
    browser.force_login(User.objects.create_superuser(name, password="secret"))
    return browser


def opened(browser: Client, page: str) -> dict[str, list[str]]:
    form = _Form()
    form.feed(browser.get(page).content.decode())
    return form.values


def errors_of(answer: Any) -> list[str]:
    """Return what a page says of its form, without the markup."""
    text = answer.content.decode()
    said = re.findall(r"(?s)<ul class=.errorlist.*?</ul>|Somebody has changed.*?<", text)
    return [re.sub(r"<[^>]*>?", " ", unescape(part)).strip() for part in said]


def page_of(row: Any) -> str:
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def _kept(row: Any) -> dict[str, Any]:
    """Return a row's columns, and what its page shows of other rows."""
    now = type(row)._base_manager.get(pk=row.pk)
    kept = {field.attname: getattr(now, field.attname) for field in now._meta.concrete_fields}
    if isinstance(now, Recipient):
        kept["addresses"] = sorted(now.addresses.values_list("channel", "address", "verified"))
    return kept


def test_each_page_by_which_a_row_is_changed_is_tried() -> None:
    assert CHANGES.keys() == {name for name, (_, _, may_change, _) in MODELS.items() if may_change}


@pytest.mark.parametrize("name", CHANGES)
def test_who_saves_second_does_not_undo_what_the_first_saved(name: str) -> None:
    rows, _, _ = furnished()
    row = rows[apps.get_model(name)]
    page, first, second = page_of(row), browser_of("ada"), browser_of("bob")
    by_first, by_second, label = CHANGES[name]
    firsts, seconds = opened(first, page), opened(second, page)
    before = _kept(row)

    saved = first.post(page, firsts | by_first)
    assert saved.status_code == 302, errors_of(saved)
    after = _kept(row)
    assert after != before

    refused = second.post(page, seconds | by_second)
    assert refused.status_code == 200
    text = refused.content.decode()
    assert SAID.format(label) in errors_of(refused)
    assert _kept(row) == after
    sent_again = _Form()
    sent_again.feed(text)
    for field, value in by_second.items():  # what was typed is still to be seen
        assert sent_again.values.get(field, []) == (value if isinstance(value, list) else [value])
    assert second.post(page, sent_again.values).status_code == 200
    assert _kept(row) == after

    assert second.post(page, opened(second, page) | by_second).status_code == 302


def test_a_program_without_the_hidden_field_saves_as_it_says() -> None:
    row = ProviderAccount.objects.create(name="a", channel="simulator", kind="simulator")
    browser = browser_of("ada")
    form = opened(browser, page_of(row))
    ProviderAccount.objects.filter(pk=row.pk).update(weight=7)
    del form[OPENED]
    assert browser.post(page_of(row), form).status_code == 302
    row.refresh_from_db()
    assert row.weight == 100


def test_who_saves_twice_by_two_clicks_is_not_refused() -> None:
    row = ProviderAccount.objects.create(name="a", channel="simulator", kind="simulator")
    browser = browser_of("ada")
    form = opened(browser, page_of(row)) | {"weight": "7"}
    assert browser.post(page_of(row), form).status_code == 302
    assert browser.post(page_of(row), form).status_code == 302


def test_what_a_request_of_the_api_saved_is_not_undone() -> None:
    row = Recipient.objects.create(key="c1")
    browser = browser_of("ada")
    form = opened(browser, page_of(row)) | {"locale": "de"}
    directory.save({"id": "c1", "attributes": {"plan": "pro"}}, world=row.world)
    refused = browser.post(page_of(row), form)
    assert SAID.format("Attributes") in errors_of(refused)
    row.refresh_from_db()
    assert (row.attributes, row.locale) == ({"plan": "pro"}, "")


def test_several_fields_are_named_together() -> None:
    row = ProviderAccount.objects.create(name="a", channel="simulator", kind="simulator")
    browser = browser_of("ada")
    form = opened(browser, page_of(row))
    ProviderAccount.objects.filter(pk=row.pk).update(weight=7, enabled=False)
    said = browser.post(page_of(row), form).content.decode()
    assert "Somebody has changed Enabled and Weight since" in said


@pytest.mark.parametrize(
    "rule",
    [
        {
            "clocked": ClockedSchedule(clocked_time=datetime(2031, 1, 1, tzinfo=UTC)),
            "one_off": True,
        },
        {"interval": IntervalSchedule(every=7, period="hours"), "start_time": "2031-01-01 00:00Z"},
    ],
    ids=["once", "every"],
)
def test_another_time_zone_of_the_viewer_is_no_change(rule: dict[str, Any]) -> None:
    for part in rule.values():
        if isinstance(part, Model):
            part.save()
    kwargs = '{"channel": "simulator", "recipient": "ada", "body": "B"}'
    send = "notifications.send_notification"
    task = PeriodicTask.objects.create(name="greet", task=send, kwargs=kwargs, **rule)
    browser = browser_of("ada")
    form = opened(browser, page_of(task)) | {"description": "Mine"}
    browser.cookies["zone"] = "Asia/Tokyo"
    assert not errors_of(browser.post(page_of(task), form))
    task.refresh_from_db()
    assert task.description == "Mine"


def test_rows_beside_the_page_s_own_are_not_undone() -> None:
    row = ProviderAccount.objects.create(name="a", channel="simulator", kind="simulator")
    rule = AccountRule.objects.create(account=row, template="code")
    browser = browser_of("ada")
    form = opened(browser, page_of(row)) | {"weight": "7"}
    AccountRule.objects.filter(pk=rule.pk).update(template="other")
    refused = browser.post(page_of(row), form)
    assert SAID.format("Account rules") in errors_of(refused)
    rule.refresh_from_db()
    assert rule.template == "other"


def test_the_policy_of_a_schedule_is_not_undone() -> None:
    rows, _, _ = furnished()
    task = rows[PeriodicTask]
    browser = browser_of("ada")
    form = opened(browser, page_of(task)) | {"description": "Mine"}
    Schedule.objects.filter(pk=task.pk).update(max_retries=5)
    refused = browser.post(page_of(task), form)
    assert SAID.format("Policy") in errors_of(refused)
    assert Schedule.objects.get(pk=task.pk).max_retries == 5


def test_digests_tell_nothing_of_equal_values() -> None:
    secrets = {"token": "env:SECRET_A"}
    make = ProviderAccount.objects.create
    pages = [page_of(make(name=n, channel="sms", kind="twilio", secrets=secrets)) for n in "ab"]
    browser = browser_of("ada")
    secrets_page, other = (opened(browser, page)[OPENED][0] for page in pages)
    assert "SECRET_A" not in secrets_page
    digests = [part.rpartition(":")[2] for part in f"{secrets_page} {other}".split()]
    assert len(digests) == len({*digests})


def test_a_page_opened_before_the_secret_key_changed_can_be_saved() -> None:
    row = ProviderAccount.objects.create(name="a", channel="simulator", kind="simulator")
    browser = browser_of("ada")
    with override_settings(SECRET_KEY="old" * 20):
        browser.force_login(User.objects.get())
        form = opened(browser, page_of(row)) | {"weight": "7"}
    with override_settings(SECRET_KEY="new" * 20, SECRET_KEY_FALLBACKS=["old" * 20]):
        assert browser.post(page_of(row), form).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_of_two_who_save_at_the_same_instant_the_second_waits_and_is_refused() -> None:
    row = ProviderAccount.objects.create(name="a", channel="simulator", kind="simulator")
    first, second = browser_of("ada"), browser_of("bob")
    page = page_of(row)
    firsts, seconds = opened(first, page), opened(second, page)
    answers: list[Any] = []

    def save_second() -> None:
        try:
            answers.append(second.post(page, seconds | {"rate_limit": "9/s"}))
        finally:
            connections.close_all()

    with transaction.atomic():
        assert first.post(page, firsts | {"weight": "7"}).status_code == 302
        thread = Thread(target=save_second)
        thread.start()
        wait_until(lambda: a_lock_is_awaited() or not thread.is_alive())
    thread.join()
    assert SAID.format("Weight") in answers[0].content.decode()
    row.refresh_from_db()
    assert (row.weight, row.rate_limit) == (7, "")
