"""Storing what mails have, each content once, in the transaction of the notifications."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection, models

from notifications.channels.mail import File, KeptMail, Mail
from notifications.core.errors import InvalidField
from notifications.db.bulk_insert import Table
from notifications.models import Attachment, MailContent

# The database gives the ids and the times.
_FILES = Table(Attachment, "id", "created_at")
_MAILS = Table(MailContent, "id", "created_at")
_LINKS = Table(MailContent.attachments.through, "id")


def keep(mails: Iterable[Mail | KeptMail]) -> dict[str, int]:
    """Store what is not stored yet, and return ids of ``MailContent`` by the mails' digests.

    Runs in the transaction of the notifications that refer to it. What is found is locked against
    being deleted until that ends; those who share a content do not wait for each other. Raises
    ``InvalidField`` for a kept mail that was deleted meanwhile.
    """
    wanted = {mail.digest: mail for mail in mails}
    found = dict(_locked(MailContent, "digest", sorted(wanted)))
    missing = [wanted[digest] for digest in sorted(wanted) if digest not in found]
    if any(isinstance(mail, KeptMail) for mail in missing):
        raise InvalidField("What the mail had was deleted.", field="attachments")
    return {**found, **_insert_mails([mail for mail in missing if isinstance(mail, Mail)])}


def _insert_mails(mails: Sequence[Mail]) -> dict[str, int]:
    if not mails:
        return {}
    files = {file.digest: file for mail in mails for file in mail.files()}
    attachments = _attachments(files)
    made = _MAILS.insert_numbered(
        [{**_MAILS.defaults, "digest": mail.digest, "fields": mail.kept} for mail in mails],
        by="digest",
    )
    _LINKS.insert(
        [
            {"mailcontent_id": made[mail.digest], "attachment_id": attachments[digest]}
            for mail in mails
            for digest in {file.digest for file in mail.files()}
        ]
    )
    return made


def _attachments(files: dict[str, File]) -> dict[str, int]:
    """Return the ids of these files' contents by digest, storing those that are new."""
    if not files:
        return {}
    found = dict(_locked(Attachment, "digest", sorted(files)))
    missing = [file for digest, file in sorted(files.items()) if digest not in found]
    rows = [
        {**_FILES.defaults, "digest": f.digest, "size": len(f.content), "content": f.content}
        for f in missing
    ]
    return {**found, **_FILES.insert_numbered(rows, by="digest")}


def _locked(model: type[models.Model], column: str, values: Sequence[Any]) -> list[tuple[Any, int]]:
    """Find rows and keep them from being deleted; the oldest of each value wins.

    KEY SHARE holds off a deletion, and nobody else (SQLite has the one write lock instead).
    """
    lock = " FOR KEY SHARE" if connection.vendor == "postgresql" else ""
    marks = ", ".join(["%s"] * len(values))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {column}, id FROM {model._meta.db_table}"  # noqa: S608 -- names of our own models
            f" WHERE {column} IN ({marks}) ORDER BY id DESC{lock}",
            values,
        )
        return [(value, id_) for value, id_ in cursor.fetchall()]
