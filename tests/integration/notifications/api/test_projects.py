"""Projects do not meet: not by idempotency keys, not by names, not by what a provider reports."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django_celery_beat.models import PeriodicTask

from notifications.callbacks import outbound
from notifications.canvas import deliveries
from notifications.core.errors import DeliveryFailed, UnknownProject
from notifications.core.routing import SEND_TASK
from notifications.core.world import LIVE, World
from notifications.db import clock
from notifications.db.bulk_insert import Table
from notifications.models import FailedDelivery, Notification, Project, Status, Suppression
from notifications.submission import insert, requests, send, send_many, validation
from templates_engine import catalog
from templates_engine.models import Template
from tests.integration.notifications.api.conftest import SIMULATED, Caller

pytestmark = pytest.mark.django_db

SHOP = World("shop")
JOB = {"name": "report", "handler": SEND_TASK, "schedule": {"every": 60}, "kwargs": SIMULATED}


@pytest.fixture
def shop(caller: Callable[..., Caller]) -> Any:
    Project.objects.create(name="shop")
    return caller(project="shop")


@pytest.fixture
def rehearse(shop: Any, caller: Callable[..., Caller]) -> Any:
    return caller(kind="test")


def publish(caller_: Any, name: str, text: str) -> None:
    caller_.ok("POST", "/templates", {"name": name, "channel": "simulator"})
    caller_.ok("POST", f"/templates/{name}/versions", {"parts": {"body": text}})
    caller_.ok("POST", f"/templates/{name}/versions/1/publish")
    catalog.clear()  # as the commit would, which a test does not come to


def pinned(row: Notification) -> str:
    """Return the sources of the version that a notification has."""
    assert row.template_version
    return str(row.template_version.variants)


def test_the_same_idempotency_key_is_another_projects_own(
    call: Caller, shop: Any, rehearse: Any
) -> None:
    made = {
        caller_.ok("POST", "/notifications", {**SIMULATED, "body": body}, Idempotency_Key="k")["id"]
        for caller_, body in ((call, "a"), (shop, "b"), (rehearse, "c"))
    }
    batches = {
        caller_.ok("POST", "/notifications/batch", [SIMULATED], Idempotency_Key="k")["id"]
        for caller_ in (call, shop, rehearse)
    }
    assert (len(made), len(batches)) == (3, 3)
    for caller_, body in ((call, "a"), (shop, "b"), (rehearse, "c")):
        again = caller_("POST", "/notifications", {**SIMULATED, "body": body}, Idempotency_Key="k")
        assert (again.status_code, again.json()["id"] in made) == (200, True)


def test_a_row_of_a_batch_cannot_be_another_projects(shop: Any) -> None:
    rows = [{**SIMULATED, "project": project} for project in ("default", "shop", "none")]
    batch = shop.ok("POST", "/notifications/batch", rows)
    assert (batch["accepted"], batch["refused"]) == (1, 2)
    assert {error["field"] for error in batch["errors"]} == {"project"}
    assert Notification.objects.get().project == "shop"


def test_a_key_says_whose_a_notification_is_and_the_body_does_not(shop: Any) -> None:
    refused = shop("POST", "/notifications", {**SIMULATED, "project": "default"})
    assert (refused.status_code, Notification.objects.count()) == (422, 0)


def test_the_same_names_of_templates_and_jobs_are_each_projects_own(
    call: Caller, shop: Any, rehearse: Any
) -> None:
    for number, caller_ in enumerate((call, shop, rehearse)):
        publish(caller_, "receipt", f"text {number}")
        made = caller_.ok("POST", "/jobs", JOB)
        assert made["definition"]["name"] == made["name"] == "report"
        assert caller_("POST", "/jobs", JOB).status_code == 409
        listed = caller_.ok("GET", "/jobs", query={"name": "report"})["items"]
        assert [job["id"] for job in listed] == [made["id"]]
        body = {"channel": "simulator", "recipient": "ada", "template": "receipt"}
        sent = caller_.ok("POST", "/notifications", body)
        assert f"text {number}" in pinned(Notification.objects.get(id=sent["id"]))
    assert PeriodicTask.objects.count() == Template.objects.count() == 3


def test_a_test_is_sent_by_a_live_template_until_there_is_one_for_tests(
    call: Caller, rehearse: Any, shop: Any
) -> None:
    publish(call, "otp", "live")
    body = {"channel": "simulator", "recipient": "ada", "template": "otp"}
    rehearse.ok("POST", "/notifications", body)
    assert shop("POST", "/notifications", body).status_code == 422
    assert rehearse("GET", "/templates/otp").status_code == 404
    publish(rehearse, "otp", "for tests")
    rehearse.ok("POST", "/notifications", body)
    call.ok("POST", "/notifications", body)
    used = [pinned(row) for row in Notification.objects.order_by("id")]
    assert ["for tests" in text for text in used] == [False, True, False]


def test_a_job_of_a_project_sends_for_it_whatever_its_arguments_say(
    shop: Any, call: Caller, rehearse: Any
) -> None:
    made = shop.ok("POST", "/jobs", JOB)
    assert made["definition"]["kwargs"]["project"] == "shop"
    for caller_ in (call, shop):
        foreign = {**JOB, "name": "x", "kwargs": {**SIMULATED, "project": "none"}}
        assert caller_("POST", "/jobs", foreign).status_code == 403
        change = {"kwargs": {**SIMULATED, "project": "none"}}
        if caller_ is shop:
            assert caller_("PATCH", f"/jobs/{made['id']}", change).status_code == 403
    assert call("POST", "/jobs", {**JOB, "name": ":shop/x"}).status_code == 422
    assert rehearse("POST", "/jobs", {**JOB, "handler": "x.y"}).status_code == 403


def test_keys_that_jobs_share_are_shared_within_a_project_alone(
    call: Caller, shop: Any, rehearse: Any
) -> None:
    keys = {"concurrency_key": "one", "unique_key": "nightly", "unique_seconds": 1_000_000}
    for caller_ in (rehearse, shop, call):  # the first would hold up the others for days
        made = caller_.ok("POST", "/jobs", {**JOB, **keys, "overlap": "skip"})
        assert made["definition"].items() >= keys.items()
        statuses = [caller_.ok("POST", f"/jobs/{made['id']}/run")["status"] for _ in range(2)]
        assert [status.startswith("skipped") for status in statuses] == [False, True]
        changed = caller_.ok("PATCH", f"/jobs/{made['id']}", {"concurrency_key": "two"})
        assert changed["definition"]["concurrency_key"] == "two"
        assert changed["definition"]["unique_key"] == "nightly"
    for key in ("name", "unique_key", "concurrency_key"):
        forged = {**JOB, "name": "forged", **keys, "overlap": "skip", key: ":shop/nightly"}
        assert call("POST", "/jobs", forged).json()["field"] == key


def test_a_send_that_people_schedule_for_a_project_is_not_the_default_projects(
    call: Caller, shop: Any
) -> None:
    kwargs = json.dumps({**SIMULATED, "project": "shop"})
    rule = call.ok("POST", "/jobs", JOB)
    task = PeriodicTask.objects.get(pk=rule["id"])
    PeriodicTask.objects.filter(pk=task.pk).update(kwargs=kwargs)
    assert call.ok("GET", "/jobs")["items"] == []
    for method, path in (("GET", ""), ("POST", "/run"), ("POST", "/pause"), ("DELETE", "")):
        assert call(method, f"/jobs/{task.pk}{path}").status_code == 404
    assert PeriodicTask.objects.get().enabled


def test_a_suppression_holds_back_its_project_alone(call: Caller, shop: Any, rehearse: Any) -> None:
    shop.ok("POST", "/suppressions", {"channel": "simulator", "recipient": "ada"})
    rehearse.ok("POST", "/suppressions", {"channel": "simulator", "recipient": "bob"})
    statuses = [
        caller_.ok("POST", "/notifications", {**SIMULATED, "recipient": recipient})["status"]
        for caller_ in (call, shop, rehearse)
        for recipient in ("ada", "bob")
    ]
    assert statuses == ["queued", "queued", "suppressed", "queued", "queued", "suppressed"]


def test_what_a_test_reports_suppresses_nobody_who_lives(rehearse: Any) -> None:
    dead = {**SIMULATED, "recipient": "ada?result=permanent&reason=invalid_recipient"}
    made = rehearse.ok("POST", "/notifications", dead)
    with pytest.raises(DeliveryFailed):
        deliveries.deliver_one(UUID(made["id"]), worker="test")
    assert set(Suppression.objects.values_list("project", "test")) <= {("default", True)}
    dead_letter = FailedDelivery.objects.get()
    assert (dead_letter.project, dead_letter.test) == ("default", True)


def test_a_callback_is_its_projects_own(shop: Any) -> None:
    row = send(**SIMULATED, project="shop", callback_url="https://shop.example.org/told")
    Notification.objects.filter(id=row.id).update(
        status=Status.SENT, finished_at=clock.now(), due_at=None
    )
    outbound.tick()
    assert Notification.objects.get(channel="callback").world == SHOP


def test_python_names_a_project_that_there_is(shop: Any) -> None:
    assert send(**SIMULATED).world == LIVE
    assert send(**SIMULATED, project="shop").world == SHOP
    batch = send_many([SIMULATED, {**SIMULATED, "project": "default"}], project="shop")
    assert (batch.accepted, batch.refused, batch.batch.project) == (1, 1, "shop")
    names: tuple[Any, ...] = ("none", "", None, 5, "\0")
    for name in names:
        with pytest.raises(UnknownProject):
            send(**SIMULATED, project=name)


def test_rows_of_code_that_knows_no_projects_are_the_default_projects(db: None) -> None:
    old = Table(Notification, "project")
    accepted = validation.check(requests.read(SIMULATED), clock.now())
    old.insert([insert.build(accepted, clock.now())])
    assert Notification.objects.get().world == LIVE


def test_projects_are_made_by_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_project", "shop")
    call_command("create_api_key", "web", "--project", "shop")
    assert "project shop" in capsys.readouterr().err
    for words in (["create_project", "shop"], ["create_project", "default"]):
        with pytest.raises(CommandError):
            call_command(*words)
    with pytest.raises(CommandError, match="create_project"):
        call_command("create_api_key", "web", "--project", "none")


@pytest.mark.parametrize("scopes", [["manage"], ["send", "read", "replay"]])
def test_a_job_that_sends_needs_what_it_does(
    call: Caller, caller: Callable[..., Caller], scopes: list[Any]
) -> None:
    made = call.ok("POST", "/jobs", JOB)
    caller_ = caller(scopes=scopes)
    for method, path, body in (
        ("POST", "/jobs", {**JOB, "name": "other"}),
        ("PATCH", f"/jobs/{made['id']}", {"schedule": {"every": 1}}),
        ("POST", f"/jobs/{made['id']}/run", None),
        ("POST", f"/jobs/{made['id']}/resume", None),
    ):
        response = caller_(method, path, body)
        assert response.status_code == 403
        assert "missing-scope" in response.json()["type"]
