"""What JSON Schema can say of a notification, so that a client is refused before it sends.

The figures are those of the checks. What depends on what is stored, on the time, or on the tables
of phone numbers and domains is said by the answer: 422, by field. So is what would make the
alternatives more than generators of requests can combine, such as that there is one due time.
"""

from typing import Any

from notifications.api.json_schemas import (
    EMPTY,
    NUL_FREE,
    NULL,
    ONE_LINE,
    SOME,
    Json,
    either,
    whole,
)
from notifications.channels import CHANNELS, given_headers, options
from notifications.channels import mail as mails
from notifications.core import retry, routing
from notifications.core.conf import conf
from notifications.models.preference import CATEGORY, LONGEST_CATEGORY
from notifications.models.recipient import KEY, LONGEST_KEY
from notifications.submission.content import LONGEST_TEXT
from notifications.submission.fields import TEXTS
from notifications.submission.local_times import DAY, MOMENT
from notifications.submission.times import FARTHEST
from notifications.submission.validation import LONGEST_RECIPIENT

BASE64 = (
    r"^\s*(?:(?:[A-Za-z0-9+/]\s*){4})*"
    r"(?:(?:[A-Za-z0-9+/]\s*){2}=\s*=\s*|(?:[A-Za-z0-9+/]\s*){3}=\s*)?$"
)
NONE: Json = {"anyOf": [NULL, {"type": ["array", "object"], "maxItems": 0, "maxProperties": 0}]}


def complete(schemas: dict[str, Any]) -> None:
    """Add to the schemas of a notification and of its parts what the checks refuse."""
    for name, fields in (_FIELDS | {"ChainRunIn": _OF_A_CHAIN}).items():
        for field, constraint in fields.items():
            _narrow(schemas[name]["properties"][field], constraint)
    for field in mails.LISTS:
        most = {"type": "array", "maxItems": conf.mail_recipients}
        _narrow(schemas["NotificationIn"]["properties"][field], most)
    schemas["NotificationIn"]["allOf"] = _TOGETHER
    schemas["ChainRunIn"]["allOf"] = [ONE_DUE_TIME]


def _narrow(field: Json, constraint: Json) -> None:
    """Add a constraint to a field, or to that alternative of it which has its type."""
    for option in field.get("anyOf", [field]):
        if option.get("type") == constraint["type"]:
            option.update(constraint)


def _text(longest: int, pattern: str = NUL_FREE) -> Json:
    return {"type": "string", "maxLength": longest, "pattern": pattern}


_SECONDS = {"type": "number", "minimum": 0, "maximum": retry.LONGEST}
_RETRY: Json = {
    "type": "object",
    "properties": {
        "max_attempts": {"type": "integer", "minimum": 1, "maximum": retry.UNTIL_DEADLINE},
        "base": _SECONDS,
        "cap": _SECONDS,
        "deadline": _SECONDS,
        "jitter": {"type": "boolean"},
    },
    "additionalProperties": False,
}
_ADDRESSES: Json = {
    "type": "array",
    "items": {"type": "string", "minLength": 3, "maxLength": mails.LONGEST_ADDRESS},
}
_FIELDS: dict[str, dict[str, Json]] = {
    "ToIn": {
        "recipient": _text(LONGEST_KEY, whole(KEY)) | {"not": {"const": "import"}},
    },
    "AttachmentIn": {
        "filename": _text(mails.LONGEST_NAME, r"^[^\u0000-\u001f\u007f-\u009f/\\]+$")
        | {"not": {"pattern": r"^\s*\.{0,2}\s*$"}},
        "content": {"type": "string", "pattern": BASE64},
        "content_type": {"type": "string", "pattern": either(mails.CONTENT_TYPE)},
        "content_id": {"type": "string", "pattern": either(mails.CONTENT_ID)},
    },
    "NotificationIn": {
        "recipient": _text(LONGEST_RECIPIENT),
        "template": _text(100, either("[a-z0-9]+(?:[._-][a-z0-9]+)*")),
        "subject": _text(LONGEST_TEXT),
        "body": _text(LONGEST_TEXT),
        **{name: _text(longest) for name, longest in TEXTS.items()},
        "category": _text(LONGEST_CATEGORY, either(CATEGORY)),
        "countdown": {"type": "number", "maximum": FARTHEST.total_seconds()},
        "local_time": {"type": "string", "pattern": either(DAY, MOMENT)},
        "callback_url": _text(LONGEST_RECIPIENT, either(r"https?://[^\u0000-\u0020\u007f]+")),
        "retry": _RETRY,
        "expires": {"type": "number", "exclusiveMinimum": 0},
        "html": _text(mails.LONGEST_TEXT),
        "from_email": _text(mails.LONGEST_ADDRESS),
        "reply_to": _ADDRESSES,
        "cc": _ADDRESSES,
        "bcc": _ADDRESSES,
        "headers": {
            "type": "object",
            "maxProperties": given_headers.MOST,
            "propertyNames": {"pattern": given_headers.NAME, "maxLength": 76},
            "additionalProperties": _text(given_headers.LONGEST_VALUE, ONE_LINE),
        },
        "attachments": {"type": "array", "maxItems": mails.MOST_FILES},
    },
}


