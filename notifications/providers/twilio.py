"""SMS by Twilio's REST API: https://www.twilio.com/docs/messaging/api/message-resource."""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.http import HttpRequest

from notifications.channels.base import Account, Content, ForgedCallback, Message, Receipt, Reply
from notifications.channels.http import (
    HttpProvider,
    accepted,
    classify,
    credentials_refused,
    json_object,
    too_long,
)
from notifications.channels.http_client import Answer
from notifications.core.errors import AccountRefused, InvalidRecipient
from notifications.providers import sms_senders

LONGEST_TTL = 36_000  # seconds, Twilio's own limit of ValidityPeriod

# No such number, no mobile phone, or it said STOP: https://www.twilio.com/docs/api/errors
_DEAD_NUMBER = {"21211", "21614", "21610", "21217"}
# The sender is not ours or cannot text, the country is not allowed, a trial, a full queue.
_OF_ACCOUNT = frozenset(
    {"21212", "21603", "21606", "21607", "21608", "21611", "21659", "21660", "21408", "21703"}
)
LONGEST_TEXT = 1600  # characters (error 21617)
# https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id, or a messaging service
_SENDER = re.compile(rf"{sms_senders.NAME.format(' &_+-')}|{sms_senders.NUMBER}|MG[0-9a-f]{{32}}")
_EVENTS = {"delivered": "delivered", "undelivered": "failed", "failed": "failed"}
_NO_SUCH_PHONE = {"30005", "30006", "30011"}


class TwilioProvider(HttpProvider):
    """Hands text messages to Twilio, and reads its signed status callbacks."""

    kind = "twilio"
    channels = ("sms",)
    setting_names = {
        "account_sid": "AC…",
        "from": "A number like +15005550006, or a messaging service MG….",
        "senders": sms_senders.HINT,
        "url": "The URL of the API.",
        "ca_file": "A certificate authority to trust.",
    }
    secret_names = {"auth_token": "The account's token; it also signs the callbacks."}
    optional = frozenset({"senders", "url", "ca_file"})

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._senders = sms_senders.Senders(account.settings)

    @classmethod
    def setting_problems(cls, settings: Mapping[str, Any]) -> list[str]:
        wanted = "a number, a messaging service MG…, or a name of up to 11 characters"
        return sms_senders.problems(settings, "from", _SENDER, wanted)

    @classmethod
    def refuses(cls, content: Content) -> str:
        return too_long(content.get("text", ""), LONGEST_TEXT, "Twilio")

    def send(self, message: Message) -> str:
        sid = self.account.settings["account_sid"]
        url = self.account.settings.get("url", "https://api.twilio.com").rstrip("/")
        answer = self.request(
            message,
            "POST",
            f"{url}/2010-04-01/Accounts/{sid}/Messages.json",
            data=self._form(message),
            auth=(sid, self.account.secrets["auth_token"]),
        )
        _class(answer)
        return accepted(answer, "sid")

    def _form(self, message: Message) -> dict[str, str]:
        sender = self._senders.of(message.recipient, self.account.settings["from"])
        form = {
            "To": message.recipient,
            "MessagingServiceSid" if sender.startswith("MG") else "From": sender,
            "Body": message.content.get("text", ""),
        }
        if message.ttl is not None:
            form["ValidityPeriod"] = str(min(message.ttl, LONGEST_TTL))
        if settings.PUBLIC_URL:
            form["StatusCallback"] = f"{settings.PUBLIC_URL}/webhooks/{self.account.name}"
        return form

    def receipts(self, request: HttpRequest) -> list[Receipt] | list[Reply]:
        form = parse_qsl(request.body.decode(), keep_blank_values=True)
        expected = signature(
            self.account.secrets["auth_token"],
            f"{settings.PUBLIC_URL}{request.get_full_path()}",
            form,
        )
        if not hmac.compare_digest(
            expected.encode(), request.headers.get("X-Twilio-Signature", "").encode()
        ):
            raise ForgedCallback("The signature is not Twilio's.")
        fields = dict(form)
        if fields.get("SmsStatus") == "received" or "OptOutType" in fields:
            # https://www.twilio.com/docs/messaging/guides/webhook-request
            # By Advanced Opt-Out it answers what it calls an OptOutType.
            opt_out = fields.get("OptOutType", "")
            text = opt_out or fields.get("Body", "")
            id_ = fields.get("MessageSid", "")
            return [Reply(fields.get("From", ""), text, is_answered=bool(opt_out), id=id_)]
        event = _EVENTS.get(fields.get("MessageStatus", ""))
        if event is None:  # on its way
            return []
        code = fields.get("ErrorCode", "")
        return [
            Receipt(
                "bounced" if code in _NO_SUCH_PHONE else event,
                provider_message_id=fields.get("MessageSid", ""),
                recipient=fields.get("To", ""),
                code=code,
            )
        ]


def signature(token: str, url: str, form: list[tuple[str, str]]) -> str:
    """Sign as Twilio does: https://www.twilio.com/docs/usage/security#validating-requests."""
    signed = url + "".join(name + value for name, value in sorted(set(form)))
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def _class(answer: Answer) -> None:
    said = json_object(answer)
    code = str(said.get("code") or "")
    detail = str(said.get("message") or "")
    if answer.status == 400 and code in _DEAD_NUMBER:
        raise InvalidRecipient(detail, code=code)
    credentials_refused(answer, detail)
    if answer.status == 400 and code in _OF_ACCOUNT:
        raise AccountRefused(detail, code=code)
    classify(answer, detail, code)
