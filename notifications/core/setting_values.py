"""What the text of a setting may be: what cannot work is refused at the start, by its name.

Each of these takes a text, or a list of texts by ``each``, and raises ``ValidationError``, which
says what to write instead. It does not repeat a text that stands alone, which may be a secret. An
empty text is a setting that is not set.
"""

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from environs import ValidationError

Check = Callable[[str], None]

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_LONGEST_NAME = 253  # octets (RFC 1035, 2.3.4)


HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
HEADER_NAME_START = re.compile(r"[!-9;-~]+")  # or a whole name
FILE_KIND = re.compile(r"\.[^\s/]+|[^\s/.][^\s/]*/[^\s/]+")
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HEADER_VALUE = re.compile(r"[!-~ ]+")


def each(check: Check) -> Callable[[Iterable[str]], None]:
    """Return what checks every one of several texts."""

    def check_all(texts: Iterable[str]) -> None:
        for text in texts:
            try:
                check(text)
            except ValidationError as error:
                raise ValidationError(f"{text!r}: {' '.join(error.messages)}") from None

    return check_all


def like(pattern: re.Pattern[str], hint: str) -> Check:
    """Return what asks for a text that matches the whole pattern."""

    def check(text: str) -> None:
        _demand(text == "" or pattern.fullmatch(text) is not None, hint)

    return check


def host(text: str) -> None:
    """Ask for a name or an address of a machine, without scheme, port or path."""
    hint = "Use a name or an address alone: notify.example.org."
    _demand(text == "" or _is_host(text), hint)


def allowed_host(text: str) -> None:
    """Ask for what Django's ALLOWED_HOSTS may have."""
    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text.removeprefix(".")
    _demand(
        text in {"", "*"} or _is_host(bare),
        "Use a name alone, without https:// and port: notify.example.org, or .example.org for all "
        "names below it.",
    )


def network(text: str) -> None:
    """Ask for a name, an address or a network."""
    try:
        ip_network(text)
    except ValueError:
        _demand(
            text == "" or (_is_host(text) and "/" not in text),
            "Use a name, an address, or a network by its first address: 10.0.0.0/8.",
        )


def web_address(text: str) -> None:
    """Ask for the address of a web site, which other addresses begin with."""
    hint = "Use an address like https://notify.example.org, without spaces, ? and #."
    _demand(text == "" or is_web_address(text), hint)


def is_web_address(text: str) -> bool:
    """Return whether a text is the address of a web site, which other addresses begin with."""
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0  # reading a bad port raises
    except ValueError:
        return False
    return (
        parts.scheme in {"https", "http"}
        and has_port
        and _is_host(parts.hostname or "")
        and not (parts.query or parts.fragment or re.search(r"[\s?#]", text))
    )


def origin(text: str) -> None:
    """Ask for an origin, as Django's CSRF_TRUSTED_ORIGINS has it: scheme, host and port alone."""
    plain = text.replace("://*.", "://", 1)
    is_origin = is_web_address(plain) and urlsplit(plain).path == ""
    hint = "Use scheme and name alone: https://notify.example.org, or https://*.example.org."
    _demand(text == "" or is_origin, hint)


def file(text: str) -> None:
    """Ask for a file that this process can read."""
    if text:
        try:
            with Path(text).open("rb"):
                return
        except OSError as error:
            raise ValidationError(f"The file cannot be read ({error.strerror}).") from None


def folder(text: str) -> None:
    """Ask for a folder that is there."""
    _demand(text == "" or _is(Path.is_dir, text), "There is no such folder.")


def folder_if_there(text: str) -> None:
    """Ask for a folder, which may come later."""
    _demand(not _is(Path.is_file, text), "It is a file, not a folder.")


def _is(kind: Callable[[Path], bool], text: str) -> bool:
    try:
        return kind(Path(text))
    except OSError:  # such as a name that is too long for one
        return False


def _is_host(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None
    return True


def _demand(is_right: bool, hint: str) -> None:  # noqa: FBT001 -- what each question above asks
    if not is_right:
        raise ValidationError(f"It cannot work. {hint}")
