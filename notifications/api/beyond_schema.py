"""What an operation refuses of a request that fits its schema: what only the system knows.

Each entry is one kind of problem at one place of the request. The OpenAPI document lists them with
the operation, as words and as data, and the tests let a fuzzer's request be refused for nothing
else. What a schema can say is no entry: it stands with the field.
"""

from typing import Any, NamedTuple

from notifications.api import problems

Json = dict[str, Any]


class Refusal(NamedTuple):
    """A kind of problem at a place; ``*`` in it stands for one part, ``**`` for one or more."""

    kind: str
    field: str
    why: str


_TEMPLATE = "No published template has this name, or it is of another channel."
_CATEGORY = "The project has no category of this name, or it cannot be used here."
_RECIPIENT = "No stored recipient has this id, or it has no address of the channel."
_ADDRESS = "It is not an address: the tables of phone numbers and of domains decide."
_TIME = "It has passed, is too far ahead, or comes before what it follows."
_CURSOR = "It is not a cursor that this list returned."
_KEYS = "The header and the body name different keys."
_KEPT = "A text within it holds a NUL, or it is too large in all."
_EXPRESSION = "It is not an expression of CEL over `data`, or gives something else."
_ZONE = "The database of time zones has none of this name."
_COUNTRY = "No public holidays of this country are known."
_CSV = "The file has no column that is needed, or a line that cannot be read."
_URL = "Its host cannot be one."
_ARGUMENTS = "The task refuses its arguments: a send, as `POST /notifications` would."
_OF_THE_JOB = "It does not go with what the job has."
_OF_THE_WINDOW = "It does not go with what the window has."
_FILTER = (
    "It has too many conditions or values in all, goes too deep, names a zone or a country that is "
    "not known, or a group inside a group has what no filter has."
)
_UNINDEXED = "The database has no index that serves it."
_ACCOUNT = "The channel has no provider account of this name."
_SOURCE = "It is not Jinja2, or makes what the channel of the template does not take."

