"""What a process loads follows from its command."""

import subprocess
import sys

import pytest

from notifications.core import roles


@pytest.mark.parametrize(
    ("command", "shows_pages"),
    [
        ("/srv/.venv/bin/celery -A config worker --concurrency 2", False),
        ("celery -A config beat", False),
        ("/usr/lib/python3/site-packages/celery/__main__.py -A shop worker", False),
        ("celery -A config flower", True),
        ("manage.py runserver worker", True),
        ("granian --interface wsgi config.wsgi:application", True),
        ("", True),
    ],
)
def test_workers_and_schedulers_show_no_pages(command: str, shows_pages: bool) -> None:
    assert roles.shows_pages(command.split(" ")) is shows_pages


LOADED = """
import sys
sys.argv = ["celery", "-A", "config", "worker"]
import django
django.setup()
import notifications.startup, notifications.tasks
unused = {"notifications.admin.dashboard", "unfold", "pydantic", "markdown_it", "css_inline"}
print(*unused & sys.modules.keys())
from django.urls import reverse
print(reverse("admin:notifications_notification_changelist"))
"""


@pytest.mark.slow
def test_a_worker_loads_the_admin_only_for_its_addresses_and_nothing_to_publish_templates() -> None:
    run = [sys.executable, "-c", LOADED]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert printed == ["/admin/notifications/notification/"]
