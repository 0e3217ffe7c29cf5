"""Chains: by one way after the other, until one reaches."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F
from django.test import Client
from pytest_django import Settings

from notifications.admin.project import TAKEN
from notifications.chains import save_chain, send_chain
from notifications.core import errors
from notifications.core.attempt import Outcome, Report, Result
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.delivery import chain_steps, claims, outcomes, pipeline
from notifications.models import Chain, ChainRun, Notification, ProviderAccount, Status
from notifications.monitoring.diagnosis import delivery as diagnosis
from notifications.operations import personal_data
from notifications.providers import accounts
from notifications.submission import save_recipient, send
from templates_engine import catalog
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import Caller, call, caller

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db(transaction=True)

Deliver = Callable[..., Any]
Age = Callable[..., None]


@pytest.fixture(autouse=True)
def _fresh(settings: Settings) -> None:
    settings.OUTBOX = True
    catalog.clear()


def step(recipient: str, wait: float | None = None, **more: Any) -> dict[str, Any]:
    made = {"channel": "simulator", "recipient": recipient, "body": "Your code is 1234", **more}
    return made if wait is None else {**made, "wait": wait}


def chain(*steps: dict[str, Any], stop_on: str = "sent", **more: Any) -> dict[str, Any]:
    return {"steps": list(steps), "stop_on": stop_on, **more}


def rows(started: Any) -> list[Notification]:
    return list(Notification.objects.filter(chain_run=started.id).order_by("chain_step", "id"))


def states(started: Any) -> list[tuple[str, str]]:
    return [(row.status, row.reason) for row in rows(started)]


def test_a_step_goes_only_if_the_one_before_has_not_reached(deliver: Deliver, age: Age) -> None:
    started = send_chain(chain(step("ada", 60), step("bob")))
    first, second = rows(started)
    assert (first.status, second.status) == ("queued", "scheduled")
    assert second.due_at
    assert abs(second.due_at - first.created_at - timedelta(seconds=60)) < (timedelta(seconds=1))
    deliver(first)
    age(second)
    assert deliver(second) == []
    assert states(started) == [("sent", ""), ("cancelled", Reason.CHAIN_REACHED)]
    assert rows(started)[1].attempt_count == 0


def test_a_step_that_fails_has_the_next_one_sent_at_once(deliver: Deliver) -> None:
    started = send_chain(
        chain(step("ada?result=permanent", 3600), step("bob", 60), step("eve"), stop_on="delivered")
    )
    deliver(rows(started)[0])
    now = clock.now()
    _, second, third = rows(started)
    assert second.due_at is not None
    assert second.due_at <= now
    assert third.due_at is not None
    assert third.due_at <= now + timedelta(seconds=60)
    deliver(second)
    assert states(started) == [("failed", "rejected"), ("sent", ""), ("scheduled", "")]


def test_a_receipt_that_comes_in_time_ends_the_chain_and_one_of_failure_moves_it_on(
    deliver: Deliver, age: Age
) -> None:
    delivered = send_chain(chain(step("ada", 60), step("bob"), stop_on="delivered"))
    bounced = send_chain(chain(step("ada", 60), step("bob"), stop_on="delivered"))
    for started in (delivered, bounced):
        deliver(rows(started)[0])
    assert outcomes.confirm_delivered(rows(delivered)[0].id)
    (sent,) = claims.sent([rows(bounced)[0].id])
    outcome = Outcome(Result.PERMANENT, reason="bounced")
    assert outcomes.confirm_failed(Report(sent, outcome, "x", started_at=clock.now()))
    age(rows(delivered)[1])
    for started in (delivered, bounced):
        deliver(rows(started)[1])
    assert states(delivered) == [("delivered", ""), ("cancelled", "chain_reached")]
    assert states(bounced) == [("failed", "bounced"), ("sent", "")]


def test_the_wait_counts_from_the_sending_where_that_was_late(deliver: Deliver, age: Age) -> None:
    started = send_chain(chain(step("ada", 60), step("bob"), stop_on="delivered"))
    first, second = rows(started)
    age(second)  # nobody sent anything for an hour
    deliver(first)
    deliver(second)
    waits = rows(started)[1]
    assert (waits.status, waits.reason, waits.attempt_count) == ("scheduled", "chain_waits", 0)
    sent_at = rows(started)[0].sent_at
    assert sent_at is not None
    assert waits.due_at == sent_at + timedelta(seconds=60)
    Notification.objects.filter(pk=first.pk).update(sent_at=sent_at - timedelta(seconds=61))
    age(waits)
    deliver(waits)
    assert states(started) == [("sent", ""), ("sent", "")]


def begun_earlier(started: Any, seconds: float) -> None:
    """Have the step that goes have begun, and been sent, that much earlier."""
    earlier = timedelta(seconds=seconds)
    away = Notification.objects.filter(chain_run=started.id, status=Status.SENDING)
    away.update(due_at=F("due_at") - earlier)
    ChainRun.objects.filter(pk=started.id).update(going_at=F("going_at") - earlier)
    sent = Notification.objects.filter(chain_run=started.id, sent_at__isnull=False)
    sent.update(sent_at=F("sent_at") - earlier)


def test_steps_that_are_due_late_go_one_after_the_other(deliver: Deliver, age: Age) -> None:
    people = (step("ada", 60), step("bob", 60), step("eve", 60), step("joe"))
    started = send_chain(chain(*people, stop_on="delivered"))
    for row in rows(started):  # a hold, or nobody there, for an hour
        age(row)
    now = clock.now()
    deliver(rows(started)[2])  # none before it has begun
    third = rows(started)[2]
    assert (third.status, third.reason, third.attempt_count) == ("scheduled", "chain_waits", 0)
    assert third.due_at is not None
    assert third.due_at >= now + timedelta(seconds=120)
    age(third)
    for number in range(4):
        deliver(*reversed(rows(started)))
        begun = [row.chain_step for row in rows(started) if row.status == "sent"]
        assert begun == list(range(1, number + 2))
        waiting = rows(started)[number + 1 :]
        assert [row.attempt_count for row in waiting] == [0] * len(waiting)
        times = [row.due_at for row in waiting if row.due_at is not None]
        assert times == sorted(times)
        gaps = [later - earlier for earlier, later in pairwise([clock.now(), *times])]
        assert all(gap > timedelta(seconds=55) for gap in gaps)
        begun_earlier(started, 61)
        for row in waiting:
            age(row)


def test_a_step_that_hangs_is_waited_for_as_long_as_its_wait(deliver: Deliver, age: Age) -> None:
    started = send_chain(chain(step("ada", 60), step("bob", 60), step("eve")))
    first, second, third = rows(started)
    age(second)
    age(third)
    (hangs,) = claims.claim([first.id])
    deliver(third, second)  # the first one is claimed, and nobody has let it through yet
    assert [row.status for row in rows(started)] == ["sending", "scheduled", "scheduled"]
    assert not chain_steps.plan([hangs]).defer
    begun_at = ChainRun.objects.get(pk=started.id).going_at
    assert begun_at is not None
    age(second)
    age(third)
    deliver(third, second)
    _, second, third = rows(started)
    assert second.due_at == begun_at + timedelta(seconds=60)
    assert third.due_at == begun_at + timedelta(seconds=120)
    begun_earlier(started, 61)
    age(second)
    age(third)
    deliver(third, second)
    assert states(started) == [("sending", ""), ("sent", ""), ("cancelled", "chain_reached")]


def test_the_retry_of_an_earlier_step_waits_while_a_later_one_is_with_a_provider(age: Age) -> None:
    started = send_chain(chain(step("ada", 60), step("bob"), stop_on="delivered"))
    first, second = rows(started)
    age(second)
    chain_steps.plan(claims.claim([first.id]))
    Notification.objects.filter(pk=first.pk).update(status=Status.SCHEDULED, due_at=clock.now())
    begun_earlier(started, 61)
    assert not chain_steps.plan(claims.claim([second.id])).defer
    later = chain_steps.plan(claims.claim([first.id]))
    assert [claim.id for claim, _ in later.defer[Reason.CHAIN_WAITS]] == [first.id]
    assert ChainRun.objects.get(pk=started.id).going == 2


def test_a_step_that_was_moved_goes_at_once_where_the_one_before_fails(
    deliver: Deliver, age: Age
) -> None:
    started = send_chain(chain(step("ada?result=permanent", 60), step("bob", 60), step("eve")))
    first, second, _ = rows(started)
    age(second)
    deliver(second)
    assert states(started)[1] == ("scheduled", "chain_waits")
    deliver(first)
    deliver(rows(started)[1])
    assert [row.status for row in rows(started)] == ["failed", "sent", "cancelled"]


@pytest.mark.parametrize("how", ["sent", "delivered", "read"])
def test_where_one_has_reached_no_other_goes_on_waiting(
    deliver: Deliver, age: Age, how: str
) -> None:
    started = send_chain(chain(step("ada", 60), step("bob", 60), step("eve"), stop_on=how))
    first, second, _ = rows(started)
    (claim,) = claims.claim([first.id])
    chain_steps.plan([claim])
    wait = Outcome(Result.TRANSIENT, code="429", retry_after=36000)
    outcomes.record([Report(claim, wait, "x", started_at=clock.now())], worker="test")
    Notification.objects.filter(pk=first.pk).update(scheduled_at=clock.now() - timedelta(hours=1))
    assert "delivery.late" in [finding.id for finding in diagnosis.backlog()]
    begun_earlier(started, 61)
    age(second)
    deliver(second)
    if how != "sent":
        with transaction.atomic():
            outcomes.confirm_delivered(second.id)
            transaction.set_rollback(True)  # as if the process had died before the commit
        assert [row.status for row in rows(started)] == ["scheduled", "sent", "scheduled"]
        outcomes.confirm_delivered(second.id)
    if how == "read":
        assert rows(started)[0].status == "scheduled"
        outcomes.confirm_read(second.id)
    ended = [rows(started)[at] for at in (0, 2)]
    assert [(row.status, row.reason) for row in ended] == [("cancelled", "chain_reached")] * 2
    assert [row.due_at for row in ended] == [None, None]
    assert all(row.finished_at for row in ended)
    assert list(diagnosis.backlog()) == []


def test_a_delivery_window_keeps_the_order_and_the_waits(call: Caller, deliver: Deliver) -> None:
    opens = clock.now() + timedelta(hours=5)
    hours = {"begins": f"{opens:%H:%M}", "ends": f"{opens + timedelta(hours=6):%H:%M}"}
    window = {"category": "billing", **hours, "timezone": "UTC", "spread": 120}
    assert call("POST", "/delivery-windows", window).status_code == 201
    body = chain(step("ada", 60), step("bob", 90), step("eve", 60), step("joe"))
    firsts = set()
    for _ in range(5):
        run = call.ok("POST", "/chain-runs", {"chain": body, "category": "billing"})
        due = [datetime.fromisoformat(one["due_at"]) for one in run["steps"]]
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(due)]
        assert gaps == [60, 90, 60]
        firsts.add(due[0])
    assert len(firsts) == 5  # each run has its own place


def test_of_steps_that_are_claimed_at_the_same_moment_exactly_one_is_sent(age: Age) -> None:
    runs = [send_chain(chain(step("ada", 60), step("bob", 60), step("eve"))) for _ in range(25)]
    for started in runs:
        for row in rows(started):
            age(row)

    def work(number: int) -> None:
        try:
            for started in runs:
                row = Notification.objects.get(chain_run=started.id, chain_step=number)
                pipeline.deliver(claims.claim([row.id]), worker="test")
        finally:
            connections.close_all()

    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, (3, 2, 1)))
        waiting = Notification.objects.filter(status=Status.SCHEDULED)
        waiting.update(due_at=clock.now())
    for started in runs:
        assert sorted(states(started)) == [
            *[("cancelled", "chain_reached")] * 2,
            ("sent", ""),
        ], states(started)


def test_whoever_claims_a_step_first_the_first_one_goes_first(age: Age) -> None:
    people = (step("ada", 60), step("bob", 60), step("eve"))
    runs = [send_chain(chain(*people, stop_on="delivered")) for _ in range(25)]
    for started in runs:
        for row in rows(started):
            age(row)

    def work(number: int) -> None:
        try:
            for started in runs:
                row = Notification.objects.get(chain_run=started.id, chain_step=number)
                pipeline.deliver(claims.claim([row.id]), worker="test")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, (3, 2, 1)))
    for started in runs:
        waits = ("scheduled", "chain_waits")
        assert states(started) == [("sent", ""), waits, waits], states(started)


def test_a_stored_recipient_gets_each_step_at_its_channel_and_one_without_is_skipped(
    call: Caller, deliver: Deliver
) -> None:
    made = Template.objects.create(name="code.email", channel="email")
    publish(create_version(made, {"subject": "Code", "text": "{{ code }}", "html": "{{ code }}"}))
    sms = Template.objects.create(name="code.sms", channel="sms")
    publish(create_version(sms, {"text": "{{ code }}"}))
    push = Template.objects.create(name="code.push", channel="push")
    publish(create_version(push, {"title": "Code", "body": "{{ code }}"}))
    save_recipient(
        "customer-17",
        addresses={"email": "ada@example.org", "push": ["a" * 40, "b" * 40]},
        test=True,
    )
    save_chain(
        "code",
        [
            {"channel": "sms", "wait": 60},
            {"channel": "push", "wait": 120},
            {"channel": "email"},
        ],
        template="code",
        expires=3600,
        test=True,
    )
    body: dict[str, Any] = {
        "chain": "code",
        "to": {"recipient": "customer-17"},
        "context": {"code": "1"},
    }
    started = send_chain(**body, test=True, category="security", idempotency_key="k")
    steps = [(row.chain_step, row.channel, row.recipient) for row in rows(started)]
    assert sorted(steps) == [
        (2, "push", "a" * 40),
        (2, "push", "b" * 40),
        (3, "email", "ada@example.org"),
    ]
    assert started.notifications == [row.id for row in rows(started)]
    again = send_chain(**body, test=True, category="security", idempotency_key="k")
    assert again.notifications == started.notifications
    assert started.skipped == [{"step": 1, "channel": "sms", "reason": "no_address"}]
    first, other, mail = rows(started)
    assert first.status == other.status == "queued"
    assert mail.due_at
    assert mail.expires_at
    assert 100 < (mail.due_at - mail.created_at).total_seconds() < 125
    deliver(first, other)  # both devices
    assert [row.status for row in rows(started)] == ["sent", "sent", "scheduled"]
    personal_data.forget("customer-17", project="default")
    assert [row.recipient for row in rows(started)] == ["forgotten"] * 3
    run = ChainRun.objects.get(pk=started.id)
    assert (run.recipient_key, run.idempotency_key) == ("", "")


def test_a_key_stands_for_one_run_and_a_transaction_undone_starts_none() -> None:
    save_chain("code", [step("ada", 60), step("bob")])
    first = send_chain("code", idempotency_key="k", metadata={"a": 1})
    again = send_chain("code", idempotency_key="k", metadata={"a": 1}, countdown=5)
    assert (first.created, again.created, again.id) == (True, False, first.id)
    assert again.notifications == first.notifications == [row.id for row in rows(first)]
    with pytest.raises(errors.IdempotencyConflict) as conflict:
        send_chain("code", idempotency_key="k", metadata={"a": 2})
    assert conflict.value.field == "idempotency_key"
    with transaction.atomic():
        send_chain("code", idempotency_key="other")
        transaction.set_rollback(True)
    assert ChainRun.objects.count() == 1
    assert Notification.objects.count() == 2

    def start(_: int) -> bool:
        try:
            return send_chain("code", idempotency_key="at once").created
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(start, range(4))) == [False, False, False, True]
    assert Notification.objects.count() == 4


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"chain": "nobody"}, "unknown-chain", "chain"),
    ({"chain": chain()}, "invalid-chain", "steps"),
    ({"chain": chain(*[step("a", 1)] * 11)}, "invalid-chain", "steps"),
    ({"chain": chain(step("a"), step("b"))}, "invalid-chain", "steps.0.wait"),
    ({"chain": chain(step("a", 0.1), step("b"))}, "invalid-chain", "steps.0.wait"),
    ({"chain": chain(step("a", 1e9), step("b"))}, "invalid-chain", "steps.0.wait"),
    ({"chain": chain(step("a", 60), step("b"), expires=60)}, "invalid-chain", "steps.0.wait"),
    ({"chain": chain(step("a", 60), step("b")), "expires": 30}, "invalid-chain", "expires"),
    ({"chain": chain(step("a", channel="fax"))}, "unknown-channel", "steps.0.channel"),
    (
        {"chain": chain(step("a", 1), step("b", body="", template="x"))},
        "unknown-template",
        "steps.1.template",
    ),
    ({"chain": chain(step("a", body=""))}, "missing-content", "steps.0.template"),
    ({"chain": chain(step("a"), stop_on="never")}, "invalid-field", "stop_on"),
    (
        {"chain": chain({"channel": "sms", "body": "B"})},
        "invalid-field",
        "recipients.sms",
    ),
    (
        {"chain": chain({"channel": "simulator", "body": "B"}), "to": {"recipient": "nobody"}},
        "unknown-recipient",
        "to.recipient",
    ),
    (
        {"chain": chain({"channel": "email", "body": "B"}), "recipients": {"email": "x"}},
        "malformed-recipient",
        "steps.0.recipient",
    ),
    (
        {"chain": chain(step("a", 1), step("b", from_email="a@example.org"))},
        "invalid-field",
        "steps.1.from_email",
    ),
    (
        {"chain": chain(step("a@example.org", channel="email", from_email="no address"))},
        "invalid-field",
        "steps.0.from_email",
    ),
    ({"chain": chain(step("a")), "category": "none"}, "unknown-category", "steps.0.category"),
    ({"chain": chain(step("a")), "recipients": {"fax": "1"}}, "unknown-channel", "recipients"),
]


@pytest.mark.parametrize(("body", "kind", "field"), BAD)
def test_a_chain_that_cannot_be_sent_is_refused_by_field(
    call: Caller, body: dict[str, Any], kind: str, field: str
) -> None:
    answer = call("POST", "/chain-runs", body)
    said = answer.json()
    assert (answer.status_code, said["type"], said["field"]) == (
        422,
        f"/api/v1/problems/{kind}",
        field,
    ), said
    assert not ChainRun.objects.exists()
    assert not Notification.objects.exists()


def test_a_step_by_mail_goes_from_a_sender_of_its_own() -> None:
    ProviderAccount.objects.create(
        name="mail-a",
        channel="email",
        kind="smtp",
        settings={"from": "shop@example.org", "senders": ["alarm@example.org"]},
    )
    accounts.forget()
    mail = step("ada@example.org", channel="email", subject="S")
    started = send_chain(chain({**mail, "from_email": "Alarm <alarm@example.org>"}))
    kept = rows(started)[0].mail
    assert kept is not None
    assert kept.fields["from_email"] == "Alarm <alarm@example.org>"
    with pytest.raises(errors.InvalidField) as refused:
        save_chain("alarm", [{**mail, "from_email": "eve@example.org"}])
    assert refused.value.field == "steps.0.from_email"


def test_over_http_a_run_tells_its_story_and_reading_ends_it(
    call: Caller, deliver: Deliver, age: Age, admin_client: Client
) -> None:
    made = call.ok("POST", "/chains", {"name": "code", **chain(step("ada", 60), step("bob"))})
    assert made["steps"][0]["wait"] == 60
    call.ok(
        "POST", "/chains", {"name": "code", **chain(step("ada", 60), step("bob"), stop_on="read")}
    )
    assert [one["stop_on"] for one in call.ok("GET", "/chains")] == ["read"]
    run = call.ok("POST", "/chain-runs", {"chain": "code"}, Idempotency_Key="k")
    assert (run["state"], [one["status"] for one in run["steps"]]) == (
        "running",
        ["queued", "scheduled"],
    )
    assert call("POST", "/chain-runs", {"chain": "code"}, Idempotency_Key="k").status_code == 200
    first, second = Notification.objects.order_by("chain_step")
    assert call("POST", f"/notifications/{first.id}/read").status_code == 409
    deliver(first)
    read = call.ok("POST", f"/notifications/{first.id}/read")
    assert read["read_at"]
    assert read["status"] == "delivered"
    assert call.ok("POST", f"/notifications/{first.id}/read")["read_at"] == read["read_at"]
    age(second)
    deliver(second)
    ended = call.ok("GET", run["url"].removeprefix("/api/v1"))
    assert (ended["state"], ended["steps"][1]["reason"]) == ("reached", "chain_reached")
    shown = call.ok("GET", f"/notifications/{second.id}")
    assert (shown["chain_run"], shown["chain_step"]) == (run["id"], 2)
    titles = [event["title"] for event in shown["trace"]]
    assert "Step 1 of the chain, by simulator: delivered" in titles
    page = admin_client.get(f"/admin/notifications/notification/{second.id}/change/")
    assert "Step 1 of the chain" in page.content.decode()
    other = call.ok("POST", "/chain-runs", {"chain": "code"})
    stopped = call.ok("POST", f"/chain-runs/{other['id']}/cancel")
    assert stopped["state"] == "unreached"
    assert call("DELETE", "/chains/code").status_code == 204
    assert call("DELETE", "/chains/code").status_code == 404


def test_the_form_of_the_admin_says_beside_the_field_what_is_wrong(admin_client: Client) -> None:
    form = {"project": "default", "name": "code", "stop_on": "sent", "steps": "[]"}
    page = admin_client.post("/admin/notifications/chain/add/", form)
    assert page.status_code == 200
    assert not Chain.objects.exists()
    form["steps"] = '[{"channel": "sms", "body": "B"}, {"channel": "email", "body": "B"}]'
    page = admin_client.post("/admin/notifications/chain/add/", form)
    assert "steps.0.wait: Say how many seconds" in page.content.decode()
    form["steps"] = form["steps"].replace('"sms"', '"sms", "wait": 60')
    assert admin_client.post("/admin/notifications/chain/add/", form).status_code == 302
    assert "sms → email" in admin_client.get("/admin/notifications/chain/").content.decode()
    again = admin_client.post("/admin/notifications/chain/add/", form)
    assert again.context["adminform"].form.errors == {"name": [TAKEN]}


def test_a_mail_that_asks_for_it_tells_that_it_was_opened(
    deliver: Deliver, client: Client, settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://n.example.org"
    mail: dict[str, Any] = {
        "channel": "email",
        "recipient": "ada@example.org",
        "subject": "S",
        "body": "B",
    }
    html = "<html><body><p>Hi</p></body></html>"
    asked = send(**mail, html=html, options={"open_pixel": True}, test=True)
    (claim,) = claims.claim([asked.id])
    plain = send(**mail, html=html, test=True)
    content = pipeline._render([claim, *claims.claim([plain.id])])[0]
    with_picture, without = (str(one.content["html"]) for one in content)
    assert "opened" not in without
    path = with_picture.partition('src="https://n.example.org')[2].partition('"')[0]
    assert with_picture.endswith("</body></html>")
    Notification.objects.filter(pk=asked.pk).update(status=Status.SENT, due_at=None)
    client.head(path)
    assert Notification.objects.get(pk=asked.pk).read_at is None
    answer = client.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/gif")
    row = Notification.objects.get(pk=asked.pk)
    assert row.status == "delivered"
    assert row.read_at is not None
    assert client.get("/opened/forged.gif").status_code == 404
