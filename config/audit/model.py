"""The table of the audit log. Its rows are only ever added: triggers refuse the rest."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class AuditEntry(models.Model):
    """Who did what to which row, and what it was like before and after, without contents."""

    class Kind(models.TextChoices):
        PERSON = "person"  # by the admin
        KEY = "key"  # by the API
        COMMAND = "command"  # by manage.py, on the machine

    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=7, choices=Kind.choices)
    who = models.CharField(
        max_length=150, blank=True, help_text="The user, the key's name, or the machine's user."
    )
    who_id = models.CharField(max_length=64, blank=True)  # the user's key, or the API key's prefix
    act = models.CharField(max_length=100, help_text="Like hold.release, or cancel_batch.")
    object_type = models.CharField(max_length=100, blank=True)  # like notifications.hold
    object_id = models.CharField(max_length=64, blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    detail = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        app_label = "config"
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [
            ("forget_recipient", "Can export and forget all about a recipient")
        ]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="audit_at"),
            models.Index(fields=["who", "id"], name="audit_who"),
            models.Index(fields=["act", "id"], name="audit_act"),
            models.Index(fields=["object_type", "object_id", "id"], name="audit_object"),
        ]

    def __str__(self) -> str:
        return f"{self.act} by {self.who or self.kind}"
