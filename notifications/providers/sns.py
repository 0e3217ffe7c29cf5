"""SMS by Amazon SNS: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html.

botocore signs; the request goes through our own client, which bounds it in time. Two-way SMS posts
what people answer to a topic, and the topic to us:
https://docs.aws.amazon.com/sms-voice/latest/userguide/two-way-sms-payload.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from django.http import HttpRequest

from notifications.channels.base import Account, Content, ForgedCallback, Message, Receipt, Reply
from notifications.channels.http import HttpProvider, classify, too_long
from notifications.channels.http_client import Answer
from notifications.core.errors import (
    AccountRefused,
    InvalidRecipient,
    TransientError,
    UnknownOutcome,
)
from notifications.providers import sms_senders, sns_topic

FETCH_TIME = 5.0  # seconds for a certificate, or to confirm a subscription
_OPERATORS = re.compile(
    r"Auth|AccessDenied|InvalidClientTokenId|SignatureDoesNotMatch|ExpiredToken|Throttl|KMS"
)
LONGEST_TEXT = 1600  # characters (API_Publish, Message)
# https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html
_SENDER = re.compile(rf"{sms_senders.NAME.format('-')}|{sms_senders.NUMBER}")

_TYPES = ("Transactional", "Promotional")


class SnsProvider(HttpProvider):
    """Hands text messages to SNS."""

    kind = "sns"
    channels = ("sms",)
    setting_names = {
        "region": "Like eu-central-1.",
        "sender_id": "Shown as the sender, where the country allows it.",
        "senders": sms_senders.HINT,
        "sms_type": "Transactional (the default) or Promotional.",
        "topic": "The topic of two-way SMS, like arn:aws:sns:eu-central-1:123456789012:replies.",
        "url": "The URL of the API.",
        "ca_file": "A certificate authority to trust.",
    }
    secret_names = {
        "access_key_id": "The access key's id.",
        "secret_access_key": "The access key's secret.",
    }
    optional = frozenset({"sender_id", "senders", "sms_type", "topic", "url", "ca_file"})

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._senders = sms_senders.Senders(account.settings)
        topic, root = account.settings.get("topic", ""), account.settings.get("url", "")
        self._topic = sns_topic.Topic(topic, self._fetch, root) if topic else None

    @classmethod
    def setting_problems(cls, settings: Mapping[str, Any]) -> list[str]:
        wanted = "a number, or a name of up to 11 letters, digits and hyphens"
        problems = sms_senders.problems(settings, "sender_id", _SENDER, wanted)
        if settings.get("sms_type", _TYPES[0]) not in _TYPES:
            problems.append(f"sms_type: It must be {' or '.join(_TYPES)}.")
        if (topic := settings.get("topic")) and not sns_topic.is_arn(topic):
            problems.append("topic: It must be the ARN of a topic, like arn:aws:sns:….")
        return problems

    @classmethod
    def refuses(cls, content: Content) -> str:
        return too_long(content.get("text", ""), LONGEST_TEXT, "SNS")

    def send(self, message: Message) -> str:
        region = self.account.settings["region"]
        url = self.account.settings.get("url", f"https://sns.{region}.amazonaws.com")
        request = AWSRequest(
            "POST",
            url.rstrip("/") + "/",
            data=urlencode(self._form(message)),
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        )
        secrets = self.account.secrets
        credentials = Credentials(secrets["access_key_id"], secrets["secret_access_key"])
        SigV4Auth(credentials, "sns", region).add_auth(request)
        answer = self.request(
            message, "POST", request.url, content=request.data, headers=dict(request.headers)
        )
        _class(answer)
        message_id = _word(answer, "MessageId")
        if not message_id:
            raise UnknownOutcome("The answer is not in SNS's format.", code="bad_answer")
        return message_id

    def receipts(self, request: HttpRequest) -> list[Receipt] | list[Reply]:
        if self._topic is None:
            raise ForgedCallback("The account names no topic.")
        message = self._topic.read(request.body)
        if message["Type"] != "Notification":
            return []
        text = json.loads(message["Message"])
        id_ = str(text.get("inboundMessageId", ""))
        return [Reply(str(text["originationNumber"]), str(text["messageBody"]), id=id_)]

    def _fetch(self, url: str) -> bytes:
        answer = self.client.request("GET", url, timeout=FETCH_TIME)
        classify(answer)
        return answer.body

    def _form(self, message: Message) -> dict[str, str]:
        chosen = self.account.settings
        attributes = {"AWS.SNS.SMS.SMSType": chosen.get("sms_type", _TYPES[0])}
        if sender := self._senders.of(message.recipient, chosen.get("sender_id", "")):
            attributes[_attribute(sender)] = sender
        form = {
            "Action": "Publish",
            "Version": "2010-03-31",
            "PhoneNumber": message.recipient,
            "Message": message.content.get("text", ""),
        }
        for number, (name, value) in enumerate(attributes.items(), start=1):
            entry = f"MessageAttributes.entry.{number}"
            form[f"{entry}.Name"] = name
            form[f"{entry}.Value.DataType"] = "String"
            form[f"{entry}.Value.StringValue"] = value
        return form


def _attribute(sender: str) -> str:
    is_number = sender.removeprefix("+").isdigit()
    return "AWS.MM.SMS.OriginationNumber" if is_number else "AWS.SNS.SMS.SenderID"


def _class(answer: Answer) -> None:
    code, detail = _word(answer, "Code"), _word(answer, "Message")
    if 400 <= answer.status < 500:
        if "OptedOut" in code or "opted out" in detail:
            raise InvalidRecipient(detail, code=code[:50])
        if _OPERATORS.search(code):
            kind = TransientError if "Throttl" in code else AccountRefused
            raise kind(detail, code=code[:50])
    classify(answer, detail, code[:50])


def _word(answer: Answer, tag: str) -> str:
    match = re.search(rb"<%b>([^<]*)</%b>" % (tag.encode(), tag.encode()), answer.body)
    return match[1].decode("utf-8", "replace") if match else ""
