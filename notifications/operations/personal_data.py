"""What is kept of a recipient: to be handed out, and to be forgotten.

Found by the recipient's address in each form that a channel keeps, mail addresses without regard to
case; and where the address stands in copies (``cc``, ``bcc``), in reports of refused rows, in
events, in what jobs were given and gave, and in what people wrote down. A stored recipient is found
by its id or by any of its addresses, and with it what was sent to it or to its other addresses.
What messages to others say of a person is not found.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django_celery_beat.models import PeriodicTask
from django_celery_results.models import GroupResult, TaskResult

from notifications.core import routing
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.delivery import failed_deliveries
from notifications.mails import collecting
from notifications.models import (
    UNFINISHED,
    WAITING,
    ArchivedNotification,
    Attempt,
    Batch,
    ChainRun,
    Consent,
    Digest,
    Event,
    EventEffect,
    FailedDelivery,
    Hold,
    MailContent,
    Notification,
    OutboxMessage,
    PendingReceipt,
    Recipient,
    RecipientAddress,
    RefusedRow,
    Status,
    Suppression,
    ThrottleUse,
)
from notifications.recipients import spellings, suppressions
from notifications.submission import cancel, insert
from scheduling.models import Fire, Schedule

FORGOTTEN = "forgotten"  # in place of a recipient, and in texts of a recipient's address
BATCH = 500  # rows per transaction
COPIES = ("cc", "bcc", "reply_to", "to", "shown_cc")  # fields of a mail that name people
# A request's fields that say nothing of a person; every other one is forgotten.
_IMPERSONAL = {
    *("project", "channel", "priority", "guarantee", "locale", "retry", "test", "callback_url"),
    *("category", "scheduled_at", "expires_at"),
}
NOTHING: dict[str, Any] = {
    **{name: insert.DEFAULTS[name] for name in insert.COLUMNS if name not in _IMPERSONAL},
    "recipient": FORGOTTEN,
    "content_hash": "",
    "options": None,
    "mail": None,
}

Rows = dict[str, list[dict[str, Any]]]

_OF_A_RUN = ("error", "history", "note", "resolution")
_OF_THE_LOG = ("object_repr", "change_message")

others: dict[str, Callable[[list[str]], list[dict[str, Any]]]] = {}
"""What other packages keep of notifications, by its name: called with their ids."""


def export(recipient: str, *, project: str = "") -> Rows:
    """Return all that is kept of a recipient, by kind, as JSON has it.

    With a ``project`` the recipient is the id of one that is stored there, else an address.
    """
    whom = _Whom(recipient, project)
    live = list(whom.of(Notification.objects.all()))
    archived = list(whom.of(ArchivedNotification.objects.all()))
    naming = [mail.pk for mail in whom.mails()]
    copied = list(Notification.objects.filter(mail__in=naming).exclude(pk__in=[r.pk for r in live]))
    own = {row.mail_id for row in (*live, *archived) if row.mail_id is not None}
    ids = [row.pk for row in live]
    kept: Rows = {
        "notifications": _plain(live),
        "attempts": _plain(Attempt.objects.filter(notification__in=ids)),
        "failed_deliveries": _plain(whom.failed(ids)),
        "outbox": _plain(OutboxMessage.objects.filter(notification__in=ids)),
        "mail_contents": _plain(MailContent.objects.filter(pk__in=[*own, *naming])),
        "copies": _plain(copied),
        "callbacks": _plain(_callbacks([row.pk for row in (*live, *archived)])),
        "archived_notifications": _plain(archived),
        "recipients": _plain(whom.stored),
        "recipient_addresses": _plain(RecipientAddress.objects.filter(recipient__in=whom.stored)),
        "consents": _plain(Consent.objects.filter(recipient__in=whom.stored)),
        "suppressions": _plain(whom.suppressed()),
        "pending_receipts": _plain(whom.receipts(ids)),
        "refused_rows": _plain(whom.saying(RefusedRow.objects.all(), "detail")),
        "chain_runs": _plain(whom.runs(ids)),
        "throttle_uses": _plain(whom.counted()),
        "digests": _plain(whom.of(Digest.objects.all())),
        "events": _plain(whom.saying(Event.objects.all(), "data", "key")),
        "job_results": _plain(whom.jobs()),
        "job_runs": _plain(whom.saying(Fire.objects.all(), *_OF_A_RUN, "call")),
        "schedules": _plain(whom.schedules()),
        "holds": _plain(whom.saying(Hold.objects.all(), "reason")),
        "batches": _plain(whom.saying(Batch.objects.all(), "errors", "name")),
        "admin_log": _plain(_admin_log(whom)),
    }
    known = [str(row.pk) for row in (*live, *archived, *copied)]
    return kept | {name: read(known) for name, read in others.items()}


def forget(
    recipient: str, *, project: str = "", by: AbstractBaseUser | None = None
) -> dict[str, int]:
    """Forget a recipient, and return how much of each kind was forgotten.

    With a ``project`` the recipient is the id of one that is stored there, else an address.

    What waits is cancelled first. The rows stay, without address and content, so that counts and
    histories hold; suppressions stay as a hash, and still hold. ``in_hand`` counts what a worker
    is sending, and calls of tasks that have yet to run: forget once more after it. ``schedules``
    counts those that go on writing to the recipient: what they do is for a person to change.
    """
    whom, done = _Whom(recipient, project), Counter[str]()
    for ids in _in_batches(whom.of(Notification.objects.filter(status__in=WAITING))):
        done["cancelled"] += sum(cancel(id_).cancelled for id_ in ids)
    _suppressions(whom, done)
    for ids in _in_batches(whom.of(Notification.objects.exclude(status__in=UNFINISHED))):
        with transaction.atomic():
            _live(whom, _without_callbacks(whom, ids, done, by), done, by)
    _copies(whom, done)
    _archived(whom, done)
    done["pending_receipts"] += whom.receipts([]).delete()[0]
    done["failed_deliveries"] += sum(_failed(row, by) for row in whom.failed([]))
    done["chain_runs"] += _run_forgotten(whom.runs([]))
    done["throttle_uses"] += whom.counted().delete()[0]
    done["digests"] += whom.of(Digest.objects.all()).delete()[0]
    _texts(whom, done)
    done["recipients"] += whom.delete_stored()
    done["in_hand"] += whom.of(Notification.objects.filter(status__in=UNFINISHED)).count()
    done["in_hand"] += whom.saying(Fire.objects.filter(finished_at=None), "call").count()
    done["schedules"] = whom.schedules().count()
    return {name: count for name, count in done.items() if count}


def _texts(whom: "_Whom", done: Counter[str]) -> None:
    """Take it out of what stands in no row of a notification's."""
    for event in whom.saying(Event.objects.all(), "key"):
        Event.objects.filter(pk=event.pk).update(key=f"{FORGOTTEN}-{event.pk}")
    for rows, columns in (
        (RefusedRow.objects.all(), ("detail",)),
        (Event.objects.all(), ("data",)),
        (EventEffect.objects.all(), ("detail", "match")),
        (FailedDelivery.objects.all(), ("resolution",)),
        (PendingReceipt.objects.all(), ("detail",)),
        (Suppression.objects.all(), ("detail",)),
        (TaskResult.objects.all(), ("task_args", "task_kwargs", "result", "traceback", "meta")),
        (GroupResult.objects.all(), ("result",)),
        (Fire.objects.filter(finished_at=None), _OF_A_RUN),
        (Fire.objects.filter(finished_at__isnull=False), (*_OF_A_RUN, "call")),
        (Batch.objects.all(), ("errors", "name")),
        (Hold.objects.all(), ("reason",)),
    ):
        for row in whom.saying(rows, *columns):
            whom.take_out(row, columns)
            done[row._meta.model_name or ""] += 1
    for entry in _admin_log(whom):
        whom.take_out(entry, _OF_THE_LOG)
        done["logentry"] += 1


