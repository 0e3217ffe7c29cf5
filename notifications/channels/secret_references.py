"""Secrets by reference: a row names the environment variable or the file that holds one.

Whoever may edit an account decides where its secrets go, so a reference reaches only what was put
there for accounts: files below ``SECRETS_DIR``, and variables whose names begin with ``SECRET_`` or
stand in ``SECRETS_NAMES``. The settings' own secrets are never among them.
"""

import os
from pathlib import Path

from django.conf import settings

from notifications.channels import bounded_file

PREFIX = "SECRET_"
_OF_FILES = "_FILE"  # NAME_FILE names the file of the setting NAME


class BadReference(ValueError):
    """The text refers to no secret of an account; the message holds no part of one."""


def check_reference(reference: object) -> tuple[str, str]:
    """Split ``env:NAME`` or ``file:PATH`` into its kind and place.

    A path may be relative to ``SECRETS_DIR``. Raises ``BadReference``.
    """
    kind, _, place = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if kind == "env" and place:
        _check_name(place)
    elif kind == "file" and place and "\x00" not in place:
        place = str(_inside(place))
    else:
        raise BadReference("Write env:NAME or file:PATH; the secret itself is not stored.")
    return kind, place


def resolve(reference: str) -> str:
    """Look a secret up. Raises ``BadReference`` where there is none."""
    kind, place = check_reference(reference)
    if kind == "env":
        secret = os.environ.get(place, "")
    else:
        try:
            secret = bounded_file.read(place).strip()
        except (OSError, ValueError) as error:
            raise BadReference(f"{reference} cannot be read: {type(error).__name__}.") from None
    if not secret:
        raise BadReference(f"{reference} is empty or not set.")
    return secret


def _check_name(name: str) -> None:
    if name.startswith("SECRET_KEY") or name.endswith(_OF_FILES):
        raise BadReference(f"env:{name} is a setting of this system.")
    if not (name.startswith(PREFIX) or name in settings.SECRETS_NAMES):
        raise BadReference(
            f"env:{name} is not an account's to read. Rename the variable to {PREFIX}{name}, "
            "or list it in SECRETS_NAMES."
        )


def _inside(place: str) -> Path:
    folder = Path(settings.SECRETS_DIR).resolve()
    path = (folder / place).resolve()  # a link leads where it leads
    if not path.is_relative_to(folder) or path == folder:
        raise BadReference(f"file:{place} is outside SECRETS_DIR ({settings.SECRETS_DIR}).")
    if path in _files_of_settings():
        raise BadReference(f"file:{place} holds a setting of this system.")
    return path


def _files_of_settings() -> set[Path]:
    return {
        Path(value).resolve()
        for name, value in os.environ.items()
        if name.endswith(_OF_FILES) and value and "\x00" not in value
    } | {Path(settings.VAR_DIR).resolve() / "secret_key"}
