"""Each time, date and zone that the admin takes: what is none is said beside its field."""

import pytest
from django.test import Client
from django.urls import reverse

from config.audit.model import AuditEntry
from notifications.models import ApiKey, Audience, Batch, DeliveryWindow, Recipient
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.scheduling.schedule_forms import OUTLOOK, _allowed, errors_of, made, typed
from tests.integration.scheduling.test_admin import ADD

__all__ = ["_allowed"]

pytestmark = pytest.mark.django_db

NO_DAYS = ("2026-02-30", "2026-13-01", "tomorrow")
NO_TIMES = ("24:00", "25:00", "08:60", "eight")
NO_ZONES = ("Mars/One", "europe/vienna", "+01:00", "../UTC")
ROW = "/admin/notifications/{}/add/"

WINDOW = {"project": "default", "category": "billing", "begins": "08:00", "ends": "20:00"}
WINDOW |= {"days": "mon", "spread": "0", "if_late": "drop"}
FORMS: dict[str, tuple[str, dict[str, str], str, tuple[str, ...]]] = {
    "begins of a window": (ROW.format("deliverywindow"), WINDOW, "begins", NO_TIMES),
    "ends of a window": (ROW.format("deliverywindow"), WINDOW, "ends", NO_TIMES),
    "timezone of a window": (ROW.format("deliverywindow"), WINDOW, "timezone", NO_ZONES),
    "timezone of a recipient": (
        ROW.format("recipient"),
        {"project": "default", "key": "ada", "attributes": "{}"},
        "timezone",
        NO_ZONES,
    ),
    "end of an API key": (
        ROW.format("apikey"),
        {"name": "shop", "project": "default", "kind": "live", "scopes": "send"},
        "expires_at",
        NO_DAYS,
    ),
    "filter of an audience": (
        ROW.format("audience"),
        {"project": "default", "name": "new"},
        "filter",
        tuple(
            f'{{"field": "{field}", "op": "gte", "value": "{day}"}}'
            for day in NO_DAYS
            for field in ("created_at", "attributes.born")
        ),
    ),
}


@pytest.mark.parametrize(("page", "given", "field", "values"), FORMS.values(), ids=FORMS)
def test_a_form_says_beside_its_field_what_is_no_time_date_or_zone(
    admin_client: Client, page: str, given: dict[str, str], field: str, values: tuple[str, ...]
) -> None:
    for value in values:
        answer = admin_client.post(page, {**given, field: value, f"{field}_0": value})
        assert answer.status_code == 200, value
        assert [*errors_of(answer)] == [field], (value, errors_of(answer))
    for model in (DeliveryWindow, Recipient, ApiKey, Audience):
        assert not model.objects.exists()


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        *(({"start_time_0": day, "start_time_1": "08:00"}, "start_time") for day in NO_DAYS),
        *(({"start_time_0": "2099-01-01", "start_time_1": at}, "start_time") for at in NO_TIMES),
        *(({"expires_0": day, "expires_1": "08:00"}, "expires") for day in NO_DAYS),
        *(({"expires_0": "2099-01-01", "expires_1": at}, "expires") for at in NO_TIMES),
        *(({"when": "once", "at_0": day, "at_1": "08:00"}, "at") for day in NO_DAYS),
        *(({"when": "once", "at_0": "2099-01-01", "at_1": at}, "at") for at in NO_TIMES),
        *(({"when": "cron", "cron": "0 9 * * *", "timezone": z}, "timezone") for z in NO_ZONES),
    ],
)
def test_a_schedule_says_beside_its_field_what_is_no_time_date_or_zone(
    admin_client: Client, parts: dict[str, str], field: str
) -> None:
    given = {"when": "every", "every": "90", "period": "minutes", **parts}
    answer = admin_client.post(ADD, typed(**given))
    assert answer.status_code == 200
    assert field in errors_of(answer), errors_of(answer)
    looked = admin_client.get(OUTLOOK, given).json()
    assert (looked["fires"], bool(looked["problem"])) == ([], True)


def test_a_send_and_a_backfill_say_what_is_no_time(admin_client: Client) -> None:
    version = publish(
        create_version(Template.objects.create(name="news", channel="simulator"), {"body": "N"})
    )
    given = {"template": version.pk, "rows": "recipient\nada", "priority": "low", "key": "k"}
    inputs: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("later", "at", (*NO_DAYS, "2099-01-01T24:30")),
        ("locally", "morning", NO_TIMES),
    )
    for when, field, values in inputs:
        for value in values:
            body = {**given, "when": when, field: value, "send": "1"}
            answer = admin_client.post(reverse("send"), body)
            assert (answer.status_code, [*answer.context["form"].errors]) == (200, [field]), value
    assert not Batch.objects.exists()
    task = made(admin_client, when="every", every="90", period="minutes")
    page = reverse("admin:django_celery_beat_periodictask_backfill", args=(task.pk,))
    span = {
        "since_0": "2026-01-01",
        "since_1": "08:00",
        "until_0": "2026-01-02",
        "until_1": "08:00",
    }
    for field in ("since", "until"):
        for part, values in ((0, NO_DAYS), (1, NO_TIMES)):
            for value in values:
                answer = admin_client.post(page, {**span, "pace": "0", f"{field}_{part}": value})
                assert (answer.status_code, [*answer.context["form"].errors]) == (200, [field])


def test_a_list_that_cannot_be_filtered_by_what_is_no_time_says_so(admin_client: Client) -> None:
    page = reverse(f"admin:config_{AuditEntry._meta.model_name}_changelist")
    for value in NO_DAYS:
        answer = admin_client.get(page, {"at__gte": value}, follow=True)
        said = [str(message) for message in answer.context["messages"]]
        assert said == ["The list is not filtered: at__gte cannot be used like this."]
