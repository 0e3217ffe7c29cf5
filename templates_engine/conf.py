"""The settings that this package reads, with their defaults."""

from typing import TypedDict

from django.conf import settings


class RenderingSettings(TypedDict):
    """What a rendering takes from the settings."""

    base_url: str
    default_locale: str
    max_segments: int


def rendering_settings() -> RenderingSettings:
    """Read ``TEMPLATES_BASE_URL`` (none), ``TEMPLATES_DEFAULT_LOCALE`` (``LANGUAGE_CODE``) and
    ``TEMPLATES_MAX_SMS_SEGMENTS`` (10).
    """
    return {
        "base_url": getattr(settings, "TEMPLATES_BASE_URL", ""),
        "default_locale": getattr(settings, "TEMPLATES_DEFAULT_LOCALE", settings.LANGUAGE_CODE),
        "max_segments": getattr(settings, "TEMPLATES_MAX_SMS_SEGMENTS", 10),
    }
