"""The settings that this package reads, with their defaults."""

from typing import TypedDict

from django.conf import settings

from templates_engine.parts import PARTS


class RenderingSettings(TypedDict):
    """What a rendering takes from the settings."""

    base_url: str
    default_locale: str
    max_segments: int
    keep_typography: bool


def channels() -> tuple[str, ...]:
    """Return the channels that a new template may be for: the setting ``TEMPLATES_CHANNELS``."""
    return tuple(getattr(settings, "TEMPLATES_CHANNELS", PARTS))


def has_two_person_rule() -> bool:
    """Return whether people publish only what others wrote: ``TEMPLATES_TWO_PERSON_RULE``."""
    return bool(getattr(settings, "TEMPLATES_TWO_PERSON_RULE", False))


def rendering_settings() -> RenderingSettings:
    """Return the settings for rendering, each with its default.

    They are ``TEMPLATES_BASE_URL`` (none), ``TEMPLATES_DEFAULT_LOCALE`` (``LANGUAGE_CODE``),
    ``TEMPLATES_MAX_SMS_SEGMENTS`` (10) and ``TEMPLATES_KEEP_SMS_TYPOGRAPHY`` (False).
    """
    return {
        "base_url": getattr(settings, "TEMPLATES_BASE_URL", ""),
        "default_locale": getattr(settings, "TEMPLATES_DEFAULT_LOCALE", "")
        or settings.LANGUAGE_CODE,
        "max_segments": getattr(settings, "TEMPLATES_MAX_SMS_SEGMENTS", 10),
        "keep_typography": getattr(settings, "TEMPLATES_KEEP_SMS_TYPOGRAPHY", False),
    }
