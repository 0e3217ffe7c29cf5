"""Deleting what no notification refers to any more, and moving files out of the database.

Both go on in every scheduler, a little at a time.
"""

from collections.abc import Collection, Iterable
from functools import partial

from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from notifications.core.conf import conf
from notifications.models import ArchivedNotification, Attachment, MailContent, Notification
from scheduling import isolation
from scheduling.transactions import after_commit

BATCH = 1000  # rows of one look
BUSY, IDLE = 1.0, 60.0  # seconds between rounds
MOVED = 20  # files that one round moves

_places = {"mails": 0, "attachments": 0}  # up to which id they were looked at last


def tick() -> float:
    """Look at some, and return the seconds until the next round is wanted."""
    moved = 0
    with isolation.aside("moving attachments"):
        moved = move_out()
    with isolation.aside("collecting mails"):
        walk()
    return BUSY if moved == MOVED else IDLE


def release(ids: Collection[int]) -> int:
    """Delete those of these mails that nobody refers to, with their files; return how many.

    For whoever has deleted notifications, in the same transaction or after it.
    """
    with transaction.atomic():
        free = _locked(MailContent.objects.filter(pk__in=ids))
        # A statement of its own: it sees who referred to them before they were locked.
        orphans = list(
            MailContent.objects.filter(pk__in=free)
            .exclude(Exists(Notification.objects.filter(mail_id=OuterRef("pk"))))
            .exclude(Exists(ArchivedNotification.objects.filter(mail_id=OuterRef("pk"))))
            .values_list("pk", flat=True)
        )
        if not orphans:
            return 0
        through = MailContent.attachments.through
        links = through.objects.filter(mailcontent_id__in=orphans)
        files = set(links.values_list("attachment_id", flat=True))
        links.delete()
        MailContent.objects.filter(pk__in=orphans).delete()
        _release_files(files)
    return len(orphans)


def walk() -> int:
    """Look at the next mails and files, whoever deleted what referred to them; return how many."""
    mails = _next("mails", MailContent.objects.all())
    files = _next("attachments", Attachment.objects.all())
    gone = release(mails) if mails else 0
    if files:
        with transaction.atomic():
            gone += _release_files(files)
    return gone


def move_out() -> int:
    """Move some files from the database into NOTIFICATIONS_ATTACHMENT_STORAGE, if one is named.

    The storage has the file before the row names it: a process that dies leaves at most a file
    which the next one writes again.
    """
    alias = conf.attachment_storage
    if not alias:
        return 0
    ids = Attachment.objects.filter(content__isnull=False).order_by("id")
    moved = 0
    for id_ in list(ids.values_list("pk", flat=True)[:MOVED]):
        content = Attachment.objects.filter(pk=id_).values_list("content", flat=True).first()
        if content is None:
            continue
        name = storages[alias].save(_name(id_), ContentFile(bytes(content)))
        with transaction.atomic():
            taken = Attachment.objects.filter(pk=id_, content__isnull=False)
            if taken.update(content=None, stored_as=name):
                moved += 1
                continue
        storages[alias].delete(name)  # another scheduler was quicker, or it was deleted
    return moved


def _name(id_: int) -> str:
    return f"attachments/{id_ % 1000:03d}/{id_}"


def _next(kind: str, rows: "QuerySet[MailContent] | QuerySet[Attachment]") -> list[int]:
    """Return the ids of the next batch; after the last one it begins anew."""
    after = rows.filter(pk__gt=_places[kind]).order_by("pk")
    ids = list(after.values_list("pk", flat=True)[:BATCH])
    _places[kind] = ids[-1] if len(ids) == BATCH else 0
    return ids


def _release_files(ids: Iterable[int]) -> int:
    """Delete those of these files that no mail has."""
    free = _locked(Attachment.objects.filter(pk__in=ids))
    rows = Attachment.objects.filter(pk__in=free, mails__isnull=True)
    gone = list(rows.values_list("pk", "stored_as"))
    names = [name for _, name in gone if name]
    Attachment.objects.filter(pk__in=[id_ for id_, _ in gone]).delete()
    if names:
        after_commit(partial(_delete_stored, names))
    return len(gone)


def _delete_stored(names: list[str]) -> None:
    storage = storages[conf.attachment_storage]
    for name in names:
        storage.delete(name)


def _locked(rows: "QuerySet[MailContent] | QuerySet[Attachment]") -> list[int]:
    """Lock rows that no submission has found just now, and return their ids."""
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    return list(rows.order_by("pk").values_list("pk", flat=True))
