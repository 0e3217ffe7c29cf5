"""What a local HTTP server answers in place of a provider."""

import json
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Response

from notifications.core.attempt import Result

R = Result


def answers(
    httpserver: HTTPServer, path: Any, body: Any, status: int = 200, headers: Any = None
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    httpserver.expect_request(path).respond_with_response(Response(text, status, headers=headers))


def last(httpserver: HTTPServer) -> Any:
    return httpserver.log[-1][0]
