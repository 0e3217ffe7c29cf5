"""A mail that asks for it tells that it was opened."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from notifications.delivery import claims, pipeline
from notifications.models import Notification, Status
from notifications.submission import send

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_mail_that_asks_for_it_tells_that_it_was_opened(
    client: Client, settings: Settings
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
    with_picture, without = (str(parts.content["html"]) for parts in content)
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
