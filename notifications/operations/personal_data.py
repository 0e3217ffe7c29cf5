"""What is kept of a recipient: to be handed out, and to be forgotten.

Found by the recipient's address in each form that a channel keeps, mail addresses without regard to
case; and where the address stands in copies (``cc``, ``bcc``), in reports of refused rows, in
events, in what jobs were given and gave, and in what people wrote down. A stored recipient is found
by its id or by any of its addresses, and with it what was sent to it or to its other addresses.
What messages to others say of a person is not found.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django_celery_results.models import GroupResult, TaskResult

from notifications.core import routing
from notifications.core.errors import InvalidField
from notifications.core.text import shown
from notifications.delivery import failed_deliveries
from notifications.mails import collecting
from notifications.models import (
    UNFINISHED,
    WAITING,
    ArchivedNotification,
    Attempt,
    Audience,
    Batch,
    Chain,
    ChainRun,
    Consent,
    Digest,
    Event,
    EventEffect,
    Expansion,
    FailedDelivery,
    Hold,
    MailContent,
    Notification,
    OutboxMessage,
    PendingReceipt,
    RecipientAddress,
    RefusedRow,
    Status,
    Suppression,
)
from notifications.operations.person import FORGOTTEN, Person
from notifications.recipients import suppressions
from notifications.submission import cancel, insert, projects
from scheduling.models import Fire

BATCH = 500  # rows per transaction
NAMED = 20  # of each kind that still writes to a recipient
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

_OF_AN_AUDIENCE = ("filter", "description")
_OF_AN_EXPANSION = ("filter", "fields", "variables")
_OF_A_RUN = ("error", "history", "note", "resolution")
_OF_THE_LOG = ("object_repr", "change_message")

others: dict[str, Callable[[list[str]], list[dict[str, Any]]]] = {}
"""What other packages keep of notifications, by its name: called with their ids."""


def check(recipient: str, project: str = "") -> None:
    """Raise ``InvalidField`` for what is no recipient, or a project that is not there."""
    Person(recipient, project)
    if project and project not in (names := projects.names()):
        raise InvalidField(
            f"There is no project {shown(project)}.",
            field="project",
            hint=f"There are {', '.join(names)}.",
        )


def export(recipient: str, *, project: str = "") -> Rows:
    """Return all that is kept of a recipient, by kind, as JSON has it.

    With a ``project`` the recipient is the id of one that is stored there, else an address. Raises
    ``InvalidField`` for what is no recipient.
    """
    person = Person(recipient, project)
    live = list(person.of(Notification.objects.all()))
    archived = list(person.of(ArchivedNotification.objects.all()))
    naming = [mail.pk for mail in person.mails()]
    copied = list(Notification.objects.filter(mail__in=naming).exclude(pk__in=[r.pk for r in live]))
    own = {row.mail_id for row in (*live, *archived) if row.mail_id is not None}
    ids = [row.pk for row in live]
    known = [str(row.pk) for row in (*live, *archived, *copied)]
    kept: Rows = {
        "notifications": _plain(live),
        "attempts": _plain(Attempt.objects.filter(notification__in=ids)),
        "failed_deliveries": _plain(person.failed(ids)),
        "outbox": _plain(OutboxMessage.objects.filter(notification__in=ids)),
        "mail_contents": _plain(MailContent.objects.filter(pk__in=[*own, *naming])),
        "copies": _plain(copied),
        "callbacks": _plain(_callbacks([row.pk for row in (*live, *archived)])),
        "archived_notifications": _plain(archived),
        "recipients": _plain(person.stored),
        "recipient_addresses": _plain(RecipientAddress.objects.filter(recipient__in=person.stored)),
        "consents": _plain(Consent.objects.filter(recipient__in=person.stored)),
        "suppressions": _plain(person.suppressed()),
        "pending_receipts": _plain(person.receipts(ids)),
        "refused_rows": _plain(person.quoted(RefusedRow.objects.all(), "detail")),
        "chain_runs": _plain(person.runs(ids)),
        "throttle_uses": _plain(person.counted()),
        "digests": _plain(person.of(Digest.objects.all())),
        "events": _plain(person.events([row.pk for row in (*live, *archived)])),
        "event_effects": _plain(_effects(person, known)),
        "event_rules": _plain(person.rules()),
        "chains": _plain(person.told(Chain.objects.all(), "steps")),
        "audiences": _plain(person.quoted(Audience.objects.all(), *_OF_AN_AUDIENCE)),
        "expansions": _plain(person.quoted(Expansion.objects.all(), *_OF_AN_EXPANSION)),
        "job_results": _plain(person.jobs()),
        "job_runs": _plain(person.told(Fire.objects.all(), *_OF_A_RUN, "call")),
        "schedules": _plain(person.schedules()),
        "holds": _plain(person.saying(Hold.objects.all(), "reason")),
        "batches": _plain(person.quoted(Batch.objects.all(), "errors", "name")),
        "admin_log": _plain(_admin_log(person)),
    }
    return kept | {name: read(known) for name, read in others.items()}


class Forgotten(dict[str, int]):
    """How much of each kind was forgotten; ``writing`` names, by kind, what still writes to it."""

    writing: dict[str, list[str]]


def forget(recipient: str, *, project: str = "", by: AbstractBaseUser | None = None) -> Forgotten:
    """Forget a recipient, and return how much of each kind was forgotten.

    With a ``project`` the recipient is the id of one that is stored there, else an address. Raises
    ``InvalidField`` for what is no recipient, before anything is forgotten.

    What waits is cancelled first. The rows stay, without address and content, so that counts and
    histories hold; suppressions stay as a hash, and still hold. ``in_hand`` counts what a worker
    is sending, and calls of tasks and batches that have yet to run: forget once more after it.
    ``schedules``, ``chains`` and ``event_rules`` count, and ``writing`` names, those that go on
    writing to the recipient: what they do is for a person to change.
    """
    person, done = Person(recipient, project), Counter[str]()
    _events(person, done)  # found by what they have caused, before that is forgotten
    for ids in _in_batches(person.of(Notification.objects.filter(status__in=WAITING))):
        done["cancelled"] += sum(cancel(id_).cancelled for id_ in ids)
    _suppressions(person, done)
    for ids in _in_batches(person.of(Notification.objects.exclude(status__in=UNFINISHED))):
        with transaction.atomic():
            _live(person, _without_callbacks(person, ids, done, by), done, by)
    _copies(person, done)
    _archived(person, done)
    done["pending_receipts"] += person.receipts([]).delete()[0]
    done["failed_deliveries"] += sum(_failed(row, by) for row in person.failed([]))
    done["chain_runs"] += _run_forgotten(person.runs([]))
    done["throttle_uses"] += person.counted().delete()[0]
    done["digests"] += person.of(Digest.objects.all()).delete()[0]
    _texts(person, done)
    done["recipients"] += person.delete_stored()
    done["in_hand"] += person.of(Notification.objects.filter(status__in=UNFINISHED)).count()
    done["in_hand"] += person.told(Fire.objects.filter(finished_at=None), "call").count()
    done["in_hand"] += person.quoted(Expansion.objects.filter(finished_at=None), "fields").count()
    writing = {
        "schedules": person.schedules(),
        "chains": person.told(Chain.objects.all(), "steps"),
        "event_rules": person.rules(),
    }
    names = {kind: sorted(rows.values_list("name", flat=True)) for kind, rows in writing.items()}
    done.update({kind: len(named) for kind, named in names.items()})
    forgotten = Forgotten({name: count for name, count in done.items() if count})
    forgotten.writing = names
    return forgotten


def _texts(person: "Person", done: Counter[str]) -> None:
    """Take it out of what stands in no row of a notification's."""
    told: list[tuple[QuerySet[Any], Sequence[str]]] = [
        (Fire.objects.filter(finished_at__isnull=False), (*_OF_A_RUN, "call")),
        (TaskResult.objects.all(), ("task_args", "task_kwargs", "result", "traceback", "meta")),
    ]
    quoted: list[tuple[QuerySet[Any], Sequence[str]]] = [
        (RefusedRow.objects.all(), ("detail",)),
        (Batch.objects.all(), ("errors", "name")),
        (Audience.objects.all(), _OF_AN_AUDIENCE),
        (Expansion.objects.filter(finished_at=None), ("filter",)),
        (Expansion.objects.filter(finished_at__isnull=False), _OF_AN_EXPANSION),
    ]
    for rows, columns in (
        (EventEffect.objects.all(), ("detail", "match")),
        (FailedDelivery.objects.all(), ("resolution",)),
        (PendingReceipt.objects.all(), ("detail",)),
        (Suppression.objects.all(), ("detail",)),
        (GroupResult.objects.all(), ("result",)),
        (Fire.objects.filter(finished_at=None), _OF_A_RUN),
        (Hold.objects.all(), ("reason",)),
    ):
        _taken_out(person, person.saying(rows, *columns), columns, done)
    for rows, names in told:
        _taken_out(person, person.told(rows, *names), names, done)
    for rows, names in quoted:
        _taken_out(person, person.quoted(rows, *names), names, done)
    for entry in _admin_log(person):
        person.take_out(entry, _OF_THE_LOG)
        done["logentry"] += 1


