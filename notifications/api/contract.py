"""What the OpenAPI document says beside what follows from the code: the refusals."""

from typing import Any

from django.conf import settings

from notifications.api import beyond_schema, examples, filter_schema, notification_schema, problems
from notifications.api.fields import OF_A_ROW
from notifications.api.json_schemas import NULL, Json
from notifications.core import routing
from notifications.models import Status
from scheduling import jobs
from scheduling.terms import Overlap

DESCRIPTION = """\
Send notifications, and follow, schedule, cancel and replay them.

* Every request but this document needs a key: `Authorization: Bearer KEY`.
  `manage.py create_api_key NAME` makes one and shows it once.
* What was accepted (201, 202) is stored, and outlives any process or broker.
* A refusal is a problem document (RFC 9457). Its `type` never changes; `field` and `hint` say
  what to mend.
* Every answer has an `X-Request-ID`; yours is taken over if you send one.
* Lists come in pages: pass `next_cursor` as `cursor` until it is null.
"""

_JSON = "application/json"
_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "A refusal, as RFC 9457 has it.",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "enum": [problems.PATH + name for name in problems.KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong with this request."},
        "field": {"type": "string", "description": "The offending part of the request."},
        "hint": {"type": "string", "description": "What to do about it."},
        "errors": {
            "type": "array",
            "description": "Each fault of the body, where there are several.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "request_id": {"type": "string"},
    },
}


# What is final, and so told of; "sent" is told where the provider reports nothing later.
_FINAL = [s for s in Status.values if s not in {Status.SCHEDULED, Status.QUEUED, Status.SENDING}]
_STATUS_CALLBACK: dict[str, Any] = {
    "title": "StatusCallback",
    "description": "What `callback_url` gets, signed as Standard Webhooks says.",
    "type": "object",
    "required": ["type", "timestamp", "data"],
    "properties": {
        "type": {"type": "string", "enum": [f"notification.{status}" for status in _FINAL]},
        "timestamp": {"type": "string", "format": "date-time"},
        "data": {
            "type": "object",
            "required": ["id", "status", "reason", "channel", "reference", "metadata"],
            "properties": {
                "id": {"type": "string", "format": "uuid"},
                "status": {"type": "string", "enum": _FINAL},
                "reason": {"type": "string"},
                "channel": {"type": "string", "enum": list(routing.CHANNELS)},
                "reference": {"type": "string"},
                "metadata": {"type": "object"},
            },
        },
    },
}
_CALLBACKS = {
    "status": {
        "{$request.body#/callback_url}": {
            "post": {
                "summary": "Tell of a notification's final status",
                "operationId": "status_callback",
                "parameters": [
                    {
                        "name": name,
                        "in": "header",
                        "required": True,
                        "schema": {"type": "string"},
                        "description": meaning,
                    }
                    for name, meaning in (
                        ("webhook-id", "The same on each try: take each once."),
                        ("webhook-timestamp", "Seconds since 1970, part of what is signed."),
                        ("webhook-signature", "`v1,` and the HMAC-SHA256 in base64."),
                    )
                ],
                "requestBody": {
                    "required": True,
                    "content": {_JSON: {"schema": {"$ref": "#/components/schemas/StatusCallback"}}},
                },
                "responses": {
                    "2XX": {"description": "Taken. Any other answer is tried again."},
                },
            }
        }
    }
}
# Neither a type nor a reference: what is not a notification is refused alone, in the answer.
_ROWS = {"type": "array", "minItems": 1, "items": {"description": "Like NotificationIn."}}


def _batch(shared: list[str]) -> Json:
    """Return the schema of a batch in JSON, whose rows can share these fields."""
    common = {
        "type": "object",
        "description": "Fields that all rows share.",
        "propertyNames": {"enum": shared},
    }
    return {
        "title": "Batch",
        "anyOf": [
            _ROWS,
            {
                "title": "BatchOfRows",
                "type": "object",
                "properties": {"common": common, "notifications": _ROWS},
                "required": ["notifications"],
                "additionalProperties": False,
            },
            {
                "title": "BatchToAudience",
                "type": "object",
                "properties": {
                    "audience": filter_schema.AUDIENCE,
                    "common": common,
                    "variables": filter_schema.VARIABLES,
                },
                "required": ["audience"],
                "additionalProperties": False,
            },
        ],
    }