def _admin_log(whom: "_Whom") -> list[Any]:
    """Return where Django's admin names it in its history; nothing where a project has no admin."""
    if not apps.is_installed("django.contrib.admin"):
        return []
    entries = apps.get_model("admin.LogEntry")._default_manager.all()  # noqa: SLF001 -- Django's name
    return list(whom.saying(entries, *_OF_THE_LOG))


def _stored(given: str, project: str, forms: Iterable[str]) -> "QuerySet[Recipient]":
    """Return the stored recipients that are meant, of live and of tests."""
    if project:
        return Recipient.objects.filter(project=project, key=given)
    by_mail = Q(addresses__channel="email", addresses__address__iexact=given)
    whole = Q(addresses__address__in=forms) | (by_mail if "@" in given else Q())
    return Recipient.objects.filter(whole).distinct()


class _Whom:
    """A recipient in all the forms in which rows may have it."""

    def __init__(self, recipient: str, project: str) -> None:
        given = recipient.strip()
        self.forms = set() if project else spellings.of(given) | {given.lower()}
        self.stored = list(_stored(given, project, self.forms))
        self._ids = {(one.world, one.key) for one in self.stored}
        if project:  # also of one that is stored no more
            self._ids |= {(World(project, test), given) for test in (False, True)}
        for address in RecipientAddress.objects.filter(recipient__in=self.stored):
            self.forms |= {address.address, address.address.lower()}
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
        its = Q(recipient__in=self._written)
        for world, key in self._ids:
            its |= Q(**world.columns, recipient_key=key)
        found: QuerySet[Any] = rows.filter(its)
        return found

    def delete_stored(self) -> int:
        """Delete it where it is stored, and return how often it was."""
        ids = [one.pk for one in self.stored]
        return Recipient.objects.filter(pk__in=ids).delete()[1].get("notifications.Recipient", 0)

    def mails(self) -> "QuerySet[MailContent]":
        """Return what mails have beside subject and body, where it names it."""
        return self.saying(MailContent.objects.all(), "fields")

    def runs(self, ids: Iterable[Any]) -> "QuerySet[ChainRun]":
        """Return the runs of chains that these notifications are steps of, or that name it."""
        steps = Notification.objects.filter(pk__in=list(ids), chain_run__isnull=False)
        its = Q(pk__in=list(steps.values_list("chain_run", flat=True)))
        for world, key in self._ids:
            its |= Q(**world.columns, recipient_key=key)
        return ChainRun.objects.filter(its)

    def counted(self) -> "QuerySet[ThrottleUse]":
        """Return what throttles have counted of it."""
        its = Q(recipient__in=self._written)
        for world, key in self._ids:
            of_world = {f"throttle__{name}": value for name, value in world.columns.items()}
            its |= Q(**of_world, recipient_key=key)
        return ThrottleUse.objects.filter(its)

    def saying(self, rows: "QuerySet[Any]", *columns: str) -> "QuerySet[Any]":
        """Return the rows in whose text or JSON it stands."""
        texts = {f"as_text_{name}": Cast(name, TextField()) for name in columns}
        named = Q(pk__in=[])  # of no form: nothing
        for name in texts:
            for form in self.forms:
                named |= Q(**{f"{name}__icontains": json.dumps(form)[1:-1]})
        found: QuerySet[Any] = rows.annotate(**texts).filter(named)
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
        by_code = self.saying(Schedule.objects.all(), "definition").values("periodic_task")
        given = self.saying(PeriodicTask.objects.all(), "kwargs", "args").values("pk")
        by_id = [pk for world, key in self._ids for pk in _naming(key, world.project)]
        which = Q(pk__in=given) | Q(pk__in=by_code) | Q(pk__in=by_id)
        found: QuerySet[PeriodicTask] = PeriodicTask.objects.filter(which)
        return found

    def jobs(self) -> "QuerySet[TaskResult]":
        return self.saying(TaskResult.objects.all(), "task_args", "task_kwargs", "result")

    def left_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a mail's fields without it among the copies."""
        kept = {}
        for name, value in fields.items():
            if name in COPIES and isinstance(value, list):
                kept[name] = [one for one in value if not self.names(str(one))]
            elif not (name in COPIES and self.names(str(value))):
                kept[name] = value
        return kept

    def take_out(self, row: Any, columns: Iterable[str]) -> None:
        """Write a row's columns with a mark in place of it."""
        values = {name: self._without(getattr(row, name)) for name in columns}
        type(row)._base_manager.filter(pk=row.pk).update(**values)  # noqa: SLF001 -- Django's name

    def names(self, text: str) -> bool:
        """Return whether it stands in a text."""
        return any(form.lower() in text.lower() for form in self.forms)

    def _without(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._without(one) for one in value]
        if isinstance(value, dict):
            return {name: self._without(one) for name, one in value.items()}
        return FORGOTTEN if isinstance(value, str) and self.names(value) else value


