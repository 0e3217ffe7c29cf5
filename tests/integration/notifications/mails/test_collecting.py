"""What mails have goes with their last row, and may live outside the database."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.db import connection, transaction
from django.db.models import F
from moto.server import ThreadedMotoServer
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
from tests.pages import examples

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


class Folder:
    """A storage of Django's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage = {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(path)},
        }

    def files(self) -> list[bytes]:
        return [path.read_bytes() for path in self.path.rglob("*") if path.is_file()]


class Bucket:
    """A storage that speaks S3's protocol to a server, set up as docs/email.md has it."""

    KEYS = {"aws_access_key_id": "id", "aws_secret_access_key": "secret"}

    def __init__(self, url: str) -> None:
        page: dict[str, Any] = {}
        exec(examples("email.md", "storage")[0], page)
        self.storage = page["STORAGES"]["attachments"]
        options = self.storage["OPTIONS"]
        options["endpoint_url"] = url
        self._name, region = options["bucket_name"], options["region_name"]
        self._client = boto3.client("s3", region_name=region, endpoint_url=url, **self.KEYS)
        place = {"LocationConstraint": region}
        self._client.create_bucket(Bucket=self._name, CreateBucketConfiguration=place)

    def files(self) -> list[bytes]:
        found = self._client.list_objects_v2(Bucket=self._name).get("Contents", [])
        get = partial(self._client.get_object, Bucket=self._name)
        return [get(Key=file["Key"])["Body"].read() for file in found]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in Bucket.KEYS.items():
        monkeypatch.setenv(name.upper(), value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    yield Bucket(f"http://127.0.0.1:{port}")
    server.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_attachments_move_to_a_storage_and_are_sent_from_there(
    kind: str,
    request: pytest.FixtureRequest,
    mail: Callable[..., Any],
    set_: Callable[..., None],
    settings: Settings,
) -> None:
    place = request.getfixturevalue(kind)
    settings.STORAGES = {**settings.STORAGES, "attachments": place.storage}
    set_("ATTACHMENT_STORAGE", "attachments")
    send(channel="email", recipient="b@example.org", body="B", attachments=[FILE])
    collecting.tick()
    assert place.files() == [FILE["content"]]
    assert Attachment.objects.get().content is None
    got = mail(attachments=[FILE])
    assert [p.get_payload(decode=True) for p in got.message.iter_attachments()] == [FILE["content"]]
    Notification.objects.all().delete()
    collecting.tick()
    assert place.files() == []


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
