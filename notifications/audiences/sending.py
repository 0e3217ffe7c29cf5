"""Sends a batch to an audience: checked, and who is in it written down, before it is answered."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Unpack

from django.db import transaction
from django.utils import timezone

from notifications.audiences import expansion, saved, sql, variables
from notifications.core.errors import (
    InvalidField,
    InvalidNotification,
    UnknownChannel,
    UnknownTemplate,
)
from notifications.core.text import can_be_kept, shown, why_not_json
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.db import clock, dialect
from notifications.models import Audience, Batch
from notifications.models.recipient import ADDRESSED
from notifications.queueing import eager
from notifications.submission import building, content, projects, repeats, requests
from notifications.submission.building import Asked
from notifications.submission.fields import CommonFields
from templates_engine import catalog
from templates_engine.errors import TemplateError

TRIED = 3  # recipients with whom a request is tried before it is accepted
OF_A_ROW = ("recipient", "to", "idempotency_key")
_OF_ONE = ("recipient", "to", "context")  # fields of which a fault is one recipient's own

Fields = Mapping[str, Any]


def send_to_audience(
    audience: str,
    *,
    name: str = "",
    variables: Mapping[str, Any] | None = None,
    **common: Unpack[CommonFields],
) -> Batch:
    """Send the same notification to each recipient of an audience, as one batch.

    Who is in it is decided now: the batch's ``expansion`` says when that was and how many they are.
    Schedulers write the notifications, chunk by chunk. ``variables`` fills variables of the
    template from each recipient, like ``{"name": "attributes.first_name"}``. The
    ``idempotency_key`` is the batch's: the same again returns the first batch. Raises a subclass
    of ``InvalidNotification`` for what is wrong with the request.
    """
    project = projects.check(common.get("project", DEFAULT_PROJECT))
    world = World(project, common.get("test") is True)
    key = common.pop("idempotency_key", "")
    wanted = check(audience, common, {} if variables is None else variables, world)
    if not key:
        with transaction.atomic():
            return wanted.begin(Batch.objects.create(name=name[:255], **world.columns))
    batch, _ = repeats.of_key(key, wanted.content, world=world, name=name[:255])
    return wanted.begin(batch)


class Wanted(NamedTuple):
    """A checked request to an audience: ``content`` tells whether two ask for the same."""

    audience: Audience
    fields: dict[str, Any]
    variables: dict[str, Any]
    content: str

    def begin(self, batch: Batch) -> Batch:
        """Write down who is in it, unless that was done; return the batch as it is now."""
        expansion.begin(batch, self.audience, self.fields, self.variables)
        if eager.is_on():
            expansion.expand_here(batch)
        batch.refresh_from_db()
        return batch


def check(name: object, common: Fields, fills: Any, world: World) -> Wanted:
    """Check what all rows will share.

    The request is tried with a few recipients of the audience. Raises what is wrong with it, and
    with nobody alone.
    """
    audience = saved.get(name, world)
    for field in OF_A_ROW:
        if field in common:
            raise InvalidField(
                "The audience gives the recipients: leave this field out.", field=field
            )
    found = variables.check(fills)
    if common.get("channel") not in ADDRESSED:
        raise UnknownChannel(
            f"There is no channel {shown(common.get('channel'))}.",
            field="channel",
            hint=f"Use one of: {', '.join(ADDRESSED)}.",
        )
    _check_template(common, found, world)
    fields = {**common, **({} if world.project == DEFAULT_PROJECT else {"project": world.project})}
    if world.test:
        fields["test"] = True
    for error in _tried(audience, fields, found):
        if error.field.partition(".")[0] not in _OF_ONE:
            raise error
    # Whom an audience has makes no difference: a repeated request is answered with the first.
    asked = repeats.content_hash([{"audience": audience.name, "variables": found}], common)
    return Wanted(audience, _pinned(common), found, asked)


def _check_template(common: Fields, fills: Fields, world: World) -> None:
    """See that there is the template for what fills it, and that its variables will all be there.

    Raises ``UnknownTemplate``, ``MissingContent`` or ``InvalidField``.
    """
    name, context = common.get("template"), common.get("context")
    context = {} if context is None else context
    if not isinstance(context, Mapping):
        raise InvalidField("The context must be a JSON object.", field="context")
    if not name:
        for field, values in (("variables", fills), ("context", context)):
            content.check_used(values, field, common.get("digest"), common.get("category"))
    if not name or not isinstance(name, str) or not can_be_kept(name):
        return  # for which the request is refused, if it is not for want of a template
    try:
        version = catalog.published(name, world.namespaces)
    except TemplateError as error:
        raise UnknownTemplate(str(error), field="template", hint=error.hint) from error
    if missing := sorted(set(version.required) - context.keys() - fills.keys()):
        raise InvalidField(
            f"The template needs {', '.join(missing)}.",
            field="variables",
            hint="Name the attributes that fill them, or give them in the context.",
        )


def sample(
    audience: Audience, common: Fields, fills: Fields, limit: int, *, reached: bool = False
) -> list[dict[str, Any]]:
    """Return the rows of a few of an audience; ``reached`` leaves out who has no address for it."""
    where = saved.condition(audience.filter, audience.world)
    if reached:
        reach = sql.reached_by([common["channel"]], verified=False)
        where = sql.joined("and", [where, reach])
    with saved.searching():
        rows = dialect.all_of(
            f"SELECT r.id FROM {sql.TABLE} r WHERE {where.text} LIMIT %s",  # noqa: S608 -- our own words and placeholders
            [*where.parameters, limit],
        )
    members = variables.members([key for (key,) in rows], fills)
    return [variables.row_of(member, common, fills) for member in members.values()]


def _tried(audience: Audience, common: Fields, fills: Fields) -> list[InvalidNotification]:
    """Return what would be wrong with the first few, of those who have an address if any has."""
    rows = sample(audience, common, fills, TRIED, reached=True)
    asked = [Asked(row, common) for row in rows]
    if not asked:  # nobody to try it with: what can be read of it
        requests.read({**common, "to": {"recipient": "nobody"}})
    return [answer.error for answer in building.try_many(asked) if answer.error is not None]


def _pinned(common: Fields) -> dict[str, Any]:
    """Return the fields as JSON, with times in place of seconds: rows are written over a while.

    Raises ``InvalidField`` for what JSON cannot hold.
    """
    now = clock.now()
    pinned = {name: _plain(value) for name, value in common.items()}
    for name, kept in (("countdown", "eta"), ("expires", "expires")):
        if (moment := _after(common.get(name), now)) is not None:
            pinned.pop(name)
            pinned[kept] = moment
    for name, value in pinned.items():
        if why := why_not_json(value, name):
            raise InvalidField(f"It is not JSON: {why}.", field=name)
    return pinned


def _after(seconds: Any, now: datetime) -> str | None:
    """Return the moment so many seconds from now; None for what is no number of seconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return (now + timedelta(seconds=seconds)).isoformat()
    except (OverflowError, ValueError):
        return None  # for which the request is refused


def _plain(value: Any) -> Any:
    """Return a time, and the bytes of attachments, as JSON has them."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else timezone.make_aware(value)).isoformat()
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