def _naming(key: str, project: str) -> Iterator[int]:
    """Yield the schedules whose arguments name the id of a recipient of this project."""
    text = key if key.isdecimal() else json.dumps(key)  # which may be given as a number
    by_code = Schedule.objects.annotate(as_text=Cast("definition", TextField()))
    rows: list[tuple[int, Any]] = [
        (pk, [_read(args), _read(kwargs)])
        for pk, args, kwargs in PeriodicTask.objects.filter(
            Q(kwargs__contains=text) | Q(args__contains=text)
        ).values_list("pk", "args", "kwargs")
    ]
    rows += by_code.filter(as_text__contains=text).values_list("periodic_task", "definition")
    for pk, given in rows:
        projects = _values(given, "project") or {DEFAULT_PROJECT}
        if key in _values(given, "recipient") and project in projects:
            yield pk


def _read(arguments: str) -> Any:
    """Return arguments of a schedule; None for what no worker can read either."""
    try:
        return json.loads(arguments or "null")
    except ValueError:
        return None


def _values(given: Any, name: str) -> set[str]:
    """Return the texts and numbers that stand under a name, at any depth of JSON."""
    if isinstance(given, list):
        return set().union(*(_values(one, name) for one in given))
    if not isinstance(given, dict):
        return set()
    own = {str(given[name])} if isinstance(given.get(name), str | int) else set()
    return own.union(*(_values(one, name) for one in given.values()))


