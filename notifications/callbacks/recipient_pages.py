"""What the pages have in common that recipients see: one language, and nothing kept of them.

Their texts have contexts of their own in the catalogues, so that a page whose language has no
catalogue of ours is English as a whole, whatever Django itself has translated.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import pgettext


@contextmanager
def in_language_of(request: HttpRequest, locale: str) -> Iterator[None]:
    """Speak a recipient's language; where none is known, that of their browser."""
    language = locale.replace("_", "-") or translation.get_language_from_request(request)
    with translation.override(language):
        yield


def answer(
    request: HttpRequest, template: str, context: Mapping[str, Any], status: int = 200
) -> HttpResponse:
    """Render a page in the language at hand, and say in it which one that is."""
    language = pgettext("the language of this page", "en")
    is_leftward = language.partition("-")[0] in settings.LANGUAGES_BIDI
    spoken = {"language": language, "direction": "rtl" if is_leftward else "ltr"}
    response = render(request, template, {**context, **spoken}, status=status)
    response["Content-Language"] = language
    response["Referrer-Policy"] = "no-referrer"  # the address of these pages is the secret
    response["Cache-Control"] = "no-store"
    return response
