"""Delivery windows, and sends at a time where the recipient is."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from pytest_django import Settings

from notifications.admin.project import TAKEN
from notifications.core import errors
from notifications.core.routing import SEND_TASK
from notifications.db import clock
from notifications.delivery import claims
from notifications.models import DeliveryWindow, Notification, Recipient
from notifications.queueing import backlog
from notifications.recipients import categories, project_rows, suppressions, windows
from notifications.recipients.places import Place
from notifications.recipients.windows import Step, Window
from notifications.submission import (
    choose_preferences,
    local_times,
    save_recipient,
    send,
    send_many,
)
from notifications.submission.requests import read
from scheduling import jobs
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.multiply import multiply

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db

TO: dict[str, Any] = {"to": {"recipient": "customer-17"}}
BILL: dict[str, Any] = {"channel": "simulator", "body": "B", "category": "billing", **TO}
VIENNA, NEW_YORK = Place("Europe/Vienna", "AT"), Place("America/New_York", "US")
LORD_HOWE = Place("Australia/Lord_Howe", "AU")
ID = UUID(int=7)


def window(begins: str = "08:00", ends: str = "20:00", **changes: Any) -> Window:
    given: dict[str, Any] = {
        "days": range(7),
        "holidays": True,
        "timezone": "",
        "country": "",
        "spread": 0,
    }
    given |= {"if_late": "drop", **changes}
    days = frozenset(given.pop("days"))
    return Window(time.fromisoformat(begins), time.fromisoformat(ends), days, **given)


AUSTRIAN = window(holidays=False, country="AT")


@pytest.fixture(autouse=True)
def _fresh(settings: Settings) -> None:
    settings.OUTBOX = True
    suppressions.forget()
    categories.forget()
    windows.forget()


@pytest.fixture
def ada() -> Recipient:
    return save_recipient("customer-17", addresses={"simulator": "ada"}, timezone="Europe/Vienna")


def local(text: str, place: Place = VIENNA) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(place.timezone))


@pytest.mark.parametrize(
    ("given", "place", "moment", "opens"),
    [
        (window(), VIENNA, "2026-06-01T12:00", "2026-06-01T12:00"),  # open
        (window(), VIENNA, "2026-06-01T20:00", "2026-06-02T08:00"),
        (window(), VIENNA, "2026-06-01T07:59", "2026-06-01T08:00"),
        (window(), NEW_YORK, "2026-06-01T21:00", "2026-06-02T08:00"),
        (window("22:00", "06:00"), VIENNA, "2026-06-01T03:00", "2026-06-01T03:00"),
        (window("22:00", "06:00"), VIENNA, "2026-06-01T06:00", "2026-06-01T22:00"),
        (window(days=range(5)), VIENNA, "2026-06-05T21:00", "2026-06-08T08:00"),  # a Friday
        (window("00:00", "00:00", days=[0]), VIENNA, "2026-06-02T00:00", "2026-06-08T00:00"),
        (window(holidays=False), VIENNA, "2026-12-24T21:00", "2026-12-27T08:00"),  # two holidays
        (window(holidays=False), Place("Europe/Vienna"), "2026-12-24T21:00", "2026-12-25T08:00"),
        (
            window(holidays=False, country="AT"),
            Place("Europe/Vienna"),
            "2026-12-24T21:00",
            "2026-12-27T08:00",
        ),
        (window("02:30", "03:30"), VIENNA, "2026-03-29T00:00", "2026-03-30T02:30"),  # a gap
        (window("02:15", "02:45"), VIENNA, "2026-03-29T00:00", "2026-03-29T03:15"),
        (window("02:00", "03:00"), VIENNA, "2026-03-29T00:00", "2026-03-30T02:00"),
        (window("02:00", "02:30"), LORD_HOWE, "2026-10-04T00:00", "2026-10-05T02:00"),
    ],
)
def test_a_window_opens_where_the_recipient_is(
    given: Window, place: Place, moment: str, opens: str
) -> None:
    found, closes = windows.opens_at(given, place, local(moment, place))
    assert found is not None
    assert closes is not None
    assert found == local(opens, place)
    assert found < closes


@pytest.mark.parametrize(
    ("given", "expires", "step"),
    [
        (window(), None, Step.WAIT),
        (window(), "2026-06-02T09:00", Step.WAIT),
        (window(), "2026-06-02T07:00", Step.DROP),
        (window(if_late="send"), "2026-06-02T07:00", Step.GO),
        (window(if_late="channel"), "2026-06-02T07:00", Step.CHANNEL),
        (window(if_late="channel"), "2026-06-02T09:00", Step.WAIT),
        (window(days=[]), None, Step.DROP),
    ],
)
def test_what_would_expire_before_it_opens_is_dropped_or_sent(
    given: Window, expires: Any, step: Step
) -> None:
    expires_at = local(expires) if expires else None
    due_at = local("2026-06-01T21:00")
    assert (
        windows.plan(given, VIENNA, ID, channel="push", due_at=due_at, expires_at=expires_at).step
        is step
    )


def test_what_waited_is_spread_evenly_over_the_first_minutes() -> None:
    due_at, opens = local("2026-06-01T21:00"), local("2026-06-02T08:00")
    found = [
        windows.plan(
            window(spread=10), VIENNA, uuid4(), channel="push", due_at=due_at, expires_at=None
        ).due_at
        for _ in range(2000)
    ]
    minutes = [
        int((moment - opens).total_seconds() // 60) for moment in found if moment is not None
    ]
    assert set(minutes) == set(range(10))
    assert max(minutes.count(minute) for minute in range(10)) < 300


def closed() -> dict[str, str]:
    """A window that opens in five hours and closes two hours later, where Ada is."""
    opens = clock.now().astimezone(ZoneInfo("Europe/Vienna")) + timedelta(hours=5)
    return {"begins": f"{opens:%H:%M}", "ends": f"{opens + timedelta(hours=2):%H:%M}"}


def test_the_answer_says_when_it_goes_and_why(call: Caller, ada: Recipient) -> None:
    made = call("POST", "/delivery-windows", {"category": "billing", **closed(), "spread": 0})
    assert made.status_code == 201
    answer = call.ok("POST", "/notifications", {**BILL, "idempotency_key": "k"})
    assert (answer["status"], answer["reason"]) == ("scheduled", "window_closed")
    waits = datetime.fromisoformat(answer["scheduled_at"]) - clock.now()
    assert timedelta(hours=4, minutes=58) < waits < timedelta(hours=5, minutes=1)
    assert call.ok("POST", "/notifications", {**BILL, "idempotency_key": "k"}) == answer
    late = call.ok("POST", "/notifications", {**BILL, "expires": 600})
    assert (late["status"], late["reason"]) == ("expired", "window_closed")
    assert send(**BILL | {"category": "security"}).status == "queued"
    assert send(channel="simulator", body="B", **TO).status == "queued"
    assert send(**BILL | {"countdown": 5 * 3600 + 600}).reason == ""
    assert (
        call(
            "POST", "/delivery-windows", {"category": "billing", **closed(), "if_late": "send"}
        ).status_code
        == 200
    )
    assert call.ok("POST", "/notifications", {**BILL, "expires": 600})["status"] == "queued"
    [shown] = call.ok("GET", "/delivery-windows")
    assert (shown["if_late"], shown["spread"]) == ("send", 10)  # replaced as a whole
    path = f"/delivery-windows/{shown['id']}"
    changed = call.ok("PATCH", path, {"holidays": False, "country": "AT"})
    assert changed == {**shown, "holidays": False, "country": "AT"}
    assert call("PATCH", path, {"days": []}).json()["field"] == "days"
    assert call("PATCH", path, {"category": "product"}).status_code == 422
    assert call("PATCH", "/delivery-windows/0", {"spread": 5}).status_code == 404
    call.ok("PATCH", path, {"holidays": True})
    assert call("DELETE", f"/delivery-windows/{shown['id']}").status_code == 204
    assert call("DELETE", f"/delivery-windows/{shown['id']}").status_code == 404
    assert send(**BILL).status == "queued"


def test_what_would_be_late_goes_by_another_channel(
    call: Caller, deliver: Callable[..., Any]
) -> None:
    addresses = {"simulator": "ada", "push": ["phone", "tablet"], "email": "ada@example.org"}
    save_recipient("customer-17", addresses=addresses, timezone="Europe/Vienna")
    for name, channel, part in (("late", "email", "text"), ("bill", "simulator", "body")):
        call.ok("POST", "/templates", {"name": name, "channel": channel})
        parts = {part: "Bill {{ no }}", **({"subject": "Bill"} if channel == "email" else {})}
        call.ok("POST", f"/templates/{name}/versions", {"parts": parts})
        call.ok("POST", f"/templates/{name}/versions/1/publish")
    late = {"if_late": "channel", "late_channel": "email", "late_template": "late"}
    made = call("POST", "/delivery-windows", {"category": "billing", **closed(), **late})
    assert made.status_code == 201
    bill = {k: v for k, v in BILL.items() if k != "body"} | {"template": "bill"}
    given = {**bill, "context": {"no": "7"}, "expires": 600, "idempotency_key": "k"}
    answer = call.ok("POST", "/notifications", given)
    assert (answer["status"], answer["reason"]) == ("queued", "other_channel")
    assert (answer["channel"], answer["recipient"]) == ("email", "ada@example.org")
    assert call.ok("POST", "/notifications", given)["id"] == answer["id"]
    assert call("POST", "/notifications", {**given, "context": {"no": "8"}}).status_code == 409
    # What does not expire so soon waits for its own channel.
    assert send(**BILL).reason == "window_closed"
    own = send(**BILL, expires=600)
    assert (own.channel, own.body, own.status) == ("email", "B", "queued")
    later = send(**BILL, countdown=300, expires=600)
    assert (later.channel, later.status) == ("email", "scheduled")
    assert later.due_at is not None
    assert later.due_at > clock.now() + timedelta(seconds=290)
    # Who has refused it there does not get it, and who cannot be reached there neither.
    choose_preferences("customer-17", {"billing": {"email": False}})
    assert send(**BILL, expires=600).reason == "category_refused_on_channel"
    plain = send(channel="simulator", recipient="ada", body="B", category="billing", expires=600)
    assert (plain.status, plain.reason) == ("expired", "window_closed")
    # Several devices: each is a notification of its own.
    window_id = made.json()["id"]
    to_push = {"late_channel": "push", "late_template": ""}
    call.ok("PATCH", f"/delivery-windows/{window_id}", to_push)
    answer = call.ok("POST", "/notifications", {**BILL, "subject": "S", "expires": 600})
    assert (answer["channel"], len(answer["copies"])) == ("push", 1)


@pytest.mark.parametrize("for_", [{"category": "billing"}, {"template": "bill"}])
def test_what_goes_by_another_channel_is_delivered_there(
    call: Caller, deliver: Callable[..., Any], for_: Any
) -> None:
    addresses = {"email": "ada@example.org", "simulator": "ada"}
    save_recipient("customer-17", addresses=addresses, timezone="Europe/Vienna")
    for name, channel in (("late", "simulator"), ("bill", "email")):
        parts = {"email": {"subject": "B", "text": "B"}, "simulator": {"body": "B"}}[channel]
        call.ok("POST", "/templates", {"name": name, "channel": channel})
        call.ok("POST", f"/templates/{name}/versions", {"parts": parts})
        call.ok("POST", f"/templates/{name}/versions/1/publish")
    late = {"if_late": "channel", "late_channel": "simulator", "late_template": "late"}
    call.ok("POST", "/delivery-windows", {**for_, **closed(), **late})
    if "template" in for_:  # whose window does not hold what goes by another channel, neither
        call.ok("POST", "/delivery-windows", {"category": "billing", **closed()})
    fields = {"channel": "email", "template": "bill", "category": "billing", **TO}
    row = send(**fields, expires=600)
    assert (row.channel, row.status, row.reason) == ("simulator", "queued", "other_channel")
    deliver(row)
    row.refresh_from_db()
    assert (row.status, row.reason) == ("sent", "")


def test_what_goes_by_the_late_channel_anyway_is_sent_at_once(ada: Recipient) -> None:
    late = {"if_late": "channel", "late_channel": "simulator"}
    windows.save(DeliveryWindow(category="billing", **_row(), **late))
    row = send(**BILL, expires=600)
    assert (row.status, row.reason) == ("queued", "")
    assert send(**BILL).reason == "window_closed"


def test_a_window_that_another_process_has_just_changed_holds_nothing_back(
    ada: Recipient, deliver: Callable[..., Any]
) -> None:
    windows.save(DeliveryWindow(category="billing", **_row()))
    assert send(**BILL).reason == "window_closed"
    kept = dict(project_rows._kept)
    always = {"begins": time(0), "ends": time(0)}
    DeliveryWindow.objects.update(**always)  # as another process does
    accepted = send(**BILL)
    assert accepted.status == "queued"
    project_rows._kept.update(kept)
    deliver(accepted)
    accepted.refresh_from_db()
    assert accepted.status == "sent"


def test_an_opening_that_is_remembered_is_the_one_that_is_computed() -> None:
    given = window("22:00", "06:00", days=range(5), holidays=False)
    moment = local("2026-12-23T00:00")
    for _ in range(400):
        moment += timedelta(minutes=37)
        found = windows.opens_at(given, VIENNA, moment)
        windows.forget()
        assert windows.opens_at(given, VIENNA, moment) == found
        for _ in range(2):
            later = moment + timedelta(minutes=11)
            assert windows.opens_at(given, VIENNA, later) == windows._opening_from(
                given, VIENNA, later
            )


def test_a_window_that_closed_meanwhile_defers_without_an_attempt(
    ada: Recipient, deliver: Callable[..., Any]
) -> None:
    first, second = send(**BILL), send(**BILL, expires=600)
    windows.save(DeliveryWindow(category="billing", **_row()))
    deliver(first, second)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.reason, first.attempt_count) == ("scheduled", "window_closed", 0)
    assert first.due_at == first.scheduled_at > clock.now() + timedelta(hours=4)
    assert (second.status, second.reason) == ("expired", "window_closed")
    assert claims.claim([first.id]) == []


def _row() -> dict[str, Any]:
    given = closed()
    return {name: time.fromisoformat(value) for name, value in given.items()}


def test_a_templates_window_wins_over_its_categorys(ada: Recipient, call: Caller) -> None:
    call.ok("POST", "/templates", {"name": "bill", "channel": "simulator"})
    call.ok("POST", "/templates/bill/versions", {"parts": {"body": "B"}})
    call.ok("POST", "/templates/bill/versions/1/publish")
    fields = {"channel": "simulator", "template": "bill", "category": "billing", **TO}
    windows.save(DeliveryWindow(category="billing", **_row()))
    assert send(**fields).reason == "window_closed"
    always = {"begins": time(0), "ends": time(0)}
    windows.save(DeliveryWindow(template="bill", **always))
    assert send(**fields).status == "queued"


@pytest.mark.parametrize(
    ("changes", "field", "kind"),
    [
        ({"category": "nope"}, "category", "unknown-category"),
        ({"category": "security"}, "category", "invalid-field"),
        ({"template": "x"}, "category", "invalid-field"),
        ({"category": "", "template": "x"}, "template", "unknown-template"),
        ({"begins": "8"}, "begins", "invalid-field"),
        ({"ends": "24:00"}, "ends", "invalid-field"),
        ({"days": []}, "days", "invalid-window"),
        ({"days": ["monday"]}, "days", "invalid-field"),
        ({"timezone": "Mars"}, "timezone", "invalid-field"),
        ({"country": "ZZ"}, "country", "invalid-field"),
        ({"spread": 1000}, "spread", "invalid-field"),
        ({"if_late": "later"}, "if_late", "invalid-field"),
        ({"if_late": "channel"}, "late_channel", "invalid-field"),
        ({"if_late": "channel", "late_channel": "fax"}, "late_channel", "invalid-field"),
        ({"late_channel": "email"}, "late_channel", "invalid-field"),
        (
            {"if_late": "channel", "late_channel": "email", "late_template": "x"},
            "late_template",
            "unknown-template",
        ),
    ],
)
def test_a_window_that_cannot_work_is_refused_by_field(
    call: Caller, admin_client: Client, changes: dict[str, Any], field: str, kind: str
) -> None:
    given = {"category": "billing", "begins": "08:00", "ends": "20:00", **changes}
    answer = call("POST", "/delivery-windows", given)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert answer.json()["type"].endswith(kind)
    if changes == {"days": ["monday"]}:
        assert answer.json()["detail"] == "There is no day 'monday'."
        assert "mon, tue, wed, thu, fri, sat, sun" in answer.json()["hint"]
    form = {"project": "default", "days": ["mon"], "spread": "10", "if_late": "drop", **given}
    shown = admin_client.post("/admin/notifications/deliverywindow/add/", form)
    assert shown.status_code == 200
    assert not DeliveryWindow.objects.exists()


def test_a_window_is_made_in_the_admin(admin_client: Client) -> None:
    form: dict[str, Any] = {"project": "default", "category": "billing", "begins": "08:00"}
    form |= {"ends": "20:00", "days": ["mon", "fri"], "spread": "10", "if_late": "send"}
    made = admin_client.post("/admin/notifications/deliverywindow/add/", form)
    assert made.status_code == 302, made.content.decode()
    row = DeliveryWindow.objects.get()
    assert (row.days, row.if_late, row.holidays) == (["mon", "fri"], "send", False)
    again = admin_client.post("/admin/notifications/deliverywindow/add/", form)
    assert again.context["adminform"].form.errors == {"category": [TAKEN]}
    page = f"/admin/notifications/deliverywindow/{row.pk}/change/"
    assert admin_client.post(page, {**form, "ends": "21:00"}).status_code == 302
    assert DeliveryWindow.objects.get().ends.hour == 21


NOW = datetime(2026, 6, 1, 10, tzinfo=UTC)  # noon in Vienna


@pytest.mark.parametrize(
    ("fields", "place", "due"),
    [
        ({"local_time": "13:00"}, VIENNA, "2026-06-01T11:00+00:00"),
        ({"local_time": "09:00"}, VIENNA, "2026-06-02T07:00+00:00"),
        ({"local_time": "09:00"}, NEW_YORK, "2026-06-01T13:00+00:00"),
        ({"local_time": "12:00"}, VIENNA, "2026-06-01T10:00+00:00"),
        ({"local_time": "09:00", "countdown": 86400}, NEW_YORK, "2026-06-02T13:00+00:00"),
        ({"local_time": "2026-12-24T09:00"}, NEW_YORK, "2026-12-24T14:00+00:00"),
        (
            {"local_time": "02:30", "eta": "2026-03-28T23:30:00+00:00"},
            VIENNA,
            "2026-06-02T00:30+00:00",
        ),
    ],
)
def test_a_local_time_is_where_the_recipient_is(fields: Any, place: Place, due: str) -> None:
    request = read({"channel": "email", "recipient": "a@example.org", "body": "B", **fields})
    timed = local_times.timed(request, place, NOW)
    assert isinstance(timed.eta, datetime)
    assert timed.eta.astimezone(UTC) == datetime.fromisoformat(due)


def test_a_batch_and_a_schedule_go_at_nine_where_each_is(call: Caller) -> None:
    for key, zone in (("a", "Asia/Tokyo"), ("b", "America/New_York")):
        save_recipient(key, addresses={"simulator": key}, timezone=zone)
    rows = [{"to": {"recipient": key}} for key in "ab"]
    send_many(rows, channel="simulator", body="B", local_time="09:00")
    for row in Notification.objects.all():
        zone = {"a": "Asia/Tokyo", "b": "America/New_York"}[row.recipient]
        assert f"{row.scheduled_at.astimezone(ZoneInfo(zone)):%H:%M}" == "09:00"
    jobs.allow(SEND_TASK)
    fields: dict[str, Any] = {"channel": "simulator", "body": "B", **rows[0]}
    jobs.register("daily", SEND_TASK, 86400, kwargs={**fields, "local_time": "09:00"})
    with pytest.raises(jobs.InvalidArguments) as refused:
        jobs.register("other", SEND_TASK, 86400, kwargs={**fields, "local_time": "9"})
    assert refused.value.field == "kwargs.local_time"
    for wrong in ("25:00", "2026-02-30T09:00", "tomorrow", 9, ["09:00"]):
        with pytest.raises(errors.InvalidTime) as error:
            send(**fields | {"local_time": wrong})
        assert error.value.field == "local_time"
    with pytest.raises(errors.InvalidTime):
        send(**fields, local_time="2126-01-01T09:00")
    with pytest.raises(errors.InvalidTime):
        send(**fields, local_time="2026-12-24T09:00", countdown=5)


def test_rows_that_wait_for_a_window_are_not_looked_at(ada: Recipient) -> None:
    windows.save(DeliveryWindow(category="billing", **_row()))
    multiply(send(**BILL), 5000)
    assert Notification.objects.filter(reason="window_closed").count() == 5001
    assert all(queue.due == 0 for queue in backlog.look(100))
