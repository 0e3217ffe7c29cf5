"""A schedule of notifications is made in one form, and checked as if it were sent now."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django import Settings

from notifications import tasks
from notifications.audiences import save_audience
from notifications.core import routing
from notifications.core.errors import IdempotencyConflict, MalformedRecipient
from notifications.models import Audience, Batch, Notification
from notifications.submission import save_recipient
from templates_engine import catalog
from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.test_problems import QUICK, SLOW

ADD = reverse("admin:django_celery_beat_periodictask_add")
LIST = reverse("admin:django_celery_beat_periodictask_changelist")


@pytest.fixture
def receipt(transactional_db: None) -> Iterator[Template]:
    catalog.clear()
    template = Template.objects.create(name="receipt", channel="email")
    sources = {"subject": "Receipt", "text": "{{ name }}: {{ amount }}"}
    publish(create_version(template, sources, sample_context={"name": "Ada", "amount": "5"}))
    yield template
    catalog.clear()


def filled(**values: Any) -> dict[Any, Any]:
    return {
        "name": "monthly receipt",
        "enabled": "on",
        "when": "cron",
        "cron": "0 9 1 * *",
        "timezone": "Europe/Rome",
        "what": "notification",
        "recipients": "ada@example.org",
        "context": "{}",
        "more": "{}",
        "args": "[]",
        "kwargs": "{}",
        "headers": "{}",
        "firing-TOTAL_FORMS": "1",
        "firing-INITIAL_FORMS": "0",
        "firing-0-misfire": "latest",
        "firing-0-misfire_cap": "10",
        "firing-0-overlap": "allow",
        "firing-0-jitter_seconds": "0",
        "firing-0-guarantee": "at_least_once",
        "firing-0-max_retries": "0",
        "firing-0-retry_backoff_seconds": "10",
        "firing-0-concurrency": "1",
        **values,
    }


def saved(boss: Client, **values: Any) -> Any:
    answer = boss.post(ADD, filled(**values))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    return PeriodicTask.objects.get()


def refused(boss: Client, **values: Any) -> Any:
    answer = boss.post(ADD, filled(**values))
    assert answer.status_code == 200
    assert not PeriodicTask.objects.exists()
    return answer.context["adminform"].form.errors


def test_a_template_its_recipient_and_its_context_become_the_task(
    boss: Client, receipt: Template
) -> None:
    context = {"name": "Ada", "amount": "5 EUR"}
    task = saved(boss, template=receipt.pk, context=json.dumps(context), urgency="high")
    assert task.task == routing.SEND_TASK
    assert json.loads(task.kwargs) == {
        "recipient": "ada@example.org",
        "channel": "email",
        "template": "receipt",
        "context": context,
        "priority": "high",
    }


def test_a_missing_variable_is_named_beside_the_context(boss: Client, receipt: Template) -> None:
    errors = refused(boss, template=receipt.pk, context='{"name": "Ada"}')
    assert "amount" in errors["context"][0]


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"recipients": ""}, "recipients", "Name the recipients"),
        ({"recipients": "ada@example.org\nnobody"}, "recipients", "nobody"),
        ({"body": ""}, "body", "nothing to send"),
        ({"channel": "", "body": "x"}, "channel", "channel"),
        ({"more": '{"locale": 5}'}, "more", "locale"),
        ({"more": '{"expires": -5}'}, "more", "past"),
        ({"more": '{"colour": "red"}'}, "more", "colour"),
        ({"context": "{"}, "context", "JSON"),
        ({"more": "[]"}, "more", "object"),
        ({"more": '{"metadata": {"x": {"__type__": "datetime", "__value__": 5}}}'}, "more", "JSON"),
    ],
)
def test_what_the_door_would_refuse_is_refused_beside_its_field(
    boss: Client, values: dict[str, Any], field: str, words: str
) -> None:
    errors = refused(boss, **{"channel": "email", "subject": "Hi", "body": "Hi", **values})
    assert words in " ".join(errors[field])


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("kwargs", '{"metadata": {"x": {"__type__": "datetime", "__value__": 5}}}'),
        ("args", '[{"__type__": "uuid", "__value__": {"hex": 1}}]'),
        ("kwargs", "[1]"),
        ("args", '{"a": 1}'),
        ("kwargs", "{bad"),
        ("headers", "null"),
    ],
)
def test_what_no_message_could_hold_is_refused_beside_its_field(
    boss: Client, shop_allowed: None, column: str, text: str
) -> None:
    errors = refused(boss, what="task", task="shop.tidy", recipients="", **{column: text})
    assert list(errors) == [column]


@pytest.fixture
def shop_allowed(settings: Settings) -> None:
    settings.SCHEDULING_ALLOWED_TASKS = ["notifications.send_notification", "shop.*"]


def test_a_task_that_may_not_be_scheduled_is_refused_in_admin_too(
    boss: Client, shop_allowed: None
) -> None:
    errors = refused(boss, what="task", task="config.debug", recipients="")
    assert "may not be scheduled" in str(errors)


def test_another_task_stays_as_it_is_typed(boss: Client, shop_allowed: None) -> None:
    task = saved(boss, what="task", task="shop.tidy", recipients="", kwargs='{"deep": true}')
    assert (task.task, task.kwargs) == ("shop.tidy", '{"deep": true}')


def test_a_plain_row_of_celery_beat_stays_visible_and_editable(
    boss: Client, shop_allowed: None
) -> None:
    every = IntervalSchedule.objects.create(every=5, period="minutes")
    task = PeriodicTask.objects.create(name="plain", task="shop.tidy", interval=every)
    assert "plain" in boss.get(LIST).content.decode()
    url = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    form = boss.get(url).context["adminform"].form
    assert (form["what"].value(), form["when"].value()) == ("task", "every")
    values = filled(what="task", task="shop.sweep", name="plain", when="every", every="5")
    assert boss.post(url, {**values, "period": "minutes"}).status_code == 302
    task.refresh_from_db()
    assert (task.task, task.interval) == ("shop.sweep", every)


def test_a_form_opened_again_shows_what_was_typed_and_loses_nothing(
    boss: Client, receipt: Template
) -> None:
    more = {"locale": "it", "reference": "order-7"}
    context = {"name": "Ada", "amount": "5"}
    values = {
        "template": receipt.pk,
        "context": json.dumps(context),
        "more": json.dumps(more),
        "urgency": "low",
    }
    task = saved(boss, **values)
    url = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    form = boss.get(url).context["adminform"].form
    shown = {name: form[name].value() for name in ("recipients", "urgency", "what")}
    assert shown == {"recipients": "ada@example.org", "urgency": "low", "what": "notification"}
    assert json.loads(form["more"].value()) == more
    before = json.loads(task.kwargs)
    assert boss.post(url, filled(**values, description="again")).status_code == 302
    task.refresh_from_db()
    assert json.loads(task.kwargs) == before


def test_a_line_names_a_stored_recipient(boss: Client) -> None:
    text = {"channel": "email", "subject": "Hi", "body": "Hello"}
    assert "to: customer-17" in str(refused(boss, **text, recipients="to: customer-17"))
    save_recipient("customer-17", addresses={"email": "ada@example.org"})
    task = saved(boss, **text, recipients="to: customer-17")
    assert json.loads(task.kwargs)["to"] == {"recipient": "customer-17"}
    url = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    form = boss.get(url).context["adminform"].form
    assert form["recipients"].value() == "to: customer-17"
    assert json.loads(form["more"].value()) == {}
    lines = "to: customer-17\nbob@example.org"
    changed = filled(**text, recipients=lines, name=task.name)
    assert boss.post(url, changed).status_code == 302
    task.refresh_from_db()
    assert json.loads(task.kwargs)["recipients"] == [
        {"recipient": "customer-17"},
        "bob@example.org",
    ]
    tasks.send_to_each.apply(kwargs=json.loads(task.kwargs), task_id="run-1").get()
    keys = Notification.objects.order_by("recipient").values_list("recipient_key", flat=True)
    assert list(keys) == ["customer-17", ""]


def test_several_recipients_are_sent_as_one_batch_and_a_repeated_run_doubles_nobody(
    boss: Client,
) -> None:
    whom = "ada@example.org\nbob@example.org"
    task = saved(boss, channel="email", recipients=whom, subject="Hi", body="Hello")
    assert task.task == routing.SEND_TO_EACH_TASK
    for _ in range(2):
        tasks.send_to_each.apply(kwargs=json.loads(task.kwargs), task_id="run-1").get()
    recipients = Notification.objects.order_by("recipient").values_list("recipient", flat=True)
    assert list(recipients) == ["ada@example.org", "bob@example.org"]
    assert list(Batch.objects.values_list("accepted", "duplicates")) == [(2, 0)]


def test_a_run_that_nobody_can_be_sent_by_fails(transactional_db: None) -> None:
    fields = {"recipients": ["nobody"], "channel": "email", "subject": "Hi", "body": "Hello"}
    for _ in range(2):  # the run, and its repetition
        with pytest.raises(MalformedRecipient):
            tasks.send_to_each.apply(kwargs=fields, task_id="run-2").get()
    assert Batch.objects.get().refused == 1


def test_a_run_with_the_id_of_another_that_sent_something_else_is_a_conflict(
    transactional_db: None,
) -> None:
    fields = {"channel": "simulator", "body": "Hello"}
    tasks.send_to_each.apply((["ada"],), fields, task_id="run-3").get()
    with pytest.raises(IdempotencyConflict):
        tasks.send_to_each.apply((["ada", "eve"],), fields, task_id="run-3").get()
    assert Notification.objects.get().recipient == "ada"


def test_the_list_says_what_a_schedule_sends_with_its_recipient_masked(boss: Client) -> None:
    saved(boss, channel="email", subject="Happy birthday", body="Cake")
    page = boss.get(LIST).content.decode()
    assert "email: Happy birthday to a…@example.org" in page
    assert "ada@example.org" not in page


def test_the_form_tells_what_a_template_needs(
    boss: Client, receipt: Template, browser_of: Callable[..., Any]
) -> None:
    url = reverse("admin:notifications_template_variables", args=[receipt.pk])
    found = boss.get(url).json()
    assert found == {"needed": ["amount", "name"], "sample": {"name": "Ada", "amount": "5"}}
    draft = Template.objects.create(name="draft", channel="sms")
    url = reverse("admin:notifications_template_variables", args=[draft.pk])
    assert "no published version" in boss.get(url).json()["problem"]
    assert browser_of("view_notification").get(url).status_code == 403


def test_a_schedule_is_found_by_typing_and_no_dropdown_holds_all_templates(boss: Client) -> None:
    Template.objects.bulk_create(Template(name=f"t{n}", channel="sms") for n in range(300))
    assert boss.get(ADD).content.decode().count("<option") < 150
    found = boss.get(
        reverse("admin:autocomplete"),
        {
            "app_label": "templates_engine",
            "model_name": "templateversion",
            "field_name": "template",
            "term": "t299",
        },
    )
    assert [result["text"] for result in found.json()["results"]] == ["t299"]


def test_who_may_only_look_sees_no_recipient_and_no_context(boss: Client) -> None:
    task = saved(boss, channel="email", subject="Hi", body="the secret body")
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_periodictask"))
    boss.force_login(looker)
    url = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    page = boss.get(url).content.decode()
    assert "email: Hi to a…@example.org" in page
    assert "the secret body" not in page
    assert "ada@example.org" not in page


def test_a_moment_just_past_can_still_be_edited(boss: Client) -> None:
    task = saved(
        boss,
        channel="email",
        body="x",
        when="once",
        at_0=f"{timezone.now() + timedelta(days=1):%Y-%m-%d}",
        at_1="00:00:00",
    )
    clocked = task.clocked
    clocked.clocked_time = timezone.now().replace(microsecond=0) - timedelta(days=1)
    clocked.save()
    url = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    at = clocked.clocked_time
    values = {"when": "once", "at_0": f"{at:%Y-%m-%d}", "at_1": f"{at:%H:%M:%S}"}
    answer = boss.post(url, filled(channel="email", body="x", description="changed", **values))
    assert answer.status_code == 302
    task.refresh_from_db()
    assert task.description == "changed"


def test_a_send_that_is_typed_as_a_plain_task_is_checked_too(boss: Client) -> None:
    typed = {"what": "task", "task": routing.SEND_TASK, "kwargs": '{"channel": "email"}'}
    response = boss.post(ADD, filled(**typed))
    assert "recipient" in str(response.context["adminform"].form.errors["kwargs"])
    assert not PeriodicTask.objects.filter(name="monthly receipt").exists()


def test_a_schedule_goes_to_an_audience_or_says_beside_the_field_why_not(boss: Client) -> None:
    save_audience("gold", {"everyone": True})
    audience = Audience.objects.get()
    hello = {"channel": "simulator", "subject": "Hi", "body": "Hello", "audience": audience.pk}
    assert "both" in refused(boss, **hello)["audience"][0]
    wrong = refused(boss, **hello, recipients="", more='{"variables": {"name": "password"}}')
    assert "password" in wrong["more"][0]
    task = saved(boss, **hello, recipients="")
    assert task.task == routing.SEND_TO_AUDIENCE_TASK
    before = json.loads(task.kwargs)
    assert before["audience"] == "gold"
    assert "the audience gold" in boss.get(LIST).content.decode()
    url = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    form = boss.get(url).context["adminform"].form
    assert (form["audience"].value(), form["recipients"].value()) == (audience.pk, "")
    assert boss.post(url, filled(**hello, recipients="", description="x")).status_code == 302
    task.refresh_from_db()
    assert json.loads(task.kwargs) == before


def test_a_filter_that_takes_too_long_is_said_beside_the_audience(
    boss: Client, receipt: Template
) -> None:
    save_recipient("ada", addresses={"email": "ada@example.org"})
    audience = save_audience("all", {"everyone": True})
    version = TemplateVersion.objects.get()
    send = {"template": version.pk, "priority": "low", "when": "now", "key": "once"}
    with connection.cursor() as cursor:
        cursor.execute(SLOW.replace("3s", "500ms"))
        try:
            for verb in ("check", "send"):
                page = boss.post("/send/", {**send, "audience": audience.pk, verb: ""})
                assert "takes too long" in page.context["form"].errors["audience"][0]
            text = {"channel": "email", "subject": "S", "body": "B"}
            errors = refused(boss, recipients="", audience=audience.pk, **text)
            assert "takes too long" in errors["audience"][0]
            page = boss.get(reverse("admin:notifications_audience_change", args=[audience.pk]))
            assert (page.status_code, "takes too long" in page.content.decode()) == (200, True)
        finally:
            cursor.execute(QUICK)
    assert not Batch.objects.exists()
