"""Stored recipients: people and systems by the caller's own id, with their addresses."""

import re
from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from notifications.core import routing
from notifications.core.masking import without_addresses
from notifications.core.world import World
from notifications.models.project import project_column

KEY = r"^[A-Za-z0-9][A-Za-z0-9._:@+=-]*\Z"
KEY_HINT = "Use letters, digits and . _ : @ + = - after a letter or a digit, like customer-17."
LONGEST_KEY = 255
ADDRESSED = tuple(name for name in routing.CHANNELS if name != routing.CALLBACK_CHANNEL)
"""The channels on which a person can have an address."""


LONGEST_COUNTRY = 10  # characters, of a country with its region
RESERVED = "import"  # what the API has at the address of such a recipient


_is_key = re.compile(KEY).match


def is_key(text: str) -> bool:
    """Tell whether a stored recipient may have this id."""
    return len(text) <= LONGEST_KEY and text != RESERVED and _is_key(text) is not None


class Recipient(models.Model):
    """Somebody to whom a project writes, under the id that the project has for them.

    Every way in checks it by ``recipients.directory``.
    """

    project = project_column(editable=True)
    test = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Only tests reach them."
    )
    key = models.CharField(
        "id",
        max_length=LONGEST_KEY,
        validators=[RegexValidator(KEY, KEY_HINT)],
        help_text="Your own id for them, like customer-17.",
    )
    locale = models.CharField(
        max_length=35, blank=True, help_text="Like de or de-AT: the language of what they get."
    )
    timezone = models.CharField(
        max_length=64, blank=True, help_text="An IANA time zone, like Europe/Vienna."
    )
    country = models.CharField(
        max_length=LONGEST_COUNTRY,
        blank=True,
        help_text="The country whose public holidays they have, like AT or DE-BY.",
    )
    attributes = models.JSONField(
        default=dict, blank=True, help_text="Your own data about them: a JSON object up to 16 kB."
    )
    choices: "models.JSONField[dict[str, dict[str, bool]]]" = models.JSONField(
        default=dict,
        blank=True,
        editable=False,
        db_default={},
        help_text="What was chosen, by category and channel: recipients.preferences writes it.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "test", "key"], name="recipient_of_project")
        ]
        # What audiences look for. On Postgres the migration that adds them also adds indexes of
        # attributes and choices, by GIN, of which SQLite has no kind.
        indexes: ClassVar = [
            models.Index(fields=["project", "test", "locale"], name="recipient_locale"),
            models.Index(fields=["project", "test", "timezone"], name="recipient_timezone"),
            models.Index(fields=["project", "test", "country"], name="recipient_country"),
            models.Index(fields=["project", "test", "created_at"], name="recipient_created"),
        ]

    def __str__(self) -> str:
        return without_addresses(self.key)

    @property
    def world(self) -> World:
        """Whose it is, and whether it is of the tests."""
        return World(self.project, self.test)


class RecipientAddress(models.Model):
    """One address of a stored recipient: a mailbox, a number, a device."""

    recipient = models.ForeignKey(
        Recipient, models.CASCADE, related_name="addresses", db_index=False
    )
    channel = models.CharField(max_length=20, choices=[(c, c) for c in ADDRESSED])
    address = models.TextField(help_text="In the form in which the channel compares addresses.")
    verified = models.BooleanField(
        default=False,
        help_text="They have confirmed the address. Verified addresses are used first.",
    )
    place = models.PositiveSmallIntegerField(
        help_text="Its position among the channel's addresses, from 0."
    )

    class Meta:
        ordering: ClassVar = ["recipient", "channel", "place"]
        verbose_name_plural = "addresses"
        constraints: ClassVar = [
            # Its index also finds the addresses of a recipient.
            models.UniqueConstraint(
                fields=["recipient", "channel", "address"], name="address_of_recipient"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["channel", "address"], name="address_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.place + 1}"
