"""The notifications' pages: found by index, read without a form, changed by two verbs."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from notifications.models import Notification, Status
from notifications.tasks import send_notification, send_to_each
from scheduling import jobs
from scheduling.models import Fire

LIST = "/admin/notifications/notification/"


def page(notification: Any) -> str:
    return f"{LIST}{notification.pk}/change/"


def listed(response: Any) -> list[Any]:
    return [row.pk for row in response.context["cl"].result_list]


def test_the_list_counts_no_rows(boss: Client, accepted: Callable[..., Notification]) -> None:
    accepted()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert boss.get(LIST).status_code == 200
    asked = [q["sql"] for q in queries if "notifications_notification" in q["sql"]]
    assert asked
    assert not [sql for sql in asked if "COUNT(" in sql.upper()]


@pytest.mark.parametrize("field", ["id", "recipient", "reference", "idempotency_key"])
def test_a_notification_is_found_by_what_identifies_it(
    boss: Client, accepted: Callable[..., Notification], field: str
) -> None:
    wanted = accepted(recipient="ada", reference="order 7", idempotency_key="key-7")
    accepted(recipient="bob", reference="order 8", idempotency_key="key-8")
    found = boss.get(LIST, {"q": str(getattr(wanted, field))})
    assert listed(found) == [wanted.pk]


def test_a_phone_number_is_found_as_people_write_it(
    boss: Client, accepted: Callable[..., Notification]
) -> None:
    wanted = accepted(channel="sms", recipient="+436641234567", body="Hi")
    assert listed(boss.get(LIST, {"q": "+43 664 1234567"})) == [wanted.pk]


def test_a_part_of_a_recent_recipient_is_found_by_who_may_see_recipients(
    boss: Client, browser_of: Callable[..., Any], accepted: Callable[..., Notification]
) -> None:
    row = accepted(recipient="ada-lovelace")
    assert listed(boss.get(LIST, {"q": "lovel"})) == [row.id]
    assert listed(boss.get(LIST, {"q": "ad"})) == []  # too short a part
    viewer = browser_of("view_notification")
    assert listed(viewer.get(LIST, {"q": "lovel"})) == []
    assert listed(viewer.get(LIST, {"q": "ada-lovelace"})) == [row.id]


def test_the_list_is_filtered_by_status_channel_and_priority(
    boss: Client, accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    sent, waiting = accepted(priority="high"), accepted(countdown=600)
    deliver(sent)
    assert listed(boss.get(LIST, {"status": "sent"})) == [sent.pk]
    assert listed(boss.get(LIST, {"status": "scheduled"})) == [waiting.pk]
    assert listed(boss.get(LIST, {"priority__exact": "high"})) == [sent.pk]
    assert listed(boss.get(LIST, {"channel__exact": "email"})) == []


def test_the_page_tells_the_story_with_attempts_and_content(
    boss: Client, accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(recipient="ada?result=transient&code=503", body="the body")
    deliver(row)
    text = boss.get(page(row)).content.decode()
    for word in ("Accepted", "Attempt 1: refused for now", "503", "Retry planned", "the body"):
        assert word in text


def test_the_page_leads_to_the_schedule_the_batch_and_what_it_replays(
    boss: Client, accepted: Callable[..., Notification]
) -> None:
    jobs.allow("notifications.send_notification", "notifications.send_to_each")
    message = {"channel": "simulator", "body": "Hello"}
    asked: dict[str, tuple[Any, dict[str, Any]]] = {
        "one": (send_notification, {**message, "recipient": "ada"}),
        "many": (send_to_each, {**message, "recipients": ["bob", "eve"]}),
    }
    for name, (task, kwargs) in asked.items():
        jobs.register(name, task.name, 3600, kwargs=kwargs)
        jobs.run_now(name)
    fires = {fire.schedule.periodic_task.name: fire for fire in Fire.objects.all()}
    for name, (task, kwargs) in asked.items():
        task.apply(kwargs=kwargs, task_id=str(fires[name].pk))
    alone, in_batch = (Notification.objects.get(recipient=name) for name in ("ada", "bob"))
    again = accepted()
    Notification.objects.filter(pk=again.pk).update(replay_of=alone)
    shown = [boss.get(page(row)).content.decode() for row in (alone, in_batch, again)]
    assert f'/admin/scheduling/fire/{fires["one"].pk}/change/">one</a>' in shown[0]
    assert f'/admin/scheduling/fire/{fires["many"].pk}/change/">many</a>' in shown[1]
    assert f"/admin/notifications/batch/{in_batch.batch_id}/change/" in shown[1]
    assert page(alone) in shown[2]


def test_content_and_recipients_are_hidden_without_the_permission(
    browser_of: Callable[..., Any],
    accepted: Callable[..., Notification],
    deliver: Callable[..., Any],
) -> None:
    row = accepted(body="the secret body", recipient="ada-lovelace", metadata={"pin": "4711"})
    viewer = browser_of("view_notification")
    text = viewer.get(page(row)).content.decode() + viewer.get(LIST).content.decode()
    for secret in ("the secret body", "ada-lovelace", "4711"):
        assert secret not in text
    assert "Hidden" in text


def test_the_captured_mail_is_shut_into_a_frame_without_rights(
    boss: Client, accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(channel="email", recipient="ada@example.org", body="<b>not markup</b>")
    deliver(row)
    text = boss.get(f"/outbox/{row.pk}/").content.decode()
    assert "&lt;b&gt;not markup&lt;/b&gt;" in text


def test_cancel_asks_first_and_is_written_to_the_log(
    boss: Client, accepted: Callable[..., Notification]
) -> None:
    row = accepted(countdown=600)
    assert boss.get(f"{LIST}{row.pk}/cancel/").status_code == 200
    row.refresh_from_db()
    assert row.status == Status.SCHEDULED
    boss.post(f"{LIST}{row.pk}/cancel/", {"_form_submitted": "on"})
    row.refresh_from_db()
    assert row.status == Status.CANCELLED
    assert LogEntry.objects.get(object_id=str(row.pk)).change_message == "Cancelled."


def test_sending_again_makes_a_new_notification_linked_to_the_old(
    boss: Client, accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(reference="order 7")
    deliver(row)
    boss.post(f"{LIST}{row.pk}/resend/", {"_form_submitted": "on"})
    again = Notification.objects.get(replay_of=row)
    assert (again.reference, again.body) == (row.reference, row.body)
    assert str(again.pk) in LogEntry.objects.get(object_id=str(row.pk)).change_message


@pytest.mark.parametrize("verb", ["cancel", "resend"])
def test_who_may_only_look_is_refused_every_action(
    browser_of: Callable[..., Any], accepted: Callable[..., Notification], verb: str
) -> None:
    row = accepted(countdown=600)
    viewer = browser_of("view_notification")
    assert viewer.post(f"{LIST}{row.pk}/{verb}/", {"_form_submitted": "on"}).status_code == 403
    viewer.post(LIST, {"action": f"{verb}_selected", "_selected_action": [str(row.pk)]})
    row.refresh_from_db()
    assert row.status == Status.SCHEDULED
    assert Notification.objects.count() == 1


def test_the_chosen_ones_are_cancelled_together(
    boss: Client, accepted: Callable[..., Notification]
) -> None:
    rows = [accepted(countdown=600) for _ in range(3)]
    boss.post(LIST, {"action": "cancel_selected", "_selected_action": [str(r.pk) for r in rows]})
    assert Notification.objects.filter(status=Status.CANCELLED).count() == 3
    assert LogEntry.objects.count() == 3


def test_rows_cannot_be_added_edited_or_deleted(
    boss: Client, accepted: Callable[..., Notification]
) -> None:
    row = accepted(countdown=600)
    assert boss.get(f"{LIST}add/").status_code == 403
    assert boss.post(page(row), {"subject": "other"}).status_code == 403
    assert boss.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_outbox_wants_a_login_and_the_permission(
    client: Client, browser_of: Callable[..., Any], transactional_db: None
) -> None:
    assert client.get("/outbox/").status_code == 302
    assert browser_of("view_notification").get("/outbox/").status_code == 403


def test_the_outbox_shows_what_was_captured(
    boss: Client, accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    row = accepted(channel="sms", recipient="+436641234567", body="Hello Ada")
    deliver(row)
    assert "Hello Ada" in boss.get("/outbox/").content.decode()
    assert "Hello Ada" in boss.get(f"/outbox/{row.pk}/").content.decode()


def test_every_list_that_the_sidebar_leads_to_opens(boss: Client) -> None:
    for model in (
        *("auth/user", "auth/group", "django_celery_results/taskresult"),
        *("django_celery_results/groupresult", "django_celery_beat/periodictask"),
    ):
        assert boss.get(f"/admin/{model}/").status_code == 200, model
