"""The command of the installed package."""

import sys
from importlib import metadata

import pytest

from config import command
from notifications.core import extras


@pytest.mark.parametrize(
    ("name", "package"),
    [("check", "whitenoise"), ("web", "granian"), ("flower", "flower"), ("up", "honcho")],
)
def test_what_an_extra_would_bring_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed
    monkeypatch.setattr(sys, "argv", ["notifications", name])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == (
        f"The ready-made project needs {package}: install the extra, {extras.command('server')}"
    )


def test_the_version_is_that_of_notifications(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metadata, "version", {"notifications": "1.2.3"}.__getitem__)
    monkeypatch.setattr(sys, "argv", ["notifications", "--version"])
    command.main()
    assert capsys.readouterr().out == "notifications 1.2.3\n"
