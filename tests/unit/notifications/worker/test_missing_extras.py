"""What an extra would bring is named with the command that installs it, before it is used."""

import sys
from typing import Any

import pytest

from notifications.core import extras
from notifications.worker import checks


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("storages", "opentelemetry"):
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed


def hints() -> list[str | None]:
    return [error.hint for error in checks.check_settings()]


def test_a_storage_whose_library_is_missing_names_the_extra(settings: Any) -> None:
    backend = "storages.backends.s3.S3Storage"
    settings.STORAGES = {**settings.STORAGES, "bucket": {"BACKEND": backend}}
    settings.NOTIFICATIONS_ATTACHMENT_STORAGE = "bucket"
    assert hints() == [f"Install it: {extras.command('s3')}"]


def test_a_storage_that_is_there_is_taken(settings: Any) -> None:
    settings.NOTIFICATIONS_ATTACHMENT_STORAGE = "default"
    assert hints() == []


def test_a_storage_that_is_nowhere_is_named(settings: Any) -> None:
    settings.STORAGES = {**settings.STORAGES, "bucket": {"BACKEND": "shop.files.Storage"}}
    settings.NOTIFICATIONS_ATTACHMENT_STORAGE = "bucket"
    (error,) = checks.check_settings()
    assert "bucket, whose BACKEND is not there: shop.files.Storage" in error.msg


def test_traces_without_their_library_name_the_extra(settings: Any) -> None:
    settings.NOTIFICATIONS_TRACING = True
    assert hints() == [f"Install it: {extras.command('otel')}"]
