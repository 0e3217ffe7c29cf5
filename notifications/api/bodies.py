"""Reading a request's JSON body: of the right type, not too deep, and plain JSON (RFC 8259)."""

import json
from typing import Any, NoReturn

from django.http import HttpRequest
from ninja.parser import Parser

from notifications.api import declared_charset
from notifications.api.problems import Problem
from notifications.core.conf import conf
from notifications.core.text import is_deeper


class JsonParser(Parser):
    """Refuses what is not JSON by its type, its text or its depth."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Read the body. Raises ``Problem``: 400, 413 or 415."""
        if request.content_type != "application/json":
            raise Problem("unsupported-media-type", hint="Send Content-Type: application/json.")
        declared_charset.codec_of(request)
        return read_json(request.body)


def read_json(body: bytes) -> Any:
    """Parse JSON. Raises ``Problem`` for anything else, and for what is nested too deeply."""
    deepest = conf.api_json_depth
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep(deepest) from None
    except ValueError as error:  # also an undecodable byte, or a number beyond all bounds
        raise Problem("malformed-body", f"The body is not JSON: {error}.") from None
    if body.count(b"[") + body.count(b"{") > deepest and is_deeper(value, deepest):
        raise _too_deep(deepest)
    return value


def _too_deep(deepest: int) -> Problem:
    return Problem("malformed-body", f"The body is nested deeper than {deepest} levels.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
