"""Texts that came in and were acted upon, so that one which is posted again does nothing again."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

LONGEST_REPLY_ID = 100


class TakenReply(models.Model):
    """A text that somebody sent to one of our numbers, by the provider's id. It has no content."""

    account = models.CharField(max_length=50)
    reply_id = models.CharField(max_length=LONGEST_REPLY_ID)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "reply_id"], name="reply_taken_once")
        ]
        indexes: ClassVar = [models.Index(fields=["received_at"], name="taken_reply_age")]
        verbose_name_plural = "taken replies"

    def __str__(self) -> str:
        return f"{self.account}: {self.reply_id}"
