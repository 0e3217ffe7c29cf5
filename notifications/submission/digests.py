"""Notifications join the open digest of their recipient and key, or open one.

The row of the digest is locked until the notification is committed, and it is closed by an update
of that row (``delivery.digest_contents``). So a notification is either committed before the digest
is read, or joins the next one: each is in exactly one, whoever dies when.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from notifications.core.digests import context_of, item, trials
from notifications.core.errors import InvalidContext, InvalidField
from notifications.core.world import World
from notifications.db import clock, dialect
from notifications.models import UNFINISHED, WAITING, Digest, Notification, Status, new_id
from notifications.recipients import own_links
from notifications.submission import addressing, insert
from notifications.submission.digest_fields import Spec
from notifications.submission.fields import Request
from notifications.transitions import new
from templates_engine import catalog
from templates_engine.errors import TemplateError

_TABLE = Digest._meta.db_table
_IDENTITY = ("project", "test", "channel", "recipient_key", "recipient", "key")
_ALONE = ("status", "due_at", "scheduled_at", "finished_at", "reason", "digest_id")
_AGAIN = 3  # tries to join where a digest was called off meanwhile


@dataclass(slots=True)
class Collected:
    """A notification that may join a digest, with that of the digest, which it may open.

    ``row`` and ``copies`` are that one's, to each device; ``category`` is what it can be refused
    as, empty for none. ``alone`` is what its own row has where it goes by itself,
    ``alone_copies`` its copies.
    """

    spec: Spec
    row: insert.Row
    copies: list[insert.Row]
    category: str = ""
    alone: dict[str, Any] = field(default_factory=dict)
    alone_copies: list[insert.Row] = field(default_factory=list)


class _Identity(NamedTuple):
    """What digests are told apart by; in the order in which they are locked."""

    project: str
    test: bool
    channel: str
    recipient_key: str
    recipient: str
    key: str


class Joining(NamedTuple):
    """A notification that may join: its row, the rows of its copies, and what collects it."""

    row: insert.Row
    copies: list[insert.Row]
    collected: Collected


def request_of(request: Request, spec: Spec, category: str) -> Request:
    """Return the request of the digest that a notification may open, with this one as its list.

    ``category`` is what the notification can be refused as. Raises ``InvalidField`` for what it
    cannot have.
    """
    for name in ("eta", "countdown"):
        if getattr(request, name) is not None:
            raise InvalidField(f"It is sent with its digest, so it cannot have {name}.", field=name)
    if request.local_time:
        raise InvalidField(
            "It is sent with its digest, so it cannot have local_time.", field="local_time"
        )
    if isinstance(request.mail, Mapping) and any(request.mail.values()):
        name = next(name for name, value in request.mail.items() if value)
        raise InvalidField("What joins a digest can have only a subject and a body.", field=name)
    return request._replace(
        digest=None,
        template=spec.template,
        category=category,
        context=context_of([item(request.context or {}, request.subject, request.body)], 1),
        subject="",
        body="",
        mail=None,
        idempotency_key="",
        reference="",
        metadata=None,
        expires=None,
    )


def try_template(row: insert.Row, limit: int) -> None:
    """Refuse a notification that the template of its digest cannot have in a list.

    At the end it would cost all others of the digest. Raises ``InvalidContext``.
    """
    version = catalog.version(row["template_version_id"])
    world, to = World(row["project"], row["test"]), (row["channel"], row["recipient"])
    links = own_links.of(version, row["id"], to, world, row["recipient_key"])
    for context in trials(row["context"]["items"][0], limit):
        try:
            version.render(context, row["locale"] or None, links)
        except TemplateError as error:
            raise InvalidContext(
                f"It cannot have this notification in its list. {error}",
                field="template",
                hint=error.hint,
            ) from error


def join(joining: Iterable[Joining]) -> None:
    """Have notifications join their digests, in the current transaction; write what is opened.

    A row that joins gets the status ``merged``; one that goes at once stays as it is. Safe to be
    repeated after a rollback, once each was ``reset``.
    """
    groups: dict[_Identity, list[Joining]] = defaultdict(list)
    for member in joining:
        if member.row["status"] in WAITING:
            groups[_identity(member)].append(member)
    if not groups:
        return
    digests, opened = _open(groups)
    rows = []
    for identity, some in groups.items():
        digest = digests[identity]
        members = some
        if digest in opened:
            due_at, alone = _begin(identity, some[0].collected.spec, some[0].row["created_at"])
            rows += _rows(some[0].collected, digest, due_at)
            members = some[1:] if alone else some
        for member in members:
            _merge(member, digest)
    if rows:
        insert.insert(rows)


def reset(member: Joining) -> None:
    """Note what a row is by itself, or undo what a join has written that was rolled back."""
    if not member.collected.alone:
        member.collected.alone = {name: member.row[name] for name in _ALONE}
        member.collected.alone_copies = list(member.copies)
    elif member.row["status"] == Status.MERGED:
        member.row.update(member.collected.alone)
        member.copies[:] = member.collected.alone_copies


def _merge(member: Joining, digest: UUID) -> None:
    new.end(member.row, Status.MERGED, "")
    member.row["digest_id"] = digest
    member.copies.clear()  # the digest goes to each device


def _identity(member: Joining) -> _Identity:
    row = member.row
    key = row["recipient_key"]
    address = "" if key else row["recipient"]
    collected = member.collected
    # Of one category alone, so that a recipient who refuses one loses nothing of another; of one
    # version of the template, with which each was tried; and of the account that alone may
    # send them, or of none. Its length tells where the name of the account ends.
    version, account = collected.row["template_version_id"], row["account"]
    by_account = f"@{len(account)}:{account}" if account else ""
    own = f"{collected.category}:{version}{by_account}:{collected.spec.key}"
    return _Identity(row["project"], row["test"], row["channel"], key, address, own)


def key_of(row: insert.Row) -> tuple[str, bool, str] | None:
    """Return the idempotency key of a row, with whose it is; None for none."""
    key = row["idempotency_key"]
    return (row["project"], row["test"], key) if key else None


def used_keys(rows: Iterable[insert.Row]) -> set[tuple[str, bool, str] | None]:
    """Return the idempotency keys that were used before: those rows are answered, not written."""
    keys: dict[World, list[str]] = defaultdict(list)
    for row in rows:
        if row["idempotency_key"]:
            keys[World(row["project"], row["test"])].append(row["idempotency_key"])
    same = Q(pk__in=[])
    for world, some in keys.items():
        same |= Q(**world.columns, idempotency_key__in=some)
    if not keys:
        return set()
    found = Notification.objects.filter(same)
    return {*found.values_list("project", "test", "idempotency_key")}


def _open(
    groups: Mapping[_Identity, Sequence[Joining]],
) -> tuple[dict[_Identity, UUID], set[UUID]]:
    """Lock the open digest of each, or open one; return them, and which were opened.

    One whose notification was called off, or refused, is closed: nobody would send it.
    """
    digests: dict[_Identity, UUID] = {}
    opened: set[UUID] = set()
    wanted = dict(groups)
    for _ in range(_AGAIN):
        found, new = _upsert(wanted)
        digests |= found
        opened |= new
        known = [digest for digest in found.values() if digest not in new]
        going = set(
            Notification.objects.filter(digest_id__in=known, status__in=UNFINISHED).values_list(
                "digest_id", flat=True
            )
        )
        ended = [digest for digest in known if digest not in going]
        if not ended:
            break
        Digest.objects.filter(pk__in=ended).update(closed_at=clock.now())
        wanted = {
            identity: groups[identity] for identity, digest in found.items() if digest in set(ended)
        }
    return digests, opened


def _upsert(
    groups: Mapping[_Identity, Sequence[Joining]],
) -> tuple[dict[_Identity, UUID], set[UUID]]:
    """Open digests where there is none; lock them in one order, so that two never deadlock."""
    now = clock.now()
    values: list[Any] = []
    proposed = set()
    for identity in sorted(groups):
        id_ = new_id()
        proposed.add(id_)
        limit = groups[identity][0].collected.spec.limit
        values += [id_, *identity, limit, now, now]
    columns = ("id", *_IDENTITY, '"limit"', "opened_at", "joined_at")
    marks = ", ".join([f"({dialect.marks(len(columns))})"] * len(groups))
    rows = dialect.all_of(
        f"INSERT INTO {_TABLE} ({', '.join(columns)}, merged) VALUES"  # noqa: S608 -- our own words and placeholders
        f" {marks.replace(')', ', 0)')}"
        f" ON CONFLICT ({', '.join(_IDENTITY)}) WHERE closed_at IS NULL"
        f" DO UPDATE SET joined_at = EXCLUDED.joined_at RETURNING id, {', '.join(_IDENTITY)}",
        dialect.write_all(values),
    )
    found = {
        _Identity(project, bool(test), *others): dialect.read_id(id_)
        for id_, project, test, *others in rows
    }
    return found, proposed & set(found.values())


def _begin(identity: _Identity, spec: Spec, now: datetime) -> tuple[datetime, bool]:
    """Return when a digest that was just opened is due, and whether the first goes alone."""
    window = timedelta(seconds=spec.window)
    if spec.first == "together":
        return now + window, False
    before = Digest.objects.filter(
        **dict(zip(_IDENTITY, identity, strict=True)), closed_at__isnull=False, merged__gt=0
    ).order_by("-closed_at")
    closed_at = before.values_list("closed_at", flat=True).first()
    if closed_at is not None and closed_at + window > now:  # the last one went not long ago
        return closed_at + window, False
    return now + window, True


def _rows(collected: Collected, digest: UUID, due_at: datetime) -> list[insert.Row]:
    """Return the rows of a digest's notification: one, or on push one for each device."""
    first = {**collected.row, "id": digest, "digest_id": digest}
    copies = [
        {**copy, "id": addressing.id_of_copy(digest, copy["recipient"]), "digest_id": digest}
        for copy in collected.copies
    ]
    rows = [first, *copies]
    for row in rows:
        new.wait(row, due_at, "")
    return rows
