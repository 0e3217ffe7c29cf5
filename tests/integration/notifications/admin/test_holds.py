"""Holds in admin and on the command line."""

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from notifications.models import Hold
from notifications.operations import holds
from notifications.submission import send_many
from tests.integration.notifications.conftest import SIMULATED

LIST = reverse("admin:notifications_hold_changelist")
ADD = reverse("admin:notifications_hold_add")


def test_what_is_held_and_released_in_admin_is_in_force_at_once(
    admin_client: Client, transactional_db: None
) -> None:
    asked = {"scope": "queue", "value": "email.low", "reason": "a wrong price"}
    assert admin_client.post(ADD, asked).status_code == 302
    held = holds.in_force().get()
    assert (held.value, held.reason) == ("email.low", "a wrong price")
    assert held.created_by
    assert "a wrong price" in admin_client.get(LIST).content.decode()
    again = admin_client.post(ADD, {**asked, "reason": "another"})
    assert again.context["adminform"].form.errors == {"value": ["It is held already."]}
    admin_client.post(LIST, {"action": "release", "_selected_action": [held.pk]})
    assert not holds.in_force().exists()
    assert admin_client.post(ADD, asked).status_code == 302
    assert holds.in_force().exists()


def test_what_is_not_there_is_refused_beside_its_field(
    admin_client: Client, transactional_db: None
) -> None:
    response = admin_client.post(ADD, {"scope": "template", "value": "none"})
    assert "value" in response.context["adminform"].form.errors
    assert not Hold.objects.exists()


def test_the_commands_hold_list_and_release(
    transactional_db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("hold", "channel", "email", reason="their outage")
    call_command("hold")
    assert "channel email" in capsys.readouterr().out
    call_command("release", "channel", "email")
    with pytest.raises(CommandError, match="no such hold"):
        call_command("release", "channel", "email")
    with pytest.raises(CommandError, match="There is no"):
        call_command("hold", "channel", "fax")


def test_a_batchs_page_leads_to_the_report_of_its_refused_rows(
    admin_client: Client, transactional_db: None
) -> None:
    batch = send_many([SIMULATED, {}]).batch
    page = admin_client.get(reverse("admin:notifications_batch_change", args=[batch.pk]))
    report = reverse("batch-errors", args=[batch.pk])
    assert report in page.content.decode()
    text = b"".join(admin_client.get(report)).decode()
    assert text.splitlines()[1].startswith("2,,channel,")
