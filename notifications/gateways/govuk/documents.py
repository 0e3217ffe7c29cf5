"""Notifications and templates as GOV.UK Notify writes them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db.models import Q

from notifications.core.reasons import Reason
from notifications.gateways.govuk import personalisation
from notifications.models import NotificationRecord, Status
from templates_engine.models import TemplateVersion
from templates_engine.parts import Content
from templates_engine.rendering import CompiledVersion

TYPES = ("email", "sms")


class _Word(NamedTuple):
    """A status there: which statuses here it stands for, and of failures which reasons."""

    statuses: tuple[Status, ...]
    reasons: tuple[Reason, ...] = ()


_FOR_GOOD = (Reason.REJECTED, Reason.INVALID_RECIPIENT, Reason.BOUNCED)
_FOR_NOW = (
    *(Reason.ATTEMPTS_EXHAUSTED, Reason.DEADLINE_EXCEEDED, Reason.EXPIRES_BEFORE_RETRY),
    *(Reason.EXPIRES_BEFORE_SLOT, Reason.FAILED),
)
WORDS: dict[str, _Word] = {
    "created": _Word((Status.SCHEDULED, Status.QUEUED)),
    "sending": _Word((Status.SENDING,)),
    # Handed over, and nobody has said yet whether it arrived.
    "sent": _Word((Status.SENT, Status.MERGED)),
    "delivered": _Word((Status.DELIVERED,)),
    "permanent-failure": _Word((Status.SUPPRESSED, Status.FAILED), _FOR_GOOD),
    "temporary-failure": _Word((Status.EXPIRED, Status.FAILED), _FOR_NOW),
    "technical-failure": _Word((Status.CANCELLED, Status.FAILED)),
}
"""The statuses of GOV.UK Notify; failures of any other reason are technical."""


def status_of(row: NotificationRecord) -> str:
    """Return the word that GOV.UK Notify has for a row's status."""
    for word, (statuses, reasons) in WORDS.items():
        if row.status in statuses and (row.status != Status.FAILED or row.reason in reasons):
            return word
    return "technical-failure"


def with_status(word: str) -> Q:
    """Return the condition of the rows with a status; ``failed`` is any failure.

    Raises ``KeyError`` for a word that is not a status.
    """
    if word == "failed":
        return reduce(or_, (with_status(word) for word in WORDS if word.endswith("-failure")))
    statuses, reasons = WORDS[word]
    others = Q(status__in=[status for status in statuses if status != Status.FAILED])
    if Status.FAILED not in statuses:
        return others
    failed = Q(status=Status.FAILED)
    if reasons:
        return others | failed & Q(reason__in=reasons)
    return others | failed & ~Q(reason__in=[*_FOR_GOOD, *_FOR_NOW])


def notification(row: NotificationRecord, content: Content, root: str) -> dict[str, Any]:
    """Write a notification; ``root`` is the address below which the API is."""
    version = row.template_version
    is_over = row.status not in (Status.SCHEDULED, Status.QUEUED, Status.SENDING, Status.SENT)
    return {
        "id": str(row.id),
        "reference": row.reference or None,
        "email_address": row.recipient if row.channel == "email" else None,
        "phone_number": row.recipient if row.channel == "sms" else None,
        **{f"line_{number}": None for number in range(1, 8)},
        "postcode": None,
        "postage": None,
        "type": row.channel,
        "status": status_of(row),
        "template": _template_of(version, root) if version else None,
        "body": _text(content),
        "subject": content.get("subject"),
        "created_at": _time(row.created_at),
        "created_by_name": None,
        "sent_at": _time(row.sent_at),
        "completed_at": _time(row.finished_at) if is_over else None,
        "scheduled_for": _time(row.scheduled_at) if row.scheduled_at > row.created_at else None,
        "one_click_unsubscribe_url": None,
        "is_cost_data_ready": False,
        "cost_in_pounds": None,
        "cost_details": {},
    }


def created(
    row: NotificationRecord,
    version: CompiledVersion,
    number: int,
    content: Content,
    *,
    root: str,
    unsubscribe_url: str | None,
) -> dict[str, Any]:
    """Write the answer to a request to send.

    The sender is unknown yet: which account sends it is chosen when it is sent.
    """
    text: dict[str, Any] = {"body": _text(content)}
    if row.channel == "email":
        text |= {"subject": content.get("subject", ""), "from_email": None}
        text["one_click_unsubscribe_url"] = unsubscribe_url
    else:
        text["from_number"] = None
    return {
        "id": str(row.id),
        "reference": row.reference or None,
        "uri": f"{root}/notifications/{row.id}",
        "template": {
            "id": version.template_name,
            "version": number,
            "uri": _template_uri(version.template_name, number, root),
        },
        "scheduled_for": None,
        "content": text,
        "sanitised_content": {},
    }


def template(version: TemplateVersion) -> dict[str, Any]:
    """Write a version of a template, with placeholders where it has plain variables."""
    sources: Mapping[str, str] = version.variants.get("default") or {}
    shown = {name: personalisation.shown(text) for name, text in sources.items()}
    used = personalisation.names(sources.values())
    return {
        "id": version.template.name,
        "name": version.template.name,
        "type": version.template.channel,
        "created_at": _time(version.template.created_at),
        "updated_at": _time(version.template.updated_at),
        "created_by": version.created_by.get_username() if version.created_by else "",
        "version": version.number,
        "body": _text(shown),
        "subject": shown.get("subject"),
        "letter_contact_block": None,
        "postage": None,
        "personalisation": {name: {"required": name in version.required} for name in used},
    }


def preview(version: TemplateVersion, content: Content) -> dict[str, Any]:
    """Write what a recipient would see."""
    return {
        "id": version.template.name,
        "type": version.template.channel,
        "version": version.number,
        "body": _text(content),
        "subject": content.get("subject"),
        "html": content.get("html"),
        "postage": None,
    }


def page(name: str, found: Iterable[Mapping[str, Any]], links: dict[str, str]) -> dict[str, Any]:
    """Write one page of a list."""
    return {name: list(found), "links": links}


def _template_of(version: TemplateVersion, root: str) -> dict[str, Any]:
    name = version.template.name
    uri = _template_uri(name, version.number, root)
    return {"id": name, "name": name, "version": version.number, "uri": uri}


def _template_uri(name: str, number: int, root: str) -> str:
    return f"{root}/template/{name}/version/{number}"


def _text(content: Mapping[str, Any]) -> str:
    return str(content.get("text") or content.get("html") or content.get("body") or "")


def _time(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None
