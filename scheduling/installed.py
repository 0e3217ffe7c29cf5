"""Which apps a Django project has to have in INSTALLED_APPS, asked before Django misses them.

Django would say of a model of ours that it is in no application, and not what to add.
"""

from collections.abc import Iterable

from django.apps import apps as registry
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def require(apps: Iterable[str], remedy: str) -> None:
    """Raise ``ImproperlyConfigured`` with the remedy, if INSTALLED_APPS lacks one of the apps.

    An app is named as its package, or as its configuration's class where only that one will do.
    """
    there = {form for entry in settings.INSTALLED_APPS for form in (entry, _package(entry))}
    if lacking := [name for name in apps if name not in there]:
        raise ImproperlyConfigured(f"INSTALLED_APPS lacks {', '.join(lacking)}: {remedy}")


def require_own(app: str, remedy: str) -> None:
    """Raise ``ImproperlyConfigured`` with the remedy, if the app is not there, as its models ask.

    Raises ``AppRegistryNotReady`` before Django is set up.
    """
    if not registry.is_installed(app):
        raise ImproperlyConfigured(f"INSTALLED_APPS lacks {app}: {remedy}")


def _package(entry: str) -> str:
    """Return the package of an entry, which may be its configuration's class."""
    return entry.partition(".apps.")[0]
