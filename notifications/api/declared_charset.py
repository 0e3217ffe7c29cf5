"""The charset that a request declares, read before Django makes a request of it.

Django reads the query by the charset of the body where Python has a codec of that name. Codecs
that are no charset (``rot13``, ``zip``, ``punycode``) raise there, before any middleware, and so
does a query with too many fields: the caller would get a bare 500. So the API's requests come to
Django with ``declared_charset`` in the place of ``charset``; the reader of a body looks there.
"""

import codecs
import re
from collections.abc import MutableMapping
from typing import Any

from django.core.signals import request_started
from django.http import HttpRequest
from django.utils.http import parse_header_parameters

from notifications.api import charsets
from notifications.api.problems import Problem

# Below /v2/ is GOV.UK Notify's API.
PATHS = ("/api/", "/v2/")
_DECLARED = "declared_charset"  # RFC 2231 in Python knows no name with a hyphen
_CHARSET = re.compile(r";\s*charset(?=[\s*=])", re.IGNORECASE)
# Codecs of text that raise for what is in every query.
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined"})
_ASCII = bytes(range(0x20, 0x7F))


def connect() -> None:
    """Look at each request before Django reads it, in whichever project this app is."""
    request_started.connect(_look, dispatch_uid="notifications.declared_charset")


def codec_of(request: HttpRequest) -> str:
    """Return the codec of the charset that a request declares; empty where it declares none.

    Raises ``Problem`` (415) for a charset that is none.
    """
    params = request.content_params or {}
    declared = params.get(_DECLARED) or params.get("charset", "")
    codec = charsets.codec_of(declared)
    if declared and not codec:
        hint = "Send it in UTF-8, or declare the charset by its registered name."
        raise Problem("unsupported-media-type", "The charset is not known.", hint=hint)
    return codec


def require_utf_8(request: HttpRequest) -> None:
    """Refuse a body of JSON in another charset (RFC 8259, 8.1). Raises ``Problem`` (415)."""
    if codec_of(request) not in ("", charsets.UTF_8):
        hint = "Send it in UTF-8, with Content-Type: application/json."
        raise Problem("unsupported-media-type", "JSON is in UTF-8 alone.", hint=hint)


def _look(
    environ: MutableMapping[str, Any] | None = None,
    scope: MutableMapping[str, Any] | None = None,
    **_: object,
) -> None:
    if environ is not None and ";" in environ.get("CONTENT_TYPE", ""):
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        environ["CONTENT_TYPE"] = _readable(environ["CONTENT_TYPE"], path)
    elif scope is not None:
        scope["headers"] = [
            (name, _readable(value.decode("latin-1"), scope["path"]).encode("latin-1"))
            if name.lower() == b"content-type"
            else (name, value)
            for name, value in scope.get("headers", ())
        ]


def _readable(content_type: str, path: str) -> str:
    """Return a content type by which Django can make a request."""
    try:
        charset = parse_header_parameters(content_type)[1].get("charset")
    except ValueError:  # a parameter in a charset that does not exist (RFC 2231)
        return f"{content_type.partition(';')[0]}; {_DECLARED}=unknown"
    if charset is None or not (path.startswith(PATHS) or _breaks(charset)):
        return content_type
    return _CHARSET.sub(f"; {_DECLARED}", content_type)


def _breaks(charset: str) -> bool:
    try:
        if codecs.lookup(charset).name in _NO_CHARSETS:
            return True
    except LookupError:  # Django passes over it
        return False
    except ValueError:
        return True
    try:
        _ASCII.decode(charset)
    except UnicodeDecodeError:  # Django reads the query as ISO 8859-1
        return False
    except (LookupError, ValueError):
        return True
    return False