_RECIPIENTS_CSV = (
    "id,email,push,timezone,plan\ncustomer-17,ada@example.org,token-a|token-b,UTC,gold\n"
)
_SOME_TEXT = {"type": "string", "minLength": 1}
# What the rest of a job may supply, and so the change need not.
_OF_A_WHOLE_JOB = ("required", "dependentRequired", "dependentSchemas")
# The tasks that send, each with an argument that it needs.
_SENDS = {
    routing.SEND_TASK: "channel",
    routing.SEND_TO_EACH_TASK: "channel",
    routing.SEND_TO_AUDIENCE_TASK: "audience",
}
_UNIQUE = ("unique_key", "unique_seconds")
_IF_BOTH_ARE_NAMED: list[Json] = [
    {
        "anyOf": [
            {"properties": {"concurrency_key": NULL}},
            {"properties": {"overlap": {"enum": [Overlap.SKIP, Overlap.QUEUE]}}},
        ]
    },
    {
        "anyOf": [
            {"properties": dict.fromkeys(_UNIQUE, NULL)},
            {"properties": {name: {"not": NULL} for name in _UNIQUE}},
        ]
    },
]
_CSV = "recipient,name\nada@example.org,Ada\n"
# Where the answer of one operation leads to: operation → those that take a part of its answer.
_LINKS: dict[str, dict[str, dict[str, str]]] = {
    "create_notification": {
        name: {"id": "$response.body#/id"} for name in ("get_notification", "cancel_notification")
    },
    "create_batch": {
        name: {"id": "$response.body#/id"}
        for name in ("get_batch", "pause_batch", "resume_batch", "cancel_batch")
    },
    "save_recipient": {
        name: {"id": "$response.body#/id"} for name in ("get_recipient", "delete_recipient")
    },
    "save_window": {
        name: {"id": "$response.body#/id"} for name in ("change_window", "delete_window")
    },
    "save_audience": {
        name: {"name": "$response.body#/name"}
        for name in ("get_audience", "preview_audience", "delete_audience")
    },
    "create_suppression": {"lift_suppression": {"id": "$response.body#/id"}},
    "create_job": {
        name: {"id": "$response.body#/id"}
        for name in (
            *("get_job", "change_job", "pause_job", "resume_job", "run_job"),
            *("backfill_job", "list_next_fires", "list_fires", "delete_job"),
        )
    },
    "create_template": {
        name: {"name": "$response.body#/name"}
        for name in ("get_template", "create_version", "preview_template", "roll_back_template")
    },
    "create_version": {
        name: {"name": "$request.path.name", "number": "$response.body#/number"}
        for name in ("get_version", "publish_version")
    },
    "create_bulk_replay": {"get_bulk_replay": {"id": "$response.body#/id"}},
}


def complete(document: dict[str, Any]) -> None:
    """Add the schema of jobs, and to each operation the refusals that it may answer with."""
    schemas = document["components"]["schemas"]
    # They depend on the handlers that are allowed.
    schemas["JobDefinition"], schemas["JobChange"] = _job_schemas()
    notification_schema.complete(schemas)
    filter_schema.complete(schemas)
    batch = _batch(sorted(schemas["NotificationIn"]["properties"].keys() - OF_A_ROW))
    schemas["Problem"] = _PROBLEM
    schemas["StatusCallback"] = _STATUS_CALLBACK
    document["servers"] = [{"url": settings.PUBLIC_URL or "/"}]
    for operations in document["paths"].values():
        for operation in operations.values():
            _link(operation)
            if operation["operationId"] == "create_notification":
                operation["callbacks"] = _CALLBACKS
            _take_body(operation, batch)
            _show_examples(operation)
            for status in _refusals(operation):
                operation["responses"][status] = _response(status)
            _tell_beyond_schema(operation)