def _taken_out(
    person: Person, rows: "QuerySet[Any]", columns: Sequence[str], done: Counter[str]
) -> None:
    for row in rows:
        done[row._meta.model_name or ""] += person.take_out(row, columns)


def _events(person: Person, done: Counter[str]) -> None:
    """Take it out of the events that name it, or that have caused what was sent to it."""
    ids = [
        id_
        for rows in (Notification.objects.all(), ArchivedNotification.objects.all())
        for id_ in person.of(rows).values_list("pk", flat=True)
    ]
    effects = list(_effects(person, ids))
    for event in person.events(ids):
        if person.names(event.key) or person.tells_id(event.key):
            Event.objects.filter(pk=event.pk).update(key=f"{FORGOTTEN}-{event.pk}")
        person.take_out(event, ("data",))
        done["event"] += 1
    for effect in effects:
        person.take_out(effect, ("detail", "match"))


def _effects(person: Person, ids: Iterable[Any]) -> "QuerySet[EventEffect]":
    """Return what events have caused for it, and where it stands in what became of them."""
    said = person.saying(EventEffect.objects.all(), "detail", "match").values("pk")
    return EventEffect.objects.filter(Q(notification_id__in=list(ids)) | Q(pk__in=said))


def _admin_log(person: "Person") -> list[Any]:
    """Return where Django's admin names it in its history; nothing where a project has no admin."""
    if not apps.is_installed("django.contrib.admin"):
        return []
    entries = apps.get_model("admin.LogEntry")._default_manager.all()  # noqa: SLF001 -- Django's name
    return list(person.saying(entries, *_OF_THE_LOG))


