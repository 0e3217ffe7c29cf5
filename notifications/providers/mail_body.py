"""The body of a mail with attachments (RFC 2045, RFC 2183, RFC 2387), by Python's ``email``.

What callers name is written here, letter by letter: ``email`` reads a value before it writes it,
and would decode what looks like an encoded word (RFC 2047), line breaks in it included.
"""

import email
import re
from base64 import encodebytes
from collections.abc import Iterator, Mapping
from email import policy
from email.message import EmailMessage, Message
from email.utils import collapse_rfc2231_value
from typing import Any
from urllib.parse import quote

from notifications.channels.mail import UNKNOWN_TYPE, StoredFile, is_whole_mail

# Every octet is ASCII, so that any server takes it, and a header stays as it was written.
_POLICY = policy.SMTP.clone(cte_type="7bit", refold_source="none")
# The older one decodes no header of a mail that somebody else wrote.
_AS_WRITTEN = policy.compat32.clone(
    cte_type="7bit", linesep="\r\n", mangle_from_=False, max_line_length=None
)
LONGEST_VALUE = 60  # characters of a parameter on one line
_PARAMETER = re.compile(r'; ?([A-Za-z0-9-]+)=(?:"([^"]*)"|([^;]*))')
_OCTETS = re.compile(r"(?:%..|[^%]){1,18}")  # whole octets, of at most 54 characters


def of(content: Mapping[str, Any]) -> bytes:
    """Return the MIME headers and the body, with CRLF line ends.

    Files with a ``content_id`` stand beside the HTML, which shows them; an invitation
    (``text/calendar`` with a method, RFC 6047) is another form of the text, as mail programs
    expect it, and all else is attached. Raises ``TransientError`` for a file that cannot be read.
    """
    files: tuple[StoredFile, ...] = content.get("attachments", ())
    text, html = content.get("text", ""), content.get("html", "")
    inline = [file for file in files if file.content_id and html]
    invitations = [file for file in files if _is_invitation(file)]
    mail = EmailMessage(policy=_POLICY)
    if text or not html:
        mail.set_content(text)
        if html:
            mail.add_alternative(html, subtype="html")
    else:
        mail.set_content(html, subtype="html")
    shown = mail.get_body(("html",)) if html else None
    if inline and isinstance(shown, EmailMessage):
        shown.make_related()
        for file in inline:
            shown.attach(_part(file, "inline"))
    for file in invitations:
        if mail.get_content_type() != "multipart/alternative":
            mail.make_alternative()
        mail.attach(_part(file))
    attached = [file for file in files if file not in inline and file not in invitations]
    if attached:
        mail.make_mixed()
        for file in attached:
            mail.attach(_part(file, "attachment"))
    del mail["MIME-Version"]
    return mail.as_bytes()


def seven_bit(raw: bytes) -> bytes:
    """Write a mail anew so that each octet of its body is ASCII, for a server without 8BITMIME."""
    mail = email.message_from_bytes(raw, policy=_AS_WRITTEN)
    for part in mail.walk():
        for name, value in [*part.raw_items()]:
            if name.lower() in OF_A_FILE and not str(value).isascii():
                text = str(value).encode("ascii", "surrogateescape").decode("utf-8", "replace")
                part.replace_header(name, in_ascii(name, text))
        if not part.is_multipart() and not str(part.get_payload()).isascii():
            octets = part.get_payload(decode=True)
            del part["Content-Transfer-Encoding"]
            part["Content-Transfer-Encoding"] = "base64"
            part.set_payload(encodebytes(octets if isinstance(octets, bytes) else b"").decode())
    return mail.as_bytes(policy=_AS_WRITTEN)


OF_A_FILE = ("content-type", "content-disposition")  # headers whose parameters name a file


def in_ascii(name: str, value: str) -> str:
    """Write a header whose parameters have letters that are not ASCII, so that they are kept."""
    header = Message()
    header[name] = value
    (kind, _), *given = header.get_params(failobj=[("", "")], header=name)
    named = ((key, collapse_rfc2231_value(value)) for key, value in given)
    return _folded(kind, *(written for key, value in named for written in parameter(key, value)))


def parameter(name: str, value: str) -> Iterator[str]:
    """Write a parameter of a header so that readers get the value as it is.

    What they could take for an encoded word is written in percent, which nobody decodes twice
    (RFC 2231, 3 and 4), and so is what is long or not ASCII.
    """
    if value.isascii() and "=?" not in value and len(value) <= LONGEST_VALUE:
        escaped = re.sub(r'(["\\])', r"\\\1", value)
        yield f'{name}="{escaped}"'
        return
    pieces = _OCTETS.findall(quote(value, safe=""))
    if len(pieces) == 1:
        yield f"{name}*=utf-8''{pieces[0]}"
        return
    for number, piece in enumerate(pieces):
        yield f"{name}*{number}*={'' if number else _CHARSET}{piece}"


_CHARSET = "utf-8''"


def _is_invitation(file: StoredFile) -> bool:
    kind = file.content_type.lower()
    return kind.startswith("text/calendar") and "method=" in kind


def _part(file: StoredFile, disposition: str = "") -> EmailMessage:
    """Return a file as a part; without a disposition it is a form of the text."""
    part = EmailMessage(policy=_POLICY)
    part.set_raw("Content-Type", _typed(file.content_type))
    part.set_raw("Content-Transfer-Encoding", "base64")
    if disposition:
        named = parameter("filename", file.filename) if file.filename else ()
        part.set_raw("Content-Disposition", _folded(disposition, *named))
    if disposition == "inline":
        part.set_raw("Content-ID", f"<{file.content_id}>")
    part.set_payload(encodebytes(file.read()).decode("ascii"))
    return part


def _typed(content_type: str) -> str:
    """Write a type. A whole mail must not be in base64 (RFC 2046, 5.2.1): it is a file."""
    kind = content_type.partition(";")[0]
    if is_whole_mail(kind):
        return UNKNOWN_TYPE
    given = _PARAMETER.findall(content_type)
    return _folded(
        kind,
        *(written for name, quoted, bare in given for written in parameter(name, quoted or bare)),
    )


def _folded(*parts: str) -> str:
    return ";\n ".join(parts)