_IN_COMMON = (
    "category",
    "countdown",
    "callback_url",
    "retry",
    "expires",
    *sorted({*TEXTS} - {"account"}),
)
_OF_A_CHAIN = {name: _FIELDS["NotificationIn"][name] for name in _IN_COMMON} | {
    "recipients": {"type": "object", "additionalProperties": _text(LONGEST_RECIPIENT) | SOME},
}
ONE_DUE_TIME: Json = {
    "description": "One due time at most.",
    "anyOf": [{"properties": {"eta": NULL}}, {"properties": {"countdown": NULL}}],
}
_OPTIONS: dict[str, dict[str, Json]] = {
    "email": {
        "to_name": _text(options.LONGEST_NAME, r"^[^\u0000-\u001f<>]+$"),
        "open_pixel": {"type": "boolean"},
    },
    "push": {
        "ttl": {"type": "integer", "minimum": 0, "maximum": options.LONGEST_TTL},
        "urgency": {"enum": [*options.URGENCIES]},
        "topic": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"},
        "image": _text(options.LONGEST_URL, "^https://"),
        "collapse_key": _text(options.LONGEST_COLLAPSE_KEY, "^[!-~](?:[ -~]*[!-~])?$"),
        "priority": {"enum": [*options.PRIORITIES]},
    },
    "chat": {"blocks": {"type": "array"}},
}
_OF_EMAIL_ALONE: Json = {
    **dict.fromkeys(("html", "from_email"), EMPTY),
    **dict.fromkeys(("reply_to", "cc", "bcc", "headers", "attachments"), NONE),
}
_A_FILE: Json = {"type": "array", "minItems": 1}


def _of_channel(name: str) -> Json:
    """Return what a channel has, and lacks, of the fields."""
    properties: Json = {"options": NONE}
    if known := _OPTIONS.get(name):
        properties["options"] = {"properties": known, "additionalProperties": False}
    if name != "email":
        properties |= _OF_EMAIL_ALONE
    if CHANNELS[name].subject_part in CHANNELS[name].single_line:
        properties["subject"] = {"pattern": ONE_LINE}
    if name == routing.CALLBACK_CHANNEL:
        properties["callback_url"] = EMPTY
    return properties


def _of_each() -> list[Json]:
    """Return the alternatives: what channels have in common is one, as generators count them."""
    alike: list[tuple[list[str], Json]] = []
    for name in CHANNELS:
        rules = _of_channel(name)
        same = next((names for names, known in alike if known == rules), None)
        if same is None:
            alike.append(([name], rules))
        else:
            same.append(name)
    return [
        {"properties": {"channel": {"enum": names}, **rules}, "required": ["channel"]}
        for names, rules in alike
    ]


_TOGETHER: list[Json] = [
    {
        "description": "What each channel has and lacks.",
        "anyOf": _of_each(),
    },
    {
        "description": "An address, or a stored recipient.",
        "anyOf": [
            {"properties": {"recipient": SOME}, "required": ["recipient"]},
            {"properties": {"to": {"type": "object"}}, "required": ["to"]},
        ],
    },
    {
        "description": "A template, or a text of its own; a mail may consist of HTML or files.",
        "anyOf": [
            {
                "properties": {"template": SOME, "body": EMPTY, "subject": EMPTY, "html": EMPTY},
                "required": ["template"],
            },
            {"properties": {"template": EMPTY, "body": SOME}, "required": ["body"]},
            {"properties": {"template": EMPTY, "html": SOME}, "required": ["html"]},
            {
                "properties": {"template": EMPTY, "attachments": _A_FILE},
                "required": ["attachments"],
            },
        ],
    },
]