def _suppressions(person: Person, done: Counter[str]) -> None:
    """Keep of each suppression a hash alone, by which it still holds."""
    for row in person.suppressed():
        if row.recipient.startswith(suppressions.HASHED):
            continue
        hash_ = suppressions.hashes(row.channel, row.recipient)[0]
        same = Suppression.objects.filter(
            project=row.project,
            test=row.test,
            channel=row.channel,
            recipient=hash_,
            scope=row.scope,
            account=row.account,
        )
        if row.lifted_at is None and same.filter(lifted_at=None).exists():
            row.delete()
        else:
            Suppression.objects.filter(pk=row.pk).update(recipient=hash_, detail="")
        done["suppressions"] += 1
    suppressions.forget()


def _live(person: Person, ids: list[Any], done: Counter[str], by: AbstractBaseUser | None) -> None:
    rows = Notification.objects.filter(pk__in=ids)
    done["chain_runs"] += _run_forgotten(person.runs(ids))
    done["outbox"] += OutboxMessage.objects.filter(notification__in=ids).delete()[0]
    attempts = Attempt.objects.filter(notification__in=ids)
    done["attempts"] += attempts.update(detail="", provider_message_id="")
    done["failed_deliveries"] += sum(
        _failed(row, by) for row in FailedDelivery.objects.filter(notification__in=ids)
    )
    done["pending_receipts"] += PendingReceipt.objects.filter(notification_id__in=ids).delete()[0]
    named = person.saying(rows, "callback_url").values("pk")
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
    person: Person, ids: list[Any], done: Counter[str], by: AbstractBaseUser | None
) -> list[Any]:
    """Forget what callbacks repeat of notifications; return those of which none is being sent."""
    for waiting in _callbacks(ids).filter(status__in=WAITING):
        if person.names(waiting.recipient):
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
    _live(person, [*over.values_list("pk", flat=True)], done, by)
    return kept


