"""At most so many of a category in a period; the rest waits, is dropped, or goes as a digest."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F
from django.test import Client
from pytest_django import Settings

from notifications.models import Notification, Throttle, ThrottleUse
from notifications.recipients import categories, throttles
from notifications.submission import save_recipient, send, send_many
from templates_engine import catalog
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import Caller, call, caller

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db(transaction=True)

NEWS: dict[str, Any] = {
    "channel": "simulator",
    "recipient": "ada",
    "subject": "News",
    "body": "N",
    "category": "product",
}
DAY = 86_400


@pytest.fixture(autouse=True)
def _fresh(settings: Settings) -> None:
    settings.OUTBOX = True
    catalog.clear()
    categories.forget()
    throttles.forget()


def throttle(rest: str = "wait", limit: int = 3, **more: Any) -> None:
    given = {"category": "product", "channel": "simulator", "limit": limit, "rest": rest, **more}
    throttles.save(Throttle(**given))


def states() -> Counter[tuple[str, str]]:
    return Counter(Notification.objects.values_list("status", "reason"))


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
        try:
            for _ in range(5):
                send(**NEWS)
            send_many([NEWS, {**NEWS, "recipient": f"bob{number}"}])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    of_ada = Notification.objects.filter(recipient="ada")
    days: Counter[int] = Counter()
    since = ThrottleUse.objects.get(recipient="ada").since
    for row in of_ada:
        assert row.due_at is not None
        later = 0 if row.status == "queued" else (row.due_at - since).total_seconds() / DAY
        days[round(later)] += 1
    assert days == {0: 7, 1: 7, 2: 7, 3: 3}


def test_what_is_undone_or_repeated_takes_no_place() -> None:
    throttle(limit=2)
    with transaction.atomic():
        send(**NEWS)
        transaction.set_rollback(True)
    for _ in range(3):
        send(**NEWS, idempotency_key="same")
    assert send(**NEWS).status == "queued"
    assert send(**NEWS).status == "scheduled"


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
        ({"rest": "never"}, "rest"),
        ({"rest": "digest", "template": "nobody"}, "template"),
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
    assert not Throttle.objects.exists()


def test_over_http_and_in_the_admin_it_is_saved_listed_and_deleted(
    call: Caller, admin_client: Client
) -> None:
    made = call.ok("POST", "/throttles", {"category": "product", "channel": "email", "limit": 3})
    assert made["rest"] == "wait"
    assert call("POST", "/throttles", {**made, "id": None}).status_code == 422  # no such field
    assert [one["limit"] for one in call.ok("GET", "/throttles")] == [3]
    form = {"project": "default", "category": "product", "limit": 5, "period": 60, "rest": "drop"}
    assert admin_client.post("/admin/notifications/throttle/add/", form).status_code == 302
    assert call("DELETE", f"/throttles/{made['id']}").status_code == 204
    assert call("DELETE", f"/throttles/{made['id']}").status_code == 404
