"""Django's mail as notifications: ``EMAIL_BACKEND = "notifications.email_backend.EmailBackend"``.

Each recipient of a message, in To, Cc or Bcc, is a notification of its own, in the caller's
transaction. ``docs/email.md`` says which headers steer it.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import structlog
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import Error as DatabaseError
from django.db import transaction

from notifications.core.errors import InvalidNotification
from notifications.delivery import failed_deliveries
from notifications.gateways import django_messages
from notifications.submission import acceptance
from notifications.submission.building import Answer, Asked

log = structlog.get_logger(__name__)

Rows = list[Mapping[str, Any]]


class EmailBackend(BaseEmailBackend):
    """Accepts messages, all of a call or none.

    A recipient that is refused while others of its message are accepted becomes a failed
    delivery. Raises what refuses a whole message (``InvalidNotification``, a ``ValueError``), and
    ``django.db.Error``; with ``fail_silently`` that message counts as not sent, and is logged.
    """

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Accept messages and return how many were accepted for all of their recipients."""
        messages = [rows for email_message in email_messages if (rows := self._rows(email_message))]
        if not messages:
            return 0
        try:
            with transaction.atomic():
                return self._accepted(messages)
        except DatabaseError as error:
            if not self.fail_silently:
                raise
            log.warning("mail_not_accepted", error=type(error).__name__, messages=len(messages))
            return 0

    def _rows(self, message: EmailMessage) -> Rows:
        try:
            return django_messages.requests_of(message)
        except InvalidNotification as error:
            self._refused(error)
            return []

    def _accepted(self, messages: list[Rows]) -> int:
        answers = iter(_accept([row for rows in messages for row in rows]))
        accepted = 0
        for rows in messages:
            errors = [(row, error) for row in rows if (error := next(answers).error) is not None]
            if len(errors) == len(rows):
                self._refused(errors[0][1])
                continue
            accepted += not errors
            for row, error in errors:
                named = {name: row[name] for name in ("channel", "recipient", "subject")}
                failed_deliveries.keep_refused(str(uuid4()), named, error)
        return accepted

    def _refused(self, error: InvalidNotification) -> None:
        if not self.fail_silently:
            raise error
        log.warning("mail_refused", error=type(error).__name__, field=error.field)


def _accept(rows: Rows) -> list[Answer]:
    """Accept rows; one alone is published by its id, as every single send is."""
    if len(rows) > 1:
        return acceptance.accept_many([Asked(row) for row in rows])
    try:
        return [acceptance.accept_one(Asked(rows[0]))]
    except InvalidNotification as error:
        return [Answer(error=error)]
