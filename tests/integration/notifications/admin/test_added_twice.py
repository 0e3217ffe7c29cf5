"""Two people who add the same at once: who comes second is told so beside the field."""

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connections, transaction
from django.db.models import UniqueConstraint
from django.test import Client

from templates_engine import catalog
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.admin.test_schedules import filled
from tests.locks import a_lock_is_awaited
from tests.servers.process import wait_until

PROJECT = {"project": "default"}
RULE = {
    **PROJECT,
    "name": "r",
    "enabled": "on",
    "event": "a.b",
    "channel": "simulator",
    "template": "hello",
    "recipients": "data.to",
    "context": "{}",
    "delay": "0",
    "priority": "medium",
}
STEPS = '[{"channel": "simulator", "recipient": "ada", "body": "B"}]'
WINDOW = {**PROJECT, "begins": "08:00", "ends": "20:00", "days": ["mon"], "spread": "10"}
RULES = {"rules-TOTAL_FORMS": "0", "rules-INITIAL_FORMS": "0"}
OPERATOR = {"reason": "operator", "detail": ""}
PASSWORDS = {"password1": "a-long-secret", "password2": "a-long-secret"}
ADDED: dict[str, tuple[dict[str, Any], str]] = {
    "auth.Group": ({"name": "g"}, "name"),
    "auth.User": ({"username": "eve", "usable_password": "true", **PASSWORDS}, "username"),
    "django_celery_beat.PeriodicTask": (
        filled(channel="email", subject="S", body="B", urgency="low"),
        "name",
    ),
    "django_celery_beat.SolarSchedule": (
        {"event": "sunset", "latitude": "1", "longitude": "1"},
        "longitude",
    ),
    "notifications.Audience": ({**PROJECT, "name": "a", "filter": '{"everyone": true}'}, "name"),
    "notifications.Category": ({**PROJECT, "name": "report", "channel_defaults": "{}"}, "name"),
    "notifications.Chain": ({**PROJECT, "name": "c", "steps": STEPS, "stop_on": "sent"}, "name"),
    "notifications.DeliveryWindow": (
        {**WINDOW, "category": "billing", "if_late": "drop"},
        "category",
    ),
    "notifications.EventRule": (RULE, "name"),
    "notifications.Project": ({"name": "shop"}, "name"),
    "notifications.ProviderAccount": (
        {"name": "a", "channel": "simulator", "weight": "1", "enabled": "on", **RULES},
        "name",
    ),
    "notifications.QueueWeight": ({"queue": "email.low", "weight": "3"}, "queue"),
    "notifications.RateLimit": (
        {"scope": "recipient", "channel": "email", "rate": "5/m"},
        "template",
    ),
    "notifications.Recipient": ({**PROJECT, "key": "customer-17", "attributes": "{}"}, "key"),
    "notifications.Suppression": (
        {"channel": "email", "recipient": "ada@example.org", "scope": "marketing", **OPERATOR},
        "recipient",
    ),
    "notifications.Throttle": (
        {**PROJECT, "category": "product", "limit": "3", "period": "1h", "rest": "drop"},
        "category",
    ),
    "templates_engine.Partial": ({"name": "foot", "source": "x"}, "name"),
    "templates_engine.Template": (
        {"name": "news", "channel": "email", "category": "transactional"},
        "name",
    ),
}
ONE_OF_BOTH = {"notifications.Hold"}
"""Of these the form takes the row that is there."""


def test_each_form_that_adds_what_there_is_once_is_known(boss: Client) -> None:
    request = boss.get("/admin/").wsgi_request
    once = {
        model._meta.label
        for model, page in admin.site._registry.items()
        if page.has_add_permission(request) and _is_there_once(model._meta)
    }
    assert once - {"notifications.ApiKey"} == ADDED.keys() | ONE_OF_BOTH  # a key is drawn at random


def _is_there_once(meta: Any) -> bool:
    unique = [field for field in meta.fields if field.unique and not field.primary_key]
    constraints = [
        constraint for constraint in meta.constraints if isinstance(constraint, UniqueConstraint)
    ]
    return bool(unique or constraints or meta.unique_together)


@pytest.mark.parametrize("name", ADDED)
def test_who_comes_second_sees_it_beside_the_field(boss: Client, name: str) -> None:
    catalog.clear()
    made = Template.objects.create(name="hello", channel="simulator")
    publish(create_version(made, {"body": "B"}))
    model = apps.get_model(name)
    form, field = ADDED[name]
    page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/add/"
    page += "?kind=simulator&channel=simulator" if name.endswith("ProviderAccount") else ""
    answers: list[Any] = []
    with transaction.atomic():
        first = boss.post(page, form)
        assert first.status_code == 302, first.context["adminform"].form.errors
        second = Thread(target=_closing, args=(lambda: answers.append(boss.post(page, form)),))
        second.start()
        wait_until(lambda: a_lock_is_awaited() or not second.is_alive())
    second.join()
    assert answers[0].status_code == 200
    assert field in answers[0].context["adminform"].form.errors


def _closing(work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        connections.close_all()