def _failed(row: FailedDelivery, by: AbstractBaseUser | None) -> int:
    """Close a failed delivery, which cannot be replayed any more, and empty it."""
    letter = FailedDelivery.objects.filter(pk=row.pk)
    failed_deliveries.discard(letter, why=FORGOTTEN, by=by)
    history = [{**attempt, "detail": ""} for attempt in row.history]
    request: dict[str, Any] | None = None if row.request is None else {}
    return letter.update(detail="", history=history, request=request)


def _archived(person: Person, done: Counter[str]) -> None:
    rows = list(person.of(ArchivedNotification.objects.all()))
    keys = [routing.callback_key(row.pk, status) for row in rows for status in Status.values]
    told = ArchivedNotification.objects.filter(
        channel=routing.CALLBACK_CHANNEL, idempotency_key__in=keys
    )
    for row in [*rows, *told]:
        tries = [{**attempt, "detail": "", "provider_message_id": ""} for attempt in row.attempts]
        same = ArchivedNotification.objects.filter(pk=row.pk, finished_at=row.finished_at)
        url = "" if person.names(row.callback_url) else row.callback_url
        done["archived_notifications"] += same.update(**NOTHING, callback_url=url, attempts=tries)
        collecting.release([] if row.mail_id is None else [row.mail_id])


def _copies(person: Person, done: Counter[str]) -> None:
    """Take it out of the mails of others, of which it had a copy."""
    for mail in person.mails():
        # Under another digest: a new mail to the same people has to be stored anew.
        kept = {"fields": person.left_of(mail.fields), "digest": f"{FORGOTTEN}-{mail.pk}"}
        MailContent.objects.filter(pk=mail.pk).update(**kept)
        tries = Attempt.objects.filter(notification__mail=mail.pk)
        for attempt in person.saying(tries, "detail"):
            person.take_out(attempt, ["detail"])
        shown = OutboxMessage.objects.filter(notification__mail=mail.pk)
        for message in person.saying(shown, "content"):
            person.take_out(message, ["content"])
        for row in ArchivedNotification.objects.filter(mail=mail.pk):
            same = ArchivedNotification.objects.filter(pk=row.pk, finished_at=row.finished_at)
            same.update(attempts=[{**attempt, "detail": ""} for attempt in row.attempts])
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


def left_to_do(done: Forgotten) -> str:
    """Say what ``forget`` could not do; empty if it did everything."""
    left = []
    if count := done.get("in_hand"):
        left.append(
            f"Still being sent: {count}. Forget the recipient once more when they have ended."
        )
    for kind, names in done.writing.items():
        if names:
            words = kind.replace("_", " ").capitalize()
            named = ", ".join(names[:NAMED])
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            left.append(
                f"{words} that still write to the recipient: {named}{more}. Change or delete them."
            )
    return " ".join(left)
