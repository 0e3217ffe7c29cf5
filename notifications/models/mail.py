"""What mails have beside subject and body: stored once, whichever notifications share it."""

from typing import Any

from django.db import models
from django.db.models.functions import Now


class Attachment(models.Model):
    """A file's content, found by its SHA-256.

    ``content`` is null once the file is in the storage of NOTIFICATIONS_ATTACHMENT_STORAGE, where
    ``stored_as`` names it. Two that come at the same moment may be stored twice: uniqueness only
    saves room here, and no submission waits for another one because of it.
    """

    digest = models.CharField(max_length=64)
    size = models.PositiveIntegerField(help_text="In bytes.")
    content = models.BinaryField(null=True, blank=True)
    stored_as = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["digest"], name="attachment_digest"),
            models.Index(
                fields=["id"],
                name="attachment_in_database",
                condition=models.Q(content__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"attachment of {self.size} bytes"


class MailContent(models.Model):
    """The fields that one or more mails share: ``channels.mail.Mail`` in its stored form."""

    digest = models.CharField(max_length=64)
    fields: "models.JSONField[dict[str, Any]]" = models.JSONField()
    attachments = models.ManyToManyField(Attachment, related_name="mails", blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["digest"], name="mail_content_digest")]

    def __str__(self) -> str:
        return f"mail content {self.pk}"
