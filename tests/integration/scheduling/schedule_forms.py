"""The schedule's form in the admin, as tests send it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import (
    IntervalSchedule,
    PeriodicTask,
)

from tests.integration.scheduling.test_admin import ADD, form

Make = Callable[..., PeriodicTask]
LIST = reverse("admin:django_celery_beat_periodictask_changelist")
OUTLOOK = reverse("admin:django_celery_beat_periodictask_outlook")


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.SCHEDULING_ALLOWED_TASKS = ["jobs.*"]


def typed(**values: str) -> dict[str, str]:
    """What the form sends when the rule is typed rather than chosen."""
    return {**form(IntervalSchedule()), "interval": "", **values}


def made(client: Client, **values: str) -> PeriodicTask:
    answer = client.post(ADD, typed(**values))
    assert answer.status_code == 302, errors_of(answer)
    return PeriodicTask.objects.get(name="by hand")


def errors_of(answer: Any) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = answer.context["adminform"].form.errors
    return errors


def change_url(task: PeriodicTask) -> str:
    return reverse("admin:django_celery_beat_periodictask_change", args=(task.pk,))
