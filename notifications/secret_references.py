"""Secrets by reference: a row names the environment variable or the file that holds one."""

import os
from pathlib import Path


class BadReference(ValueError):
    """The text refers to no secret; the message holds no part of one."""


def check_reference(reference: object) -> tuple[str, str]:
    """Split ``env:NAME`` or ``file:PATH`` into its kind and place. Raises ``BadReference``."""
    kind, _, place = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if kind not in ("env", "file") or not place or (kind == "file" and not place.startswith("/")):
        raise BadReference("Write env:NAME or file:/PATH; the secret itself is not stored.")
    return kind, place


def resolve(reference: str) -> str:
    """Look a secret up. Raises ``BadReference`` where there is none."""
    kind, place = check_reference(reference)
    if kind == "env":
        found = os.environ.get(place, "")
    else:
        try:
            found = Path(place).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadReference(f"{reference} cannot be read: {type(error).__name__}.") from None
    if not found:
        raise BadReference(f"{reference} is empty or not set.")
    return found