def _suppressions(whom: _Whom, done: Counter[str]) -> None:
    """Keep of each suppression a hash alone, by which it still holds."""
    for row in whom.suppressed():
        if row.recipient.startswith(suppressions.HASHED):
            continue
        hash_ = suppressions.hashes(row.channel, row.recipient)[0]
        same = Suppression.objects.filter(
            project=row.project,
            test=row.test,
            channel=row.channel,
            recipient=hash_,
            scope=row.scope,
        )
        if row.lifted_at is None and same.filter(lifted_at=None).exists():
            row.delete()
        else:
            Suppression.objects.filter(pk=row.pk).update(recipient=hash_, detail="")
        done["suppressions"] += 1
    suppressions.forget()


def _live(whom: _Whom, ids: list[Any], done: Counter[str], by: AbstractBaseUser | None) -> None:
    rows = Notification.objects.filter(pk__in=ids)
    done["chain_runs"] += _run_forgotten(whom.runs(ids))
    done["outbox"] += OutboxMessage.objects.filter(notification__in=ids).delete()[0]
    attempts = Attempt.objects.filter(notification__in=ids)
    done["attempts"] += attempts.update(detail="", provider_message_id="")
    done["failed_deliveries"] += sum(
        _failed(row, by) for row in FailedDelivery.objects.filter(notification__in=ids)
    )
    done["pending_receipts"] += PendingReceipt.objects.filter(notification_id__in=ids).delete()[0]
    named = whom.saying(rows, "callback_url").values("pk")
    rows.filter(pk__in=named).update(callback_url="")
    mails = set(rows.exclude(mail=None).values_list("mail_id", flat=True))
    done["notifications"] += rows.update(**NOTHING)
    collecting.release(mails)


def _run_forgotten(runs: "QuerySet[ChainRun]") -> int:
    """Take out of runs whose they are, and their keys."""
    said = runs.exclude(recipient_key="", idempotency_key="")
    return said.update(recipient_key="", idempotency_key="", content_hash="")


def _callbacks(ids: Iterable[Any]) -> "QuerySet[Notification]":
    """Return the callbacks that tell of the final states of notifications."""
    keys = [routing.callback_key(id_, status) for id_ in ids for status in Status.values]
    return Notification.objects.filter(channel=routing.CALLBACK_CHANNEL, idempotency_key__in=keys)


