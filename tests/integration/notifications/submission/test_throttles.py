"""At most so many of a category in a period; the rest waits, is dropped, or goes as a digest."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test import Client

from notifications.admin.project import TAKEN
from notifications.core.errors import IdempotencyConflict
from notifications.db import clock
from notifications.models import (
    DeliveryWindow,
    Notification,
    Throttle,
    ThrottleUse,
)
from notifications.recipients import throttles, windows
from notifications.submission import cancel, save_recipient, send, send_many
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.integration.notifications.submission.throttled_news import (
    DAY,
    NEWS,
    closing,
    fresh,
    states,
    throttle,
)
from tests.servers.process import wait_until

__all__ = ["call", "caller", "fresh"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_fourth_of_a_day_waits_for_the_next_and_others_are_not_held() -> None:
    throttle()
    first = [send(**NEWS) for _ in range(3)]
    fourth = send(**NEWS)
    assert {row.status for row in first} == {"queued"}
    assert (fourth.status, fourth.reason) == ("scheduled", "throttled")
    assert fourth.due_at is not None
    assert abs(fourth.due_at - first[0].created_at - timedelta(days=1)) < timedelta(seconds=5)
    assert send(**{**NEWS, "recipient": "bob"}).status == "queued"
    assert send(**{**NEWS, "category": "billing"}).status == "queued"
    assert send(**NEWS, expires=3600).status == "expired"


def test_a_day_later_there_is_room_again() -> None:
    throttle()
    send_many([NEWS] * 4)
    assert states() == {("queued", ""): 3, ("scheduled", "throttled"): 1}
    use = ThrottleUse.objects.get()
    ThrottleUse.objects.update(since=use.since - timedelta(days=1))
    rows = [send(**NEWS) for _ in range(3)]
    assert [row.status for row in rows] == ["queued", "queued", "scheduled"]  # one waited before


def test_what_is_over_is_dropped_with_its_reason() -> None:
    throttle("drop", limit=1)
    assert [send(**NEWS).status for _ in range(2)] == ["queued", "suppressed"]
    assert states()["suppressed", "throttled"] == 1


def test_what_is_over_goes_together_when_the_period_ends(deliver: Callable[..., Any]) -> None:
    made = Template.objects.create(name="all-news", channel="simulator")
    publish(create_version(made, {"body": "{{ count }} news"}))
    throttle("digest", limit=2, template="all-news")
    rows = [send(**NEWS) for _ in range(5)]
    assert [row.status for row in rows] == ["queued", "queued", "merged", "merged", "merged"]
    digest = Notification.objects.get(digest_id=rows[2].digest_id, pk=F("digest_id"))
    assert digest.due_at is not None
    assert abs(digest.due_at - rows[0].created_at - timedelta(days=1)) < timedelta(seconds=5)
    Notification.objects.filter(pk=digest.pk).update(due_at=rows[0].created_at)
    deliver(digest)
    digest = Notification.objects.get(pk=digest.pk)
    assert (digest.status, digest.context["count"]) == ("sent", 3)
    assert digest.context["items"][0] == {"subject": "News", "body": "N"}


def test_many_at_once_get_exactly_the_places_that_there_are() -> None:
    throttle(limit=7)

    def work(number: int) -> None:
        for _ in range(5):
            send(**NEWS)
        send_many([NEWS, {**NEWS, "recipient": f"bob{number}"}])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: closing(lambda: work(n)), range(4)))
    assert _days("ada") == {0: 7, 1: 7, 2: 7, 3: 3}


def test_what_is_undone_or_repeated_takes_no_place() -> None:
    throttle(limit=2)
    with transaction.atomic():
        send(**NEWS)
        transaction.set_rollback(True)
    for _ in range(3):
        send(**NEWS, idempotency_key="same")
    assert send(**NEWS).status == "queued"
    assert send(**NEWS).status == "scheduled"


def test_rows_of_a_batch_that_repeat_a_key_take_one_place() -> None:
    throttle("drop")
    same = {**NEWS, "idempotency_key": "same"}
    rows = [*[same] * 3, {**same, "body": "another"}, {**NEWS, "idempotency_key": "other"}]
    for _ in range(2):
        answer = send_many(rows)
        assert {n: type(error) for n, error in answer.errors.items()} == {3: IdempotencyConflict}
        assert states() == {("queued", ""): 2}
    assert ThrottleUse.objects.get().used == 2
    assert [send(**NEWS).status for _ in range(2)] == ["queued", "suppressed"]


def test_a_key_that_another_transaction_is_using_takes_no_place_and_holds_nobody() -> None:
    throttle("drop", limit=1)
    used = {**NEWS, "recipient": "bob", "idempotency_key": "same"}
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            send(**used)
            theirs = pool.submit(closing, lambda: send_many([{**used, "recipient": "ada"}, NEWS]))
            _wait_until_a_lock_is_waited_for()
        assert [type(error) for error in theirs.result().errors.values()] == [IdempotencyConflict]
    assert states() == {("queued", ""): 2}
    assert ThrottleUse.objects.get(recipient="ada").used == 1


def test_the_same_requests_at_once_take_the_places_of_what_is_written() -> None:
    throttle(limit=7)
    keys = [{**NEWS, "idempotency_key": str(n)} for n in range(16)]

    def work(number: int) -> None:
        for row in keys[number:] + keys[:number]:
            send(**row)
        send_many(keys)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: closing(lambda: work(n)), range(4)))
    assert ThrottleUse.objects.get().used == Notification.objects.count() == 16
    assert _days("ada") == {0: 7, 1: 7, 2: 2}


def test_what_expires_before_its_place_takes_none() -> None:
    throttle(limit=1)
    rows = [NEWS, {**NEWS, "expires": 60}, {**NEWS, "expires": 60}, NEWS]
    send_many(rows)
    assert states() == {
        ("queued", ""): 1,
        ("expired", "throttled"): 2,
        ("scheduled", "throttled"): 1,
    }
    assert _days("ada") == {0: 1, 1: 1}


def _wait_until_a_lock_is_waited_for() -> None:
    def is_waited_for() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            return cursor.fetchone() is not None

    wait_until(is_waited_for)


def _days(recipient: str) -> Counter[int]:
    """Count the notifications of a recipient by the period in which they are due."""
    since = ThrottleUse.objects.get(recipient=recipient).since
    days: Counter[int] = Counter()
    for row in Notification.objects.filter(recipient=recipient).exclude(due_at=None):
        assert row.due_at is not None
        later = 0 if row.status == "queued" else (row.due_at - since).total_seconds() / DAY
        days[round(later)] += 1
    return days


def test_the_devices_of_a_stored_recipient_take_one_place() -> None:
    save_recipient("customer-17", addresses={"push": ["a" * 40, "b" * 40]}, test=True)
    throttles.save(Throttle(category="product", channel="push", limit=1, test=True))
    body: dict[str, Any] = {"channel": "push", "body": "N", "category": "product", "test": True}
    for _ in range(2):
        send(**body, to={"recipient": "customer-17"})
    assert states() == {("queued", ""): 2, ("scheduled", "throttled"): 2}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"category": "nothing"}, "category"),
        ({"category": "security"}, "category"),
        ({"limit": 0}, "limit"),
        ({"period": 0}, "period"),
        ({"period": "31d"}, "period"),
        ({"period": "a day"}, "period"),
        ({"rest": "never"}, "rest"),
        ({"rest": "digest", "template": "nobody"}, "template"),
        ({"rest": "digest", "template": "news"}, "template"),
        ({"rest": "digest", "template": "nobody", "channel": ""}, "channel"),
        ({"template": "nobody"}, "template"),
    ],
)
def test_a_throttle_that_cannot_be_is_refused_by_field(
    call: Caller, admin_client: Client, changes: dict[str, Any], field: str
) -> None:
    given = {"category": "product", "channel": "email", "limit": 3, **changes}
    answer = call("POST", "/throttles", given)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.content
    form = {"project": "default", "period": 60, "rest": "wait", "template": "", **given}
    page = admin_client.post("/admin/notifications/throttle/add/", form)
    assert page.status_code == 200
    assert field in page.context["adminform"].form.errors
    assert not Throttle.objects.exists()


def test_one_a_day_where_the_recipient_is(call: Caller, admin_client: Client) -> None:
    news = {"category": "product", "channel": "simulator"}
    made = call.ok("POST", "/throttles", {**news, "limit": 1, "period": "1h"})
    assert made["period"] == 3600
    assert call("DELETE", f"/throttles/{made['id']}").status_code == 204
    made = call.ok("POST", "/throttles", {**news, "limit": 1, "period": "local day"})
    assert made["period"] == call.ok("GET", "/throttles")[0]["period"] == "local day"
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        save_recipient(zone[8:], addresses={"simulator": zone}, timezone=zone)
        body: dict[str, Any] = {**news, "body": "N"}
        _, late = (send(**body, to={"recipient": zone[8:]}) for _ in range(2))
        assert late.due_at is not None
        there = late.due_at.astimezone(ZoneInfo(zone))
        assert (there.hour, there.minute) == (0, 0)
        assert timedelta() < late.due_at - late.created_at <= timedelta(days=1)
    page = f"/admin/notifications/throttle/{Throttle.objects.get().pk}/change/"
    form = admin_client.get(page).context["adminform"].form
    assert form.initial["period"] == "local day"
    kept = {"project": "default", **news, "limit": 1, "rest": "wait", "template": ""}
    assert admin_client.post(page, {**kept, "period": "90m"}).status_code == 302
    assert call.ok("GET", "/throttles")[0]["period"] == 5400


def test_over_http_and_in_the_admin_it_is_saved_listed_and_deleted(
    call: Caller, admin_client: Client
) -> None:
    made = call.ok("POST", "/throttles", {"category": "product", "channel": "email", "limit": 3})
    assert made["rest"] == "wait"
    assert call("POST", "/throttles", {**made, "id": None}).status_code == 422  # no such field
    assert [throttle["limit"] for throttle in call.ok("GET", "/throttles")] == [3]
    form = {"project": "default", "category": "product", "limit": 5, "period": 60, "rest": "drop"}
    url = "/admin/notifications/throttle/add/"
    assert admin_client.post(url, form).status_code == 302
    again = admin_client.post(url, form)
    assert again.context["adminform"].form.errors == {"category": [TAKEN]}
    assert admin_client.post(url, {**form, "period": "2m"}).status_code == 302
    other = Throttle.objects.get(period=120)
    changed = admin_client.post(
        f"/admin/notifications/throttle/{other.pk}/change/", {**form, "period": "1m"}
    )
    assert changed.context["adminform"].form.errors == {"category": [TAKEN]}
    assert call("DELETE", f"/throttles/{made['id']}").status_code == 204
    assert call("DELETE", f"/throttles/{made['id']}").status_code == 404


def test_what_has_a_later_time_takes_its_place_at_acceptance_and_keeps_it_when_cancelled() -> None:
    throttle(limit=1)
    rows = [send(**NEWS, countdown=7 * DAY) for _ in range(3)]
    moments = [row.scheduled_at for row in rows]
    assert max(moments) - min(moments) < timedelta(minutes=1)
    cancel(rows[2].pk)
    later = send(**NEWS)
    assert round((later.scheduled_at - rows[0].created_at) / timedelta(days=1)) == 3


def test_what_its_own_time_holds_longer_is_not_held_by_the_throttle() -> None:
    throttle(limit=1, period=60)
    rows = [send(**NEWS, countdown=DAY) for _ in range(2)]
    assert [(row.status, row.reason, row.throttle) for row in rows] == [("scheduled", "", "")] * 2


def test_what_a_delivery_window_holds_longer_is_not_held_by_the_throttle() -> None:
    throttle(limit=1, period=60)
    now = clock.now()
    begins, ends = (
        (now + timedelta(hours=h)).time().replace(second=0, microsecond=0) for h in (3, 5)
    )
    window = DeliveryWindow(category="product", begins=begins, ends=ends, timezone="UTC", spread=0)
    windows.save(window)
    rows = [send(**NEWS) for _ in range(2)]
    assert [(row.reason, row.throttle) for row in rows] == [("window_closed", "")] * 2


def test_what_can_go_with_no_digest_waits_for_a_place_of_its_own() -> None:
    made = Template.objects.create(name="all-news", channel="simulator")
    publish(create_version(made, {"body": "{{ count }} news"}))
    throttle("digest", limit=1, template="all-news")
    rows = [send(**NEWS, eta=clock.now()) for _ in range(3)]
    days = [round((row.scheduled_at - rows[0].created_at) / timedelta(days=1)) for row in rows]
    assert days == [0, 1, 2]
