"""Digests: many events of a recipient that go as one notification."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connections, transaction
from django.db.models import F
from django.test import Client
from pytest_django import Settings

from notifications.core import errors
from notifications.delivery import claims, digest_contents, pipeline
from notifications.models import Digest, Notification, Status
from notifications.submission import cancel, choose_preferences, save_recipient, send, send_many
from templates_engine import catalog
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import Caller, call, caller

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "{% for one in items %}{{ one.n }} {% endfor %}of {{ count }}, {{ rest }} more"
WINDOW = 3600
THREADS = 4


@pytest.fixture(autouse=True)
def _templates(settings: Settings) -> None:
    settings.OUTBOX = True
    for name, channel, parts in (
        ("comment", "simulator", {"body": "Comment {{ n }}"}),
        ("comments", "simulator", {"body": LIST}),
        ("authors", "simulator", {"body": "{% for one in items %}{{ one.author }}{% endfor %}"}),
        (
            "overflow",
            "simulator",
            {"body": "{% if rest %}{{ items.author }}{% endif %}!"},
        ),
        ("alerts", "push", {"title": "Alerts", "body": LIST}),
    ):
        publish(create_version(Template.objects.create(name=name, channel=channel), parts))
    catalog.clear()


def event(n: int, key: str = "doc-5", **more: Any) -> dict[str, Any]:
    digest = {"key": key, "window": WINDOW, "template": "comments", **more.pop("digest", {})}
    common = {"channel": "simulator", "recipient": "ada", "template": "comment"}
    return {**common, "context": {"n": n}, "digest": digest} | more


def fresh(row: Notification) -> Notification:
    return Notification.objects.get(pk=row.pk)


def the_digest(of: Notification) -> Notification:
    return Notification.objects.get(digest_id=fresh(of).digest_id, pk=F("digest_id"))


def numbers(digest: Notification) -> list[int]:
    return [item["n"] for item in digest.context["items"]]


def close_all() -> None:
    for digest in Digest.objects.filter(closed_at__isnull=True):
        digest_contents.contents_of(digest.pk)


def make_due() -> None:
    waiting = Notification.objects.filter(status=Status.SCHEDULED)
    waiting.update(due_at="2026-01-01T00:00:00Z", scheduled_at="2026-01-01T00:00:00Z")


def test_events_of_a_key_go_as_one_notification_that_has_them_all(
    deliver: Callable[..., Any], call: Caller, admin_client: Client
) -> None:
    events = [send(**event(n)) for n in (1, 2, 3)]
    other = send(**event(4, key="doc-6"))
    assert {row.status for row in events} == {"merged"}
    digest = the_digest(events[0])
    assert (digest.status, digest.reason) == ("scheduled", "")
    assert digest.due_at is not None
    assert abs(digest.due_at - events[0].created_at - timedelta(seconds=WINDOW)) < (
        timedelta(seconds=1)
    )
    assert the_digest(other).pk != digest.pk
    make_due()
    deliver(digest)
    sent = fresh(digest)
    assert (sent.status, numbers(sent), sent.context["rest"]) == ("sent", [1, 2, 3], 0)
    late = send(**event(5))
    assert the_digest(late).pk != digest.pk
    shown = call.ok("GET", f"/notifications/{events[0].id}")
    assert (shown["status"], shown["digest"]) == ("merged", str(digest.pk))
    assert f"goes with the digest {digest.pk}" in shown["trace"][0]["detail"]
    listed = call.ok("GET", "/notifications", query={"digest": str(digest.pk)})["items"]
    assert {row["id"] for row in listed} == {str(row.pk) for row in (*events, digest)}
    told = call.ok("GET", f"/notifications/{digest.pk}")["trace"][0]["detail"]
    assert "the digest of 3 notifications" in told
    page = admin_client.get(f"/admin/notifications/notification/{digest.pk}/change/")
    assert "the digest of 3 notifications" in page.content.decode()


def test_the_list_is_cut_and_says_how_many_are_left(deliver: Callable[..., Any]) -> None:
    submitted = send_many([event(n, digest={"limit": 2}) for n in range(7)])
    assert submitted.accepted == 7
    make_due()
    digest = the_digest(Notification.objects.filter(status=Status.MERGED)[0])
    deliver(digest)
    context = fresh(digest).context
    assert (len(context["items"]), context["count"], context["rest"]) == (2, 7, 5)


def test_the_first_may_go_at_once_and_the_rest_no_sooner_than_a_window_after_the_last(
    deliver: Callable[..., Any],
) -> None:
    def came(n: int) -> Notification:
        return send(**event(n, digest={"first": "at_once"}))

    first, second, third = came(1), came(2), came(3)
    assert [row.status for row in (first, second, third)] == ["queued", "merged", "merged"]
    make_due()
    deliver(first, the_digest(second))
    assert fresh(first).status == "sent"
    assert numbers(the_digest(second)) == [2, 3]
    fourth = came(4)
    assert fourth.status == "merged"  # the digest went just now
    closed = Digest.objects.get(closed_at__isnull=False).closed_at
    due_at = the_digest(fourth).due_at
    assert closed is not None
    assert due_at == closed + timedelta(seconds=WINDOW)


def test_a_digest_that_nothing_has_joined_is_not_sent(deliver: Callable[..., Any]) -> None:
    send(**event(1, digest={"first": "at_once"}))
    make_due()
    (digest,) = Notification.objects.filter(digest_id__isnull=False)
    deliver(digest)
    ended = fresh(digest)
    assert (ended.status, ended.reason, ended.attempt_count) == ("cancelled", "digest_empty", 0)


def test_an_event_opens_another_digest_where_the_open_one_was_called_off() -> None:
    first = send(**event(1))
    assert cancel(the_digest(first).pk)
    second = send(**event(2))
    assert the_digest(second).pk != the_digest(first).pk
    assert the_digest(second).status == "scheduled"


def test_a_repeated_event_joins_once_and_one_undone_never(deliver: Callable[..., Any]) -> None:
    first = send(**event(1, idempotency_key="one"))
    assert send(**event(1, idempotency_key="one")).pk == first.pk
    with transaction.atomic():
        send(**event(2))
        transaction.set_rollback(True)
    again = send_many([event(1, idempotency_key="one"), event(3), event(3, idempotency_key="3")])
    assert (again.accepted, again.duplicates) == (2, 1)
    make_due()
    deliver(the_digest(first))
    assert numbers(the_digest(first)) == [1, 3, 3]


def test_on_push_the_digest_goes_to_each_device(deliver: Callable[..., Any]) -> None:
    save_recipient("customer-17", addresses={"push": ["a" * 40, "b" * 40]}, test=True)
    to: dict[str, Any] = {
        "to": {"recipient": "customer-17"},
        "channel": "push",
        "test": True,
        "recipient": "",
    }
    event_ = event(1, **to, context={"n": 1, "items": [], "count": 0, "rest": 0})
    event_ |= {"template": "alerts"}
    event_["digest"]["template"] = "alerts"
    first = send(**event_)
    send(**event_)
    digests = Notification.objects.filter(digest_id=first.digest_id).exclude(status="merged")
    assert sorted(digests.values_list("recipient", flat=True)) == ["a" * 40, "b" * 40]
    assert Notification.objects.count() == 4
    make_due()
    deliver(*digests)
    assert [row.context["count"] for row in digests.all()] == [2, 2]


def test_each_event_is_in_exactly_one_digest_however_they_come_and_close_at_once() -> None:
    keys = [f"doc-{number}" for number in range(3)]
    done = False

    def come(thread: int) -> None:
        try:
            for n in range(40):
                number = thread * 1000 + n
                if n % 8 == 7:
                    send_many([event(number * 10 + k, key) for k, key in enumerate(keys)])
                else:
                    send(**event(number * 10, keys[n % 3]))
        finally:
            connections.close_all()

    def close() -> None:
        try:
            while not done:
                close_all()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS + 1) as pool:
        closing = pool.submit(close)
        list(pool.map(come, range(THREADS)))
        done = True
        closing.result()
    close_all()
    found = Counter(_all_numbers())
    wanted = Counter(row.context["n"] for row in Notification.objects.filter(status=Status.MERGED))
    assert found == wanted
    assert set(found.values()) == {1}
    assert len(found) == THREADS * (35 + 5 * 3)
    assert Digest.objects.count() > 3


def _all_numbers() -> Iterator[int]:
    digests = Notification.objects.filter(digest_id__isnull=False).exclude(status=Status.MERGED)
    for digest in digests:
        yield from numbers(digest)


def test_a_worker_that_dies_with_a_digest_leaves_it_as_it_was(
    deliver: Callable[..., Any],
) -> None:
    first = send(**event(1))
    make_due()
    digest = the_digest(first)
    (claim,) = claims.claim([digest.pk])
    filled, _ = digest_contents.fill([claim])  # and dies
    assert [item["n"] for item in filled[0].context["items"]] == [1]
    later = send(**event(2))
    Notification.objects.filter(pk=digest.pk).update(status=Status.QUEUED)
    again = claims.claim([digest.pk])
    pipeline.deliver(again, worker="test")
    assert (fresh(digest).status, numbers(fresh(digest))) == ("sent", [1])
    assert the_digest(later).pk != digest.pk


@pytest.mark.parametrize(
    ("digest", "more", "field"),
    [
        ({"key": ""}, {}, "digest.key"),
        ({"window": 0}, {}, "digest.window"),
        ({"window": 1e9}, {}, "digest.window"),
        ({"limit": 0}, {}, "digest.limit"),
        ({"first": "never"}, {}, "digest.first"),
        ({"template": "nobody"}, {}, "digest.template"),
        ({"template": "alerts"}, {}, "digest.template"),
        ({"template": "authors"}, {}, "digest.template"),
        ({"template": "overflow"}, {}, "digest.template"),
        ({}, {"countdown": 5}, "countdown"),
        ({}, {"local_time": "09:00"}, "local_time"),
    ],
)
def test_a_digest_that_cannot_be_is_refused_by_field(
    call: Caller, digest: dict[str, Any], more: dict[str, Any], field: str
) -> None:
    answer = call("POST", "/notifications", event(1, digest=digest, **more))
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.content
    assert not Notification.objects.exists()


def test_over_http_an_event_says_which_digest_it_is_in(call: Caller) -> None:
    answer = call.ok("POST", "/notifications", event(1, idempotency_key="k"))
    assert answer["status"] == "merged"
    assert UUID(answer["digest"]) == Digest.objects.get().pk
    again = call("POST", "/notifications", event(1, idempotency_key="k"))
    assert (again.status_code, again.json()["status"]) == (200, "merged")
    assert again.json()["digest"] == answer["digest"]


def test_an_event_that_cannot_be_refused_is_not_lost_with_a_digest_that_was(
    deliver: Callable[..., Any],
) -> None:
    save_recipient("ada", addresses={"simulator": ["ada"]})
    to: dict[str, Any] = {"to": {"recipient": "ada"}, "recipient": ""}
    news = send(**event(1, **to, category="product"))
    choose_preferences("ada", {"product": {"": False}})
    codes = [send(**event(n, **to, category="security")) for n in (2, 3)]
    refused = send(**event(4, **to, category="product"))
    plain = send(**event(5, **to))
    assert (refused.status, refused.reason) == ("suppressed", "category_refused")
    digests = [the_digest(row) for row in (news, codes[0], plain)]
    assert len({digest.pk for digest in digests}) == 3
    make_due()
    deliver(*digests)
    assert [fresh(digest).status for digest in digests] == ["suppressed", "sent", "sent"]
    assert numbers(fresh(digests[1])) == [2, 3]


def test_an_event_that_no_list_can_have_costs_no_other_event(deliver: Callable[..., Any]) -> None:
    good = send(**event(1, digest={"template": "authors"}, context={"n": 1, "author": "Ada"}))
    with pytest.raises(errors.InvalidContext, match="author") as refused:
        send(**event(2, digest={"template": "authors"}))
    assert refused.value.field == "digest.template"
    make_due()
    deliver(the_digest(good))
    assert the_digest(good).status == "sent"


def test_events_of_different_templates_or_versions_share_no_digest(
    deliver: Callable[..., Any],
) -> None:
    """An event that was tried with one text would fail all others that are sent by another."""
    old = send(**event(1))
    again = create_version(
        Template.objects.get(name="comments"),
        {"body": "{% for one in items %}{{ one.n }} by {{ one.author }}{% endfor %}"},
    )
    publish(again)
    catalog.clear()
    by_ada = {"n": 2, "author": "Ada"}
    new = send(**event(2, context=by_ada))
    by_eve = {"n": 3, "author": "Eve"}
    other = send(**event(3, context=by_eve, digest={"template": "authors"}))
    digests = [the_digest(row) for row in (old, new, other)]
    assert len({digest.pk for digest in digests}) == 3
    assert the_digest(send(**event(4, context=by_ada))).pk == digests[1].pk
    make_due()
    deliver(*digests)
    assert [fresh(digest).status for digest in digests] == ["sent"] * 3
