"""What mails have goes with their last row, and may live outside the database."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from pytest_django import Settings

from notifications.mails import collecting, reading
from notifications.maintenance import archive, retention
from notifications.models import (
    ArchivedNotification,
    Attachment,
    MailContent,
    Notification,
    ProviderAccount,
)
from notifications.submission import send

FILE: Any = {"filename": "a.pdf", "content": b"%PDF" * 1000}


@pytest.fixture(autouse=True)
def _from_the_beginning() -> None:
    collecting._places.update(mails=0, attachments=0)
    reading._files.clear()


def old(**fields: Any) -> Notification:
    row = send(**{"channel": "email", "recipient": "a@example.org", "body": "B", **fields})
    aged = {"finished_at": F("created_at") - timedelta(days=40), "due_at": None, "status": "sent"}
    Notification.objects.filter(pk=row.pk).update(**aged)
    return row


def tick_and_close() -> None:
    collecting.tick()
    connection.close()


def left() -> Any:
    return MailContent.objects.count(), Attachment.objects.count()


def test_the_last_row_that_leaves_takes_the_content_along(account: ProviderAccount) -> None:
    old(attachments=[FILE])
    young = send(channel="email", recipient="b@example.org", body="B", attachments=[FILE])
    retention.prune()
    assert left() == (1, 1)
    ended = {"due_at": None, "status": "sent", "finished_at": F("created_at")}
    Notification.objects.filter(pk=young.pk).update(**ended)
    retention.prune(days=-1)
    assert left() == (0, 0)


def test_a_row_in_the_archive_keeps_its_content_until_its_month_goes(
    account: ProviderAccount, set_: Callable[..., None]
) -> None:
    set_("ARCHIVE_MONTHS", 2)
    old(attachments=[FILE])
    retention.prune()
    kept = ArchivedNotification.objects.get().mail
    assert kept is not None
    assert (left(), kept.fields["attachments"][0]["size"]) == (
        (1, 1),
        4000,
    )
    archive.drop(keep_months=0)
    collecting.tick()
    assert left() == (0, 0)


def test_whoever_deletes_a_row_the_collector_finds_its_content(account: ProviderAccount) -> None:
    send(channel="email", recipient="a@example.org", body="B", attachments=[FILE])
    collecting.tick()
    assert left() == (1, 1)
    Notification.objects.all().delete()
    collecting.tick()
    assert left() == (0, 0)


def test_what_a_submission_has_just_found_is_not_deleted(account: ProviderAccount) -> None:
    send(channel="email", recipient="a@example.org", body="B", attachments=[FILE])
    Notification.objects.all().delete()
    with transaction.atomic():
        send(channel="email", recipient="b@example.org", body="B", attachments=[FILE])
        other = threading.Thread(target=tick_and_close)
        other.start()
        other.join()
        assert left() == (1, 1)
    collecting.tick()
    assert left() == (1, 1)
    mail = Notification.objects.get().mail
    assert mail is not None
    assert mail.attachments.count() == 1


def test_attachments_move_to_a_storage_and_are_sent_from_there(
    mail: Callable[..., Any], set_: Callable[..., None], settings: Settings, tmp_path: Path
) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "files": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path)},
        },
    }
    set_("ATTACHMENT_STORAGE", "files")
    send(channel="email", recipient="b@example.org", body="B", attachments=[FILE])
    collecting.tick()
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in stored] == [FILE["content"]]
    assert Attachment.objects.get().content is None
    got = mail(attachments=[FILE])
    assert [p.get_payload(decode=True) for p in got.message.iter_attachments()] == [FILE["content"]]
    Notification.objects.all().delete()
    collecting.tick()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_that_cannot_be_read_now_is_tried_again(
    account: ProviderAccount, deliver: Callable[..., Any], set_: Callable[..., None]
) -> None:
    row = send(channel="email", recipient="b@example.org", body="B", attachments=[FILE])
    Attachment.objects.update(content=None, stored_as="gone")
    set_("ATTACHMENT_STORAGE", "default")
    [recorded] = deliver(row)
    assert (recorded.status, recorded.code) == ("scheduled", "attachment")


def test_contents_are_dropped_with_the_others_where_they_must_not_be_kept(
    mail: Callable[..., Any], set_: Callable[..., None]
) -> None:
    set_("FORGET_CONTENT", True)
    mail(attachments=[FILE])
    collecting.tick()
    assert left() == (0, 0)
