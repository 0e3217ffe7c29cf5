"""Several throttles of one category, side by side."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F

from notifications.models import (
    Digest,
    Notification,
    Throttle,
    ThrottleUse,
)
from notifications.recipients import throttles
from notifications.submission import save_recipient, send, send_many
from notifications.submission.building import Answer, Asked, build_all, take_places
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.integration.notifications.submission.throttled_news import (
    NEWS,
    closing,
    fresh,
    throttle,
)

__all__ = ["call", "caller", "fresh"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_an_hour_and_three_a_day_stand_side_by_side_and_say_which_holds(
    call: Caller, deliver: Callable[..., Any]
) -> None:
    news = {"category": "product", "channel": "simulator"}
    for limit, period in ((1, "1h"), (3, "1d")):
        call.ok("POST", "/throttles", {**news, "limit": limit, "period": period})
    again = call("POST", "/throttles", {**news, "limit": 3, "period": 86_400})
    assert again.status_code == 200
    assert len(call.ok("GET", "/throttles")) == 2
    ids = [call.ok("POST", "/notifications", NEWS)["id"] for _ in range(5)]
    rows = [call.ok("GET", f"/notifications/{id_}") for id_ in ids]
    assert [row["throttle"] for row in rows] == ["", *["1 in 1h"] * 2, *["3 in 1d"] * 2]
    began = Notification.objects.get(pk=ids[0]).created_at
    hours = [
        round((row.scheduled_at - began).total_seconds() / 3600)
        for row in Notification.objects.order_by("scheduled_at", "id")
    ]
    assert hours == [0, 1, 2, 24, 25]
    assert any("3 in 1d" in event["detail"] for event in rows[3]["trace"])
    assert [*ThrottleUse.objects.order_by("throttle").values_list("used", flat=True)] == [26, 5]


def test_what_one_throttle_drops_is_counted_by_none(deliver: Callable[..., Any]) -> None:
    throttle("wait", limit=1, period=3600)
    throttle("drop", limit=2)
    rows = [send(**NEWS) for _ in range(4)]
    assert [row.status for row in rows] == ["queued", "scheduled", "suppressed", "suppressed"]
    assert [row.throttle for row in rows] == ["", "1 in 1h", "2 in 1d", "2 in 1d"]
    assert [*ThrottleUse.objects.values_list("used", flat=True)] == [2, 2]


def test_each_throttle_has_the_digest_of_its_own_template(deliver: Callable[..., Any]) -> None:
    for name in ("hourly", "daily"):
        made = Template.objects.create(name=name, channel="simulator")
        publish(create_version(made, {"body": name + ": {{ count }} news"}))
    throttle("digest", limit=1, period=3600, template="hourly")
    throttle("digest", limit=2, template="daily")
    first, second = (send(**NEWS) for _ in range(2))
    ThrottleUse.objects.update(since=F("since") - timedelta(hours=2))
    third, fourth = (send(**NEWS) for _ in range(2))
    assert [row.status for row in (first, second, third, fourth)] == [
        *("queued", "merged", "queued", "merged")
    ]
    assert [row.throttle for row in (second, fourth)] == ["1 in 1h", "2 in 1d"]
    digests = Notification.objects.filter(pk=F("digest_id")).order_by("created_at")
    names = digests.values_list("template_version__template__name", flat=True)
    assert [*names] == ["hourly", "daily"]


def test_many_at_once_pass_both_throttles() -> None:
    throttle(limit=2, period=3600)
    throttle(limit=5)

    def work() -> None:
        for _ in range(3):
            send(**NEWS)
        send_many([NEWS] * 2)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: closing(work), range(4)))
    began = Notification.objects.earliest("created_at").created_at
    hours = Counter(
        round((row.scheduled_at - began).total_seconds() / 3600)
        for row in Notification.objects.all()
    )
    assert hours == {day * 24 + hour: n for day in range(4) for hour, n in enumerate((2, 2, 1))}


@pytest.mark.parametrize("rest", ["wait", "drop", "digest"])
def test_places_that_were_rolled_back_are_given_again_the_same(rest: str) -> None:
    made = Template.objects.create(name="all-news", channel="push")
    publish(create_version(made, {"title": "News", "body": "{{ count }} news"}))
    save_recipient("ada", addresses={"push": ["a" * 40, "b" * 40]})
    template = "all-news" if rest == "digest" else ""
    throttles.save(
        Throttle(category="product", channel="push", limit=1, rest=rest, template=template)
    )
    news = {"channel": "push", "body": "N", "category": "product", "to": {"recipient": "ada"}}
    answers = [Answer() for _ in range(3)]
    built = build_all([Asked(news) for _ in answers], answers)

    def rows() -> list[Any]:
        names = ("status", "reason", "throttle")
        return [[row[n] for n in names] for a in answers for row in (a.row, *a.copies)]

    alone = rows()
    with transaction.atomic():
        take_places(built, set())
        first = rows()
        transaction.set_rollback(True)
    assert first != alone
    assert not ThrottleUse.objects.exists()
    assert not Digest.objects.exists()
    take_places(built, {1, 2})  # what turned out to be repeated is as it was without a throttle
    assert rows() == alone
    ThrottleUse.objects.all().delete()
    take_places(built, set())
    assert rows() == first
    uses = ThrottleUse.objects.get()
    assert uses.used == (3 if rest == "wait" else 1)
