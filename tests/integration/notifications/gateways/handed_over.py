"""A mail as a program hands it over."""

from email.message import EmailMessage
from typing import Any

SENDER = "billing@example.org"


def mail(**headers: Any) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"Billing <{SENDER}>"
    message["To"] = "Ada <ada@example.org>"
    message["Subject"] = "Grüße"
    message["Date"] = "Thu, 26 Nov 2026 07:00:00 +0000"
    message["Message-ID"] = "<1@legacy.example>"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("Dear Ada\n.\n..\n")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    message.set_boundary("=_the_same")
    return message
