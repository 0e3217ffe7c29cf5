"""The body of a mail with attachments (RFC 2045, RFC 2183, RFC 2387), by Python's ``email``."""

import email
from collections.abc import Mapping
from email import policy
from email.message import EmailMessage
from typing import Any

from notifications.channels.mail import StoredFile

# Every octet is ASCII, so that any server takes it.
_POLICY = policy.SMTP.clone(cte_type="7bit")


def of(content: Mapping[str, Any]) -> bytes:
    """Return the MIME headers and the body, with CRLF line ends.

    Files with a ``content_id`` stand beside the HTML, which shows them; an invitation
    (``text/calendar`` with a method, RFC 6047) is another form of the text, as mail programs
    expect it, and all else is attached. Raises ``TransientError`` for a file that cannot be read.
    """
    files: tuple[StoredFile, ...] = content.get("attachments", ())
    text, html = content.get("text", ""), content.get("html", "")
    inline = [one for one in files if one.content_id and html]
    invitations = [one for one in files if _is_invitation(one)]
    mail = EmailMessage(policy=_POLICY)
    if text or not html:
        mail.set_content(text)
        if html:
            mail.add_alternative(html, subtype="html")
    else:
        mail.set_content(html, subtype="html")
    shown = mail.get_body(("html",)) if html else None
    for one in inline:
        if isinstance(shown, EmailMessage):
            main, sub, params = _typed(one)
            shown.add_related(
                one.read(),
                maintype=main,
                subtype=sub,
                cid=f"<{one.content_id}>",
                filename=one.filename,
                disposition="inline",
                params=params,
            )
    for one in invitations:
        main, sub, params = _typed(one)
        mail.add_alternative(one.read(), maintype=main, subtype=sub, params=params)
    for one in files:
        if one not in inline and one not in invitations:
            main, sub, params = _typed(one)
            mail.add_attachment(
                one.read(), maintype=main, subtype=sub, filename=one.filename, params=params
            )
    del mail["MIME-Version"]
    return mail.as_bytes()


def seven_bit(raw: bytes) -> bytes:
    """Write a mail anew so that each octet of its body is ASCII, for a server without 8BITMIME."""
    return email.message_from_bytes(raw, policy=policy.SMTP).as_bytes(policy=_POLICY)


def _is_invitation(one: StoredFile) -> bool:
    kind = one.content_type.lower()
    return kind.startswith("text/calendar") and "method=" in kind


def _typed(one: StoredFile) -> tuple[str, str, dict[str, str]]:
    header = EmailMessage(policy=_POLICY)
    header["Content-Type"] = one.content_type
    kind = header["Content-Type"]
    return kind.maintype, kind.subtype, dict(kind.params)
