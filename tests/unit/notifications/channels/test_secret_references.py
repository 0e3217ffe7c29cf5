"""What an account's reference reaches: secrets that were put there for accounts, and no more."""

import os
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from notifications.channels import bounded_file
from notifications.channels.secret_references import BadReference, resolve


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Any:
    settings.SECRETS_DIR = str(tmp_path / "secrets")
    settings.VAR_DIR = tmp_path / "var"
    settings.SECRETS_NAMES = ["OLD_TOKEN"]
    for name in ("secrets", "var", "secrets-too"):
        (tmp_path / name).mkdir()
    return tmp_path / "secrets"


def test_a_secret_is_read_from_the_folder_or_a_variable_for_accounts(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "..data").mkdir()
    (folder / "..data" / "token").write_text(" t0ken\n")
    (folder / "linked").symlink_to(folder / "..data" / "token")  # as Kubernetes mounts them
    monkeypatch.setenv("SECRET_TWILIO", "12345")
    monkeypatch.setenv("OLD_TOKEN", "old")
    assert resolve(f"file:{folder}/linked") == resolve("file:linked") == "t0ken"
    assert resolve("env:SECRET_TWILIO") == "12345"
    assert resolve("env:OLD_TOKEN") == "old"


@pytest.mark.parametrize(
    "reference",
    [
        *(
            "file:/etc/passwd",
            "file:/proc/self/environ",
            "file:../var/secret_key",
            "file:",
            "file:.",
        ),
        *("file:secrets/../../var/secret_key", "file:out", "file:up/passwd", "file:\x00", "file:/"),
        *("file:../secrets-too/x", "file:key_of_this_system", "file://etc/passwd"),
        *("env:PATH", "env:SECRET_KEY", "env:SECRET_KEY_FILE", "env:DATABASE_URL", "env:", "env"),
        *("env:SECRET_NOT_SET", "env:SECRET_X_FILE", "s3cret", "http://x.example", "", None, 7),
    ],
)
def test_nothing_else_is_reached(
    folder: Any, monkeypatch: pytest.MonkeyPatch, reference: Any
) -> None:
    for name in ("var/secret_key", "secrets-too/x", "secrets/key_of_this_system"):
        (folder.parent / name).write_text("leaked")
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "up").symlink_to("/etc")
    for name in ("SECRET_KEY", "DATABASE_URL", "SECRET_X_FILE"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("SECRET_KEY_FILE", str(folder / "key_of_this_system"))
    with pytest.raises(BadReference) as refused:
        resolve(reference)
    assert "leaked" not in str(refused.value)


def test_a_pipe_a_device_a_folder_or_a_huge_file_holds_nobody_up(folder: Any) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with (folder / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    (folder / "odd").write_bytes(b"\xff\xfe")
    for name in ("pipe", "folder", "huge", "odd", "none"):
        with pytest.raises(BadReference, match="cannot be read"):
            resolve(f"file:{name}")
    for device in ("/dev/zero", "/dev/full"):
        with pytest.raises((OSError, ValueError)):
            bounded_file.read(device)
