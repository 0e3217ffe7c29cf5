"""What the OpenAPI document says beside what follows from the code: the refusals."""

from typing import Any

from django.conf import settings

from notifications.api import examples, notification_schema, problems
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
_ROWS = {
    "type": "array",
    "minItems": 1,
    # Neither a type nor a reference: what is not a notification is refused alone, in the answer.
    "items": {"description": "Like NotificationIn."},
}
_BATCH = {
    "title": "Batch",
    "anyOf": [
        _ROWS,
        {
            "type": "object",
            "properties": {
                "common": {"type": "object", "description": "Fields that all rows share."},
                "notifications": _ROWS,
            },
            "required": ["notifications"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {
                "audience": {"type": "string", "description": "The name of a saved audience."},
                "common": {"type": "object", "description": "Fields that all rows share."},
                "variables": {
                    "type": "object",
                    "description": "The template's variables, by what fills them: "
                    "`attributes.…`, `id`, `locale`, `timezone` or `country`, or an object of "
                    "`from` and `default`.",
                },
            },
            "required": ["audience"],
            "additionalProperties": False,
        },
    ],
}
_BATCH_EXAMPLE = {
    "common": {"channel": "email", "subject": "Your receipt"},
    "notifications": [
        {"recipient": "ada@example.org", "body": "Thank you, Ada."},
        {"recipient": "bob@example.org", "body": "Thank you, Bob."},
    ],
}
_RECIPIENTS_CSV = (
    "id,email,push,timezone,plan\ncustomer-17,ada@example.org,token-a|token-b,UTC,gold\n"
)
_SOME_TEXT = {"type": "string", "minLength": 1}
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
    schemas["Problem"] = _PROBLEM
    schemas["StatusCallback"] = _STATUS_CALLBACK
    document["servers"] = [{"url": settings.PUBLIC_URL or "/"}]
    for operations in document["paths"].values():
        for operation in operations.values():
            _link(operation)
            if operation["operationId"] == "create_notification":
                operation["callbacks"] = _CALLBACKS
            _take_body(operation)
            _show_examples(operation)
            for status in _refusals(operation):
                operation["responses"][status] = _response(status)


def _job_schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    definition = {name: part for name, part in jobs.schema().items() if name != "$schema"}
    definition["properties"]["args"].setdefault("items", {})  # generators insist
    change = {
        **{name: part for name, part in definition.items() if name != "required"},
        "title": "JobChange",
        "properties": {
            name: part if name in definition["required"] else {"anyOf": [part, {"type": "null"}]}
            for name, part in definition["properties"].items()
            if name != "name"
        },
    }
    runs_alone = {"properties": {"overlap": {"enum": [Overlap.SKIP, Overlap.QUEUE]}}}
    definition["dependentSchemas"] = {"concurrency_key": {**runs_alone, "required": ["overlap"]}}
    return definition, change


def _link(operation: dict[str, Any]) -> None:
    for name, parameters in _LINKS.get(operation["operationId"], {}).items():
        link = {"operationId": name, "parameters": parameters}
        for status, response in operation["responses"].items():
            if int(status) < 300:
                response.setdefault("links", {})[name] = link


def _take_body(operation: dict[str, Any]) -> None:
    if name := operation.pop("x-body", ""):
        content: dict[str, Any] = {_JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        if name == "Batch":
            content = {
                _JSON: {"schema": _BATCH, "example": _BATCH_EXAMPLE},
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
    if any(one["in"] == "path" for one in operation["parameters"]):
        statuses.append(404)
    if "requestBody" in operation:
        statuses += [413, 415, 422]
    return sorted(statuses)


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
