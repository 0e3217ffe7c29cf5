"""Whom a request for personal data means, and in which rows that person is found."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django_celery_beat.models import PeriodicTask
from django_celery_results.models import TaskResult

from notifications.audiences.filters import ATTRIBUTES
from notifications.core.errors import InvalidField
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.models import (
    ArchivedNotification,
    ChainRun,
    Event,
    EventRule,
    FailedDelivery,
    MailContent,
    Notification,
    PendingReceipt,
    Recipient,
    RecipientAddress,
    Suppression,
    ThrottleUse,
)
from notifications.recipients import spellings, suppressions
from scheduling.models import Schedule

SHORTEST = 3  # letters and digits of an address
FORGOTTEN = "forgotten"  # in place of a recipient, and in texts of a recipient's address
COPIES = ("cc", "bcc", "reply_to", "to", "shown_cc", "from_email")  # of a mail, naming people

OF_A_RULE = ("condition", "recipients", "to", "context", "match", "cancel_match")

# An id in JSON, or in Python's words for it: under the name of a recipient, and as a text.
_NAMED_AS_RECIPIENT = r"\brecipient\W{{1,8}}{}(?![\w.:@+=-])"
_QUOTED = r"""['"]{}\\?['"]"""
# Not a part of another address: a letter, digit, dot or plus beside it makes it one. A hyphen does
# not, for keys are made like welcome-ada@example.org-7. JSON writes a line's end as two characters.
_ALONE = r"(?:(?<![^\W_])(?<![.+])|(?<=\\[nrt]))(?:{})(?![^\W_]|\.\w|@)"
_PROJECT = re.compile(r"\bproject\W{1,8}([\w-]+)")


def _stored(given: str, project: str, forms: Iterable[str]) -> "QuerySet[Recipient]":
    """Return the stored recipients that are meant, of live and of tests."""
    if project:
        return Recipient.objects.filter(project=project, key=given)
    by_mail = Q(addresses__channel="email", addresses__address__iexact=given)
    whole = Q(addresses__address__in=forms) | (by_mail if "@" in given else Q())
    return Recipient.objects.filter(whole).distinct()


class Person:
    """A recipient in all the forms in which rows may have it."""

    def __init__(self, recipient: str, project: str) -> None:
        """Find who is meant. Raises ``InvalidField`` for what is part of most texts, or empty."""
        given = recipient.strip()
        if sum(char.isalnum() for char in given) < (1 if project else SHORTEST):
            raise InvalidField(
                "This is not a valid recipient.",
                field="recipient",
                hint="Give a whole address, or an id.",
            )
        self.forms = set() if project else spellings.of(given) | {given.lower()}
        self.stored = list(_stored(given, project, self.forms))
        self._ids = {(recipient.world, recipient.key) for recipient in self.stored}
        if project:  # also of one that is stored no more
            self._ids |= {(World(project, test), given) for test in (False, True)}
        for address in RecipientAddress.objects.filter(recipient__in=self.stored):
            self.forms |= spellings.of(address.address, address.channel)
        self._whole = _whole(self.forms)
        self._written = self.forms.union(
            *(
                spellings.kept(table, form, "email")
                for form in self.forms
                if "@" in form
                for table in (Notification, ArchivedNotification)
            )
        )

    def of(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        """Return the rows whose recipient it is."""
        condition = Q(recipient__in=self._written)
        for world, key in self._ids:
            condition |= Q(**world.columns, recipient_key=key)
        found: QuerySet[Any] = rows.filter(condition)
        return found

    def delete_stored(self) -> int:
        """Delete it where it is stored, and return how often it was."""
        ids = [recipient.pk for recipient in self.stored]
        return Recipient.objects.filter(pk__in=ids).delete()[1].get("notifications.Recipient", 0)

    def mails(self) -> "QuerySet[MailContent]":
        """Return what mails have beside subject and body, where it names it."""
        return self.saying(MailContent.objects.all(), "fields")

    def runs(self, ids: Iterable[Any]) -> "QuerySet[ChainRun]":
        """Return the runs of chains that these notifications are steps of, or that name it."""
        steps = Notification.objects.filter(pk__in=list(ids), chain_run__isnull=False)
        condition = Q(pk__in=list(steps.values_list("chain_run", flat=True)))
        for world, key in self._ids:
            condition |= Q(**world.columns, recipient_key=key)
        return ChainRun.objects.filter(condition)

    def counted(self) -> "QuerySet[ThrottleUse]":
        """Return what throttles have counted of it."""
        condition = Q(recipient__in=self._written)
        for world, key in self._ids:
            of_world = {f"throttle__{name}": value for name, value in world.columns.items()}
            condition |= Q(**of_world, recipient_key=key)
        return ThrottleUse.objects.filter(condition)

    def saying(self, rows: "QuerySet[Any]", *columns: str) -> "QuerySet[Any]":
        """Return the rows in whose text or JSON it stands."""
        texts = {f"as_text_{name}": Cast(name, TextField()) for name in columns}
        named = Q(pk__in=[])  # of no form: nothing
        for name in texts:
            for form in _written(self.forms):
                named |= Q(**{f"{name}__icontains": form})
        candidates = rows.annotate(**texts).filter(named).values_list("pk", *texts)
        keys = [key for key, *written in candidates if any(map(self.names, map(str, written)))]
        found: QuerySet[Any] = rows.filter(pk__in=keys)
        return found

    def suppressed(self) -> "QuerySet[Suppression]":
        """Return its suppressions, also the ones of which a hash was kept."""
        return Suppression.objects.filter(suppressions.whose(self.forms))

    def receipts(self, ids: Iterable[Any]) -> "QuerySet[PendingReceipt]":
        return PendingReceipt.objects.filter(
            Q(recipient__in=self.forms) | Q(notification_id__in=list(ids))
        )

    def failed(self, ids: Iterable[Any]) -> "QuerySet[FailedDelivery]":
        """Return the failed deliveries of notifications, and what was refused before one was."""
        refused = self.saying(FailedDelivery.objects.filter(notification=None), "request")
        own = Q(notification__in=list(ids)) | Q(pk__in=refused.values("pk"))
        return FailedDelivery.objects.filter(own)

    def schedules(self) -> "QuerySet[PeriodicTask]":
        """Return the schedules that write to it, by an address or by its id.

        Also by what code last registered.
        """
        by_code = self.told(Schedule.objects.all(), "definition").values("periodic_task")
        given = self.told(PeriodicTask.objects.all(), "kwargs", "args").values("pk")
        found: QuerySet[PeriodicTask] = PeriodicTask.objects.filter(
            Q(pk__in=given) | Q(pk__in=by_code)
        )
        return found

    def told(self, rows: "QuerySet[Any]", *columns: str) -> "QuerySet[Any]":
        """Return the rows in which it stands, or which name its id as a recipient's.

        Where a row has no project of its own, its columns name one, or mean the default.
        """
        return self._either(rows, columns, self._by_id(rows, columns, _NAMED_AS_RECIPIENT))

    def quoted(self, rows: "QuerySet[Any]", *columns: str) -> "QuerySet[Any]":
        """Return the rows in which it stands, or its id as a text of its own.

        A number is not looked for: it may be any.
        """
        return self._either(rows, columns, self._by_id(rows, columns, _QUOTED, numbers=False))

    def _either(
        self, rows: "QuerySet[Any]", columns: Sequence[str], keys: Sequence[Any]
    ) -> "QuerySet[Any]":
        said = self.saying(rows, *columns).values("pk")
        found: QuerySet[Any] = rows.filter(Q(pk__in=keys) | Q(pk__in=said))
        return found

    def events(self, ids: Iterable[Any]) -> "QuerySet[Event]":
        """Return the events that say its address, have its id as a key, or caused notifications."""
        condition = Q(effects__notification_id__in=list(ids))
        for world, key in self._ids:
            condition |= Q(**world.columns, key=key)
        caused = Q(pk__in=Event.objects.filter(condition).values("pk"))
        said = Q(pk__in=self.saying(Event.objects.all(), "data", "key").values("pk"))
        return Event.objects.filter(caused | said)

    def _by_id(
        self, rows: "QuerySet[Any]", columns: Sequence[str], form: str, *, numbers: bool = True
    ) -> list[Any]:
        """Return the keys of rows whose columns name its id in such a form."""
        texts = {f"as_text_{name}": Cast(name, TextField()) for name in columns}
        found = []
        for world, key in self._ids:
            if key.isdecimal() and not numbers:
                continue
            named = Q(pk__in=[])
            for name in texts:
                named |= Q(**{f"{name}__contains": key})
            wanted = re.compile(form.format(re.escape(key)))
            for row in rows.annotate(**texts).filter(named):
                text = " ".join(str(getattr(row, name)) for name in texts)
                if wanted.search(text) and _is_of(row, text, world):
                    found.append(row.pk)
        return found

    def rules(self) -> "QuerySet[EventRule]":
        """Return the rules of events that name it, by an address or by its id."""
        return self.quoted(EventRule.objects.all(), *OF_A_RULE)

    def jobs(self) -> "QuerySet[TaskResult]":
        """Return the results of tasks that were given it, or gave it back."""
        return self.told(TaskResult.objects.all(), "task_args", "task_kwargs", "result")

    def left_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a mail's fields without it among the copies, and as the sender."""
        kept = {}
        for name, value in fields.items():
            if name in COPIES and isinstance(value, list):
                kept[name] = [copy for copy in value if not self.names(str(copy))]
            elif not (name in COPIES and self.names(str(value))):
                kept[name] = value
        return kept

    def take_out(self, row: Any, columns: Iterable[str]) -> bool:
        """Write a row's columns with a mark in place of it; return whether it stood there."""
        before = {name: getattr(row, name) for name in columns}
        values = {name: self._without(value) for name, value in before.items()}
        if values == before:
            return False
        type(row)._base_manager.filter(pk=row.pk).update(**values)  # noqa: SLF001 -- Django's name
        return True

    def names(self, text: str) -> bool:
        """Return whether it stands in a text or JSON, and not as a part of another address."""
        return self._whole is not None and self._whole.search(text) is not None

    def _without(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._without(item) for item in value]
        if isinstance(value, dict) and {"field", "op"} <= value.keys():  # of an audience's filter
            if not str(value["field"]).startswith(ATTRIBUTES):
                return value
            return {**value, "value": self._without(value.get("value"))}
        if isinstance(value, dict):
            return {
                name: FORGOTTEN
                if name == "recipient" and self._is_id(part)
                else self._without(part)
                for name, part in value.items()
            }
        if isinstance(value, str) and (self.names(value) or self.tells_id(value)):
            return FORGOTTEN
        return value

    def _is_id(self, value: Any) -> bool:
        return isinstance(value, str | int) and any(str(value) == key for _, key in self._ids)

    def tells_id(self, text: str) -> bool:
        """Return whether a text is its id, or names it."""
        return any(
            (text == key and not key.isdecimal())
            or re.search(_NAMED_AS_RECIPIENT.format(re.escape(key)), text) is not None
            or (not key.isdecimal() and re.search(_QUOTED.format(re.escape(key)), text) is not None)
            for _, key in self._ids
        )


def _written(forms: Iterable[str]) -> set[str]:
    """Return addresses as texts have them, and as JSON in ASCII has them."""
    return {written for form in forms for written in (form, json.dumps(form)[1:-1])}


def _whole(forms: Iterable[str]) -> re.Pattern[str] | None:
    """Return the pattern of these addresses as they stand alone; None without any."""
    either = "|".join(re.escape(form) for form in sorted(_written(forms)))
    if not either:
        return None
    return re.compile(_ALONE.format(either), re.IGNORECASE)


def _is_of(row: Any, text: str, world: World) -> bool:
    """Return whether a row is of a world: its own, its batch's, or the project that it names."""
    owner = getattr(row, "batch", row)
    if hasattr(owner, "project"):
        return World(owner.project, owner.test) == world
    projects = set(_PROJECT.findall(text)) or {DEFAULT_PROJECT}
    return world.project in projects