def _job_schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    definition = {name: part for name, part in jobs.schema().items() if name != "$schema"}
    definition["properties"]["args"].setdefault("items", {})  # generators insist
    sending = [_that_sends(*item) for item in _SENDS.items()]
    of_others = [h for h in definition["properties"]["handler"]["enum"] if h not in _SENDS]
    others = [{"properties": {"handler": {"enum": of_others}}}] if of_others else []
    definition["allOf"] = [{"anyOf": [*others, *sending]}]
    change = {
        **{name: part for name, part in definition.items() if name not in _OF_A_WHOLE_JOB},
        "title": "JobChange",
        "allOf": _IF_BOTH_ARE_NAMED,
        "properties": {
            name: part if name in definition["required"] else {"anyOf": [part, NULL]}
            for name, part in definition["properties"].items()
            if name != "name"
        },
    }
    return definition, change


def _that_sends(handler: str, needed: str) -> Json:
    """Say of a job that sends that its arguments have names; ``needed`` is one of them."""
    kwargs = {"type": "object", "required": [needed]}
    return {
        "properties": {
            "handler": {"const": handler},
            "args": {"type": "array", "maxItems": 0},
            "kwargs": kwargs,
        },
        "required": ["kwargs"],
    }


def _link(operation: dict[str, Any]) -> None:
    for name, parameters in _LINKS.get(operation["operationId"], {}).items():
        link = {"operationId": name, "parameters": parameters}
        for status, response in operation["responses"].items():
            if int(status) < 300:
                response.setdefault("links", {})[name] = link


def _take_body(operation: Json, batch: Json) -> None:
    if name := operation.pop("x-body", ""):
        content: dict[str, Any] = {_JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        if name == "Batch":
            content = {
                _JSON: {"schema": batch},
                "text/csv": {"schema": _SOME_TEXT, "example": _CSV},
            }
        elif name == "Recipients":
            content = {"text/csv": {"schema": _SOME_TEXT, "example": _RECIPIENTS_CSV}}
        operation["requestBody"] = {"content": content, "required": True}


def _show_examples(operation: dict[str, Any]) -> None:
    if bodies := examples.BODIES.get(operation["operationId"]):
        operation["requestBody"]["content"][_JSON]["examples"] = {
            name: {"value": body} for name, body in bodies.items()
        }


def _refusals(operation: dict[str, Any]) -> list[int]:
    """Return the statuses that an operation may refuse with, besides those that it declares."""
    statuses = [400, 503, *operation.pop("x-refusals", ())]
    if operation.get("security"):
        statuses += [401, 403, 429]
    if operation.get("parameters"):
        statuses.append(422)
    if any(parameter["in"] == "path" for parameter in operation["parameters"]):
        statuses.append(404)
    if "requestBody" in operation:
        statuses += [413, 415, 422]
    return sorted(statuses)


def _tell_beyond_schema(operation: Json) -> None:
    """List what is refused of a request that fits the schema, as words and as data."""
    if words := beyond_schema.in_words(operation):
        operation["description"] = f"{operation.get('description', '')}\n\n{words}".strip()
        operation["responses"][422]["x-problems"] = beyond_schema.described(operation)


def _response(status: int) -> dict[str, Any]:
    titles = [kind.title for kind in problems.KINDS.values() if kind.status == status]
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = {
            "description": "Seconds after which to try again.",
            "schema": {"type": "integer"},
        }
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    return {
        "description": " ".join(titles),
        "content": {
            problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
        **({"headers": headers} if headers else {}),
    }


def refuses(*statuses: int, body: str = "") -> dict[str, Any]:
    """Say, as ``openapi_extra`` of an operation, which further refusals it may answer with.

    ``body`` names a schema of its body that is known only when the document is made.
    """
    return {"x-refusals": list(statuses), **({"x-body": body} if body else {})}