def _without_callbacks(
    whom: _Whom, ids: list[Any], done: Counter[str], by: AbstractBaseUser | None
) -> list[Any]:
    """Forget what callbacks repeat of notifications; return those of which none is being sent."""
    for waiting in _callbacks(ids).filter(status__in=WAITING):
        if whom.names(waiting.recipient):
            done["cancelled"] += cancel(waiting.pk).cancelled
            continue
        told = json.loads(waiting.body)
        told["data"] |= {"reference": "", "metadata": {}}
        same = Notification.objects.filter(pk=waiting.pk, status__in=WAITING)
        done["callbacks"] += same.update(body=json.dumps(told), reference="")
    in_hand = (
        _callbacks(ids).filter(status=Status.SENDING).values_list("idempotency_key", flat=True)
    )
    left = {key.split(":")[1] for key in in_hand}
    done["in_hand"] += len(left)
    kept = [id_ for id_ in ids if str(id_) not in left]
    over = _callbacks(kept).exclude(status__in=UNFINISHED)
    _live(whom, [*over.values_list("pk", flat=True)], done, by)
    return kept


def _failed(row: FailedDelivery, by: AbstractBaseUser | None) -> int:
    """Close a failed delivery, which cannot be replayed any more, and empty it."""
    one = FailedDelivery.objects.filter(pk=row.pk)
    failed_deliveries.discard(one, why=FORGOTTEN, by=by)
    history = [{**attempt, "detail": ""} for attempt in row.history]
    request: dict[str, Any] | None = None if row.request is None else {}
    return one.update(detail="", history=history, request=request)


def _archived(whom: _Whom, done: Counter[str]) -> None:
    rows = list(whom.of(ArchivedNotification.objects.all()))
    keys = [routing.callback_key(row.pk, status) for row in rows for status in Status.values]
    told = ArchivedNotification.objects.filter(
        channel=routing.CALLBACK_CHANNEL, idempotency_key__in=keys
    )
    for row in [*rows, *told]:
        tries = [{**attempt, "detail": "", "provider_message_id": ""} for attempt in row.attempts]
        same = ArchivedNotification.objects.filter(pk=row.pk, finished_at=row.finished_at)
        url = "" if whom.names(row.callback_url) else row.callback_url
        done["archived_notifications"] += same.update(**NOTHING, callback_url=url, attempts=tries)
        collecting.release([] if row.mail_id is None else [row.mail_id])


def _copies(whom: _Whom, done: Counter[str]) -> None:
    """Take it out of the mails of others, of which it had a copy."""
    for mail in whom.mails():
        # Under another digest: a new mail to the same people has to be stored anew.
        kept = {"fields": whom.left_of(mail.fields), "digest": f"{FORGOTTEN}-{mail.pk}"}
        MailContent.objects.filter(pk=mail.pk).update(**kept)
        tries = Attempt.objects.filter(notification__mail=mail.pk)
        for attempt in whom.saying(tries, "detail"):
            whom.take_out(attempt, ["detail"])
        shown = OutboxMessage.objects.filter(notification__mail=mail.pk)
        for message in whom.saying(shown, "content"):
            whom.take_out(message, ["content"])
        for row in ArchivedNotification.objects.filter(mail=mail.pk):
            same = ArchivedNotification.objects.filter(pk=row.pk, finished_at=row.finished_at)
            same.update(attempts=[{**one, "detail": ""} for one in row.attempts])
        done["copies"] += 1


def _in_batches(rows: "QuerySet[Any]") -> Iterator[list[Any]]:
    """Yield the keys of rows that leave the query as they are worked on."""
    ids = list(rows.order_by().values_list("pk", flat=True))
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]


def _plain(rows: Iterable[models.Model]) -> list[dict[str, Any]]:
    """Return rows as JSON has them, with all of their columns."""
    taken = [
        {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}
        for row in rows
    ]
    plain: list[dict[str, Any]] = json.loads(json.dumps(taken, cls=DjangoJSONEncoder, default=str))
    return plain


def left_to_do(done: dict[str, int]) -> str:
    """Say what ``forget`` could not do; empty if it did everything."""
    left = []
    if count := done.get("in_hand"):
        left.append(
            f"Still being sent: {count}. Forget the recipient once more when they have ended."
        )
    if count := done.get("schedules"):
        left.append(f"Schedules that still write to the recipient: {count}. Change or delete them.")
    return " ".join(left)
