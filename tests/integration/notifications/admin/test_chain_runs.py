"""Runs of chains in the admin: what each has come to, and a way from and to its notifications."""

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from pytest_django import Settings

from notifications.chains import send_chain
from notifications.models import Notification
from notifications.submission import save_recipient
from tests.integration.notifications.admin.test_roles import as_role

__all__ = ["as_role"]

TEXT = {"channel": "simulator", "body": "B"}


@pytest.mark.django_db(transaction=True)
def test_a_run_says_which_step_reached_and_why_the_others_were_not_sent(
    as_role: Any, deliver: Callable[..., Any], settings: Settings
) -> None:
    settings.OUTBOX = True
    save_recipient("customer-17", addresses={"simulator": "ada"})
    to = {"recipient": "customer-17"}
    steps = [
        {"channel": "sms", "body": "B", "wait": 60},
        {**TEXT, "wait": 60},
        {**TEXT, "recipient": "manager", "wait": 60},
        {**TEXT, "recipient": "boss"},
    ]
    reached = send_chain({"steps": steps, "stop_on": "sent"}, to=to)
    deliver(Notification.objects.get(chain_run=reached.id, chain_step=2))
    waiting = send_chain({"steps": steps, "stop_on": "read"}, to=to)
    refused = {**TEXT, "recipient": "ada?result=permanent"}
    failed = send_chain({"steps": [refused], "stop_on": "sent"})
    deliver(Notification.objects.get(chain_run=failed.id))

    client, pages = as_role("viewer"), reverse("admin:notifications_chainrun_changelist")
    shown = client.get(pages).content.decode()
    assert "2 (simulator)" in shown
    for state, run in (("reached", reached), ("running", waiting), ("unreached", failed)):
        found = client.get(f"{pages}?state={state}").context["cl"].result_list
        assert [row.pk for row in found] == [run.id]
    assert len(client.get(f"{pages}?q=customer-17").context["cl"].result_list) == 2
    second = Notification.objects.get(chain_run=reached.id, chain_step=2)
    for term in (reached.id, second.pk):
        found = client.get(f"{pages}?q={term}").context["cl"].result_list
        assert [row.pk for row in found] == [reached.id]

    page = reverse("admin:notifications_chainrun_change", args=[reached.id])
    told = client.get(page).content.decode()
    assert "1. sms: left out: the recipient has no address of this channel" in told
    assert "2. simulator: sent " in told
    assert "3. simulator: cancelled, another step has reached" in told
    for row in Notification.objects.filter(chain_run=reached.id):
        where = reverse("admin:notifications_notification_change", args=[row.pk])
        assert where in told
        assert page in client.get(where).content.decode()


def test_only_those_who_see_notifications_see_runs(browser_of: Callable[..., Any]) -> None:
    page = reverse("admin:notifications_chainrun_changelist")
    assert browser_of("view_chain").get(page).status_code == 403
