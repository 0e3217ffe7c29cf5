"""Reading a request's JSON body: of the right type, not too deep, and plain JSON (RFC 8259)."""

import json
from typing import Any, NoReturn

from django.http import HttpRequest
from ninja.parser import Parser

from notifications.api import declared_charset
from notifications.api.problems import Problem
from notifications.core.conf import conf
from notifications.core.text import SHOWN, is_deeper, shown


class JsonParser(Parser):
    """Refuses what is not JSON by its type, its text or its depth."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Read the body. Raises ``Problem``: 400, 413 or 415."""
        if request.content_type != "application/json":
            raise Problem("unsupported-media-type", hint="Send Content-Type: application/json.")
        declared_charset.require_utf_8(request)
        return read_json(request.body)


def read_json(body: bytes) -> Any:
    """Parse JSON in UTF-8; a byte order mark before it is passed over.

    Raises ``Problem`` for anything else, for what is nested too deeply, and for an object with two
    members of one name, of which each reader would take another one (RFC 8259, 4).
    """
    deepest = conf.api_json_depth
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
    except RecursionError:
        raise _too_deep(deepest) from None
    except UnicodeDecodeError as error:
        detail = f"The body is not in UTF-8, as JSON is: byte {error.start} cannot be read."
        raise Problem("malformed-body", detail) from None
    except ValueError as error:  # also a number beyond all bounds
        raise Problem("malformed-body", f"The body is not JSON: {error}.") from None
    if body.count(b"[") + body.count(b"{") > deepest and is_deeper(value, deepest):
        raise _too_deep(deepest)
    return value


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        name = next(name for name in names if names.count(name) > 1)
        raise Problem(
            "malformed-body", f"An object has two members {shown(name)}.", field=name[:SHOWN]
        )
    return found


def _too_deep(deepest: int) -> Problem:
    return Problem("malformed-body", f"The body is nested deeper than {deepest} levels.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