_TIMES = tuple(Refusal("invalid-time", name, _TIME) for name in ("eta", "countdown", "expires"))
_UNUSED = "There is no template that it could fill, only a text."
_CONTENT = (
    Refusal("missing-content", "context", _UNUSED),
    Refusal("invalid-context", "context", "The template needs other values, or: " + _KEPT),
    Refusal("invalid-context", "metadata", _KEPT),
    Refusal("invalid-context", "options", _KEPT),
    Refusal("invalid-field", "body", "No provider of the channel takes a text like this."),
    Refusal("invalid-field", "callback_url", _URL),
    Refusal("invalid-field", "options.*", "No account carries it, or it names nobody."),
)
_NOTIFICATION = (
    *_CONTENT,
    *_TIMES,
    Refusal("invalid-time", "local_time", _TIME),
    Refusal("unknown-template", "template", _TEMPLATE),
    Refusal("unknown-category", "category", _CATEGORY),
    Refusal("invalid-field", "category", "A marketing template is not sent as this category."),
    Refusal("malformed-recipient", "recipient", _ADDRESS),
    Refusal("unknown-recipient", "to.recipient", _RECIPIENT),
    Refusal("no-provider", "channel", "No account serves this channel."),
    Refusal("unknown-template", "digest.template", _TEMPLATE),
    Refusal("invalid-context", "digest.template", "It cannot render this notification in a list."),
    Refusal("unknown-account", "account", _ACCOUNT),
    Refusal("invalid-field", "from_email", "It is not an address, or no account may send as it."),
    *(
        Refusal("invalid-field", f"{name}.*", "It is not a mail address.")
        for name in ("reply_to", "cc", "bcc")
    ),
    Refusal("invalid-field", "headers", "Two names differ only in upper and lower case."),
    Refusal("invalid-field", "headers.*", "The settings do not allow this header."),
    Refusal("invalid-field", "attachments", "The files are too large in all."),
    Refusal("invalid-field", "attachments.*", "The settings do not allow such a file."),
    Refusal("invalid-field", "attachments.*.*", "The settings do not allow such a file."),
)
_CHAIN = (
    Refusal(
        "invalid-chain",
        "steps.*.wait",
        "A step that is not the last says how long to wait, "
        "and the next one is due before the chain expires.",
    ),
    Refusal("unknown-template", "steps.*.template", _TEMPLATE),
    Refusal("invalid-context", "steps.*.options", _KEPT),
    Refusal("invalid-field", "steps.*.from_email", "It is not an address, or not of an email."),
    Refusal("unknown-account", "steps.*.account", _ACCOUNT),
)
_STEP = (
    *((Refusal(kind, f"steps.*.{field}", why)) for kind, field, why in _NOTIFICATION),
    Refusal("invalid-field", "steps.*.subject", "The channel takes no line break in it."),
)
_JOB = (
    *(
        Refusal("invalid-job", f"schedule.{name}", why)
        for name, why in (
            ("cron", "The line is never due, or a range in it runs backwards."),
            ("rrule", "The rule cannot be read, or is never due."),
            ("timezone", _ZONE),
            ("at", "It has passed, or is not in the calendar."),
            ("from", "It is not in the calendar, or a rule that counts has none."),
            ("every", "It is too long."),
            ("between", "The two times are the same."),
            ("solar", "The optional package for the sun is not installed."),
        )
    ),
    Refusal(
        "invalid-job",
        "schedule",
        "It is never due, names no known calendar or country, or "
        "leaves less time from one fire to the next than the job needs.",
    ),
    Refusal("invalid-job", "start", "It is not in the calendar."),
    Refusal("invalid-job", "expires", "It has passed, or lies before the start."),
    Refusal("invalid-job", "jitter", "It is not below the time from one fire to the next."),
    Refusal("invalid-job", "args", _ARGUMENTS),
    Refusal("invalid-job", "kwargs", _ARGUMENTS),
    Refusal("invalid-job", "kwargs.**", _ARGUMENTS),
    *(
        Refusal("invalid-job", name, "Names that begin like this are reserved for the system.")
        for name in ("name", "concurrency_key", "unique_key")
    ),
)
_FILTERED = (
    Refusal("invalid-filter", "filter", _FILTER),
    Refusal("invalid-filter", "filter.**", _FILTER),
    Refusal("unindexed-filter", "filter", _UNINDEXED),
    Refusal("unindexed-filter", "filter.**", _UNINDEXED),
    Refusal("unknown-category", "filter.**", _CATEGORY),
)
_RULE = (
    *(
        Refusal("invalid-field", name, _EXPRESSION)
        for name in ("condition", "recipients", "to", "match", "cancel_match", "context.**")
    ),
    Refusal("unknown-template", "template", _TEMPLATE),
    Refusal("unknown-category", "category", _CATEGORY),
    Refusal("invalid-field", "cancel_on", "It is the event that the rule is for."),
)
_WINDOW = (
    Refusal("unknown-category", "category", _CATEGORY),
    Refusal("invalid-field", "category", "What nobody can refuse waits for no window."),
    Refusal("unknown-template", "late_template", _TEMPLATE),
    Refusal("invalid-field", "timezone", _ZONE),
    Refusal("invalid-field", "country", _COUNTRY),
    Refusal("invalid-window", "begins", "It opens on no day of the next year."),
)

OF_OPERATION: dict[str, tuple[Refusal, ...]] = {
    "create_notification": (
        *_NOTIFICATION,
        Refusal("invalid-request", "idempotency_key", _KEYS),
    ),
    "create_batch": (
        Refusal("invalid-request", "body", _CSV),
        # Of a batch to an audience, by what the query and the body say together.
        *_CONTENT,
        *_TIMES,
        Refusal("invalid-time", "local_time", _TIME),
        Refusal("unknown-audience", "audience", "The project has no audience of this name."),
        *_FILTERED,
        Refusal("unknown-channel", "channel", "Neither the query nor the body names one."),
        Refusal("no-provider", "channel", "No account serves this channel."),
        Refusal("missing-content", "body", "Neither the query nor the body says what is sent."),
        Refusal("missing-content", "html", "There are both a template and HTML of its own."),
        Refusal("unknown-template", "template", _TEMPLATE),
        Refusal("unknown-category", "category", _CATEGORY),
        Refusal("invalid-field", "variables", "The template needs other variables."),
        Refusal("missing-content", "variables", _UNUSED),
        Refusal("invalid-field", "variables.*", "A recipient has no field of this name."),
        Refusal("invalid-request", "idempotency_key", _KEYS),
    ),
    "save_chain": _CHAIN,
    "start_chain": (
        *_CHAIN,
        *_STEP,
        *_TIMES,
        Refusal("invalid-chain", "expires", "A step would be due after it."),
        Refusal("unknown-chain", "chain", "The project has no chain of this name."),
        Refusal("unknown-recipient", "to.recipient", _RECIPIENT),
        Refusal("invalid-field", "recipients.*", "The chain needs an address of this channel."),
        Refusal("invalid-request", "idempotency_key", _KEYS),
    ),
    "create_event": (
        Refusal("invalid-context", "data", _KEPT),
        Refusal("invalid-request", "key", _KEYS),
    ),
    "create_event_rule": _RULE,
    "change_event_rule": _RULE,
    "create_job": _JOB,
    "change_job": (
        *_JOB,
        Refusal("invalid-job", "unique_seconds", _OF_THE_JOB),
        Refusal("handler-not-allowed", "handler", "The job has a handler that may not be named."),
    ),
    "resume_job": (Refusal("invalid-job", "schedule", "It is over: give it a new one."),),
    "backfill_job": (
        Refusal("invalid-job", "since", "There are too many due times in the range."),
        Refusal("invalid-job", "until", "It is not after the begin, or not past."),
        Refusal("invalid-request", "since", "It is not in the calendar."),
        Refusal("invalid-request", "until", "It is not in the calendar."),
    ),
    "create_version": (
        Refusal("invalid-template", "", _SOURCE),
        Refusal("invalid-template", "variants.*.*", _SOURCE),
    ),
    "publish_version": (
        Refusal("invalid-template", "", _SOURCE),
        Refusal("invalid-template", "variants.*.*", _SOURCE),
    ),
    "roll_back_template": (Refusal("invalid-template", "", _SOURCE),),
    "preview_template": (
        Refusal("invalid-context", "context", "The template needs other values."),
        Refusal("invalid-request", "version", "The template has no version of this number."),
        Refusal("unrenderable", "", "The template fails with this context."),
    ),
    "create_suppression": (Refusal("malformed-recipient", "recipient", _ADDRESS),),
    "save_recipient": (
        Refusal("malformed-recipient", "addresses.**", _ADDRESS),
        Refusal("invalid-field", "timezone", _ZONE),
        Refusal("invalid-field", "country", _COUNTRY),
        Refusal("invalid-field", "attributes", _KEPT),
    ),
    "import_recipients": (Refusal("invalid-request", "body", _CSV),),
    "set_preferences": (
        Refusal("unknown-category", "choices.*.category", _CATEGORY),
        Refusal("invalid-field", "choices.*.granted", "This category cannot be refused."),
    ),
    "save_window": (
        *_WINDOW,
        Refusal("unknown-template", "template", "There is no template of this name."),
    ),
    "change_window": (
        *_WINDOW,
        Refusal("invalid-field", "late_channel", _OF_THE_WINDOW),
        Refusal("invalid-field", "late_template", _OF_THE_WINDOW),
    ),
    "save_throttle": (
        Refusal("unknown-category", "category", _CATEGORY),
        Refusal("invalid-field", "category", "A category that nobody can refuse has no throttle."),
        Refusal("invalid-field", "period", "The text is none, or more than 30 days."),
        Refusal("unknown-template", "template", _TEMPLATE),
        Refusal("invalid-context", "template", "It needs more than a digest gives."),
    ),
    "save_audience": _FILTERED,
    "preview_filter": _FILTERED,
    "preview_audience": _FILTERED,
}


def of(operation: Json) -> list[Refusal]:
    """Return what an operation of the document refuses beyond its schema."""
    has_cursor = any(parameter["name"] == "cursor" for parameter in operation["parameters"])
    cursor = [Refusal("invalid-request", "cursor", _CURSOR)] if has_cursor else []
    return [*OF_OPERATION.get(operation["operationId"], ()), *cursor]


def described(operation: Json) -> list[Json]:
    """Return the same as data for the document: the problem's type, its field, and why."""
    return [
        {"type": problems.PATH + rule.kind, "field": rule.field, "reason": rule.why}
        for rule in of(operation)
    ]


def in_words(operation: Json) -> str:
    """Return the same as Markdown; empty where there is nothing."""
    lines = [
        f"* `{rule.kind}`{f' at `{rule.field}`' if rule.field else ''}: {rule.why}"
        for rule in of(operation)
    ]
    said = "A request that fits the schema is refused (422) for what only the system knows:"
    return "\n".join([said, "", *lines]) if lines else ""
