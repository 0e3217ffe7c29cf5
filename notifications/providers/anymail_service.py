"""Email by the services that django-anymail knows: Amazon SES, Mailgun, Postmark and others.

https://anymail.dev/en/stable/esps/
"""

import inspect
import json
import re
from collections.abc import Mapping, Sequence, Set
from email.encoders import encode_base64
from email.mime.base import MIMEBase
from email.utils import quote
from importlib import import_module
from typing import Any
from uuid import UUID

from anymail.exceptions import (
    AnymailAPIError,
    AnymailConfigurationError,
    AnymailError,
    AnymailRecipientsRefused,
    AnymailWebhookValidationFailure,
)
from anymail.webhooks.base import AnymailCoreWebhookView
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.http import HttpRequest

from notifications.channels import addresses, allowed_senders, options
from notifications.channels.base import (
    Account,
    ForgedCallback,
    Message,
    Provider,
    Receipt,
    setting_problem,
)
from notifications.channels.bounded_requests import BoundedRequests
from notifications.channels.http import classify
from notifications.channels.http_client import Answer
from notifications.channels.mail import FIELDS, StoredFile
from notifications.core.errors import (
    AccountRefused,
    DeliveryError,
    InvalidRecipient,
    PermanentError,
    TransientError,
    UnknownOutcome,
)
from notifications.providers import mail_headers, parsed_mail
from notifications.providers.mime import encoded_words, single_line, unstructured

# anymail's words for what happened: https://anymail.dev/en/stable/sending/tracking/
_EVENTS = {
    "delivered": "delivered",
    "bounced": "bounced",
    "rejected": "failed",
    "failed": "failed",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
}


# Services take bounces themselves, and sign by keys that they made for the domain.
_NO_RETURN_PATH = (
    "The service takes bounces itself, and tells of them by its callbacks: set the secret "
    "webhook, and have the service call /webhooks/<account>."
)
_NO_DKIM = "The service signs the mail, by its own keys for your domain: verify the domain there."
CONFIRM_SECONDS = 5.0  # for which a callback waits until SNS has confirmed its subscription
# What a service says of an account, a sender or a domain that may not send (yet). Most give
# 400 or 422 for it, as they do for a message that cannot be sent.
_WORDS_OF_ACCOUNT = re.compile(
    r"verif|signature|sender|from['\" .]|sending domain|mailfromdomain|suspend|paus|sandbox"
    r"|credit|quota|limitexceeded|not allowed to send|pending approval",
    re.IGNORECASE,
)
_LONGEST_ANSWER = 2000  # characters of an answer in which these words are looked for


class AnymailProvider(Provider):
    """Hands mail to one service, and reads its tracking callbacks."""

    kind = "anymail"
    channels = ("email",)
    setting_names = {
        "service": "The name of anymail's backend, like amazon_ses or postmark.",
        "from": "The sender, like Shop <shop@example.org>.",
        "options": "What the backend takes, except for secrets.",
        **allowed_senders.SETTING,
        **mail_headers.SETTINGS,
    }
    secret_names = {
        "credentials": 'What the backend takes, as JSON: {"api_key": "…"}, for Amazon SES '
        '{"client_params": {"aws_access_key_id": "…", …}}.',
        "webhook": "user:password that the service's callbacks carry, beside its own signature.",
    }
    optional = frozenset(
        {"options", "credentials", "webhook", *allowed_senders.SETTING, *mail_headers.SETTINGS}
    )
    without = {
        "return_path": _NO_RETURN_PATH,
        **dict.fromkeys(("dkim_selector", "dkim_domain", "dkim_key"), _NO_DKIM),
    }
    option_names = options.OF_EMAIL
    mail_fields = frozenset(FIELDS)

    @classmethod
    def setting_problems(cls, settings: Mapping[str, Any]) -> list[str]:
        sender = setting_problem("from", settings, addresses.sender)
        return [
            *filter(None, [sender]),
            *allowed_senders.problems(settings),
            *mail_headers.problems(settings),
        ]

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._sender = addresses.sender(account.settings["from"])
        self._identity = mail_headers.identity(account.settings, self._sender)
        self._service = account.settings["service"]
        if not self._service.isidentifier():
            raise ValueError("The service is not a name of a backend.")
        self._options: dict[str, Any] = {**account.settings.get("options", {})}
        for name, value in json.loads(account.secrets.get("credentials", "{}")).items():
            known = self._options.get(name)
            self._options[name] = {**known, **value} if isinstance(known, dict) else value
        self._requests = BoundedRequests()
        self._connection = self._opened()

    def _opened(self) -> Any:
        """Make anymail's connection, kept open, with its requests bounded."""
        options = self._options | self._for_boto()
        connection: Any = get_connection(
            f"anymail.backends.{self._service}.EmailBackend",
            fail_silently=False,
            ignore_unsupported_features=True,
            **options,
        )
        connection.open()
        if self._service != "amazon_ses":
            self._requests.bound(connection.session)
        return connection

    def _for_boto(self) -> dict[str, Any]:
        """Return what boto3 is given, for Amazon SES: a session with its requests bounded."""
        if self._service != "amazon_ses":
            return {}
        session, client = (
            self._options.get(name, {}) for name in ("session_params", "client_params")
        )
        once = Config(retries={"total_max_attempts": 1})
        return {
            "session_params": {**session, "botocore_session": self._requests.for_botocore()},
            "client_params": {**client, "config": once},
        }

    def send(self, message: Message) -> str:
        mail = self._mail(message)
        try:
            with self._requests.within(message.seconds_left()):
                mail.send()
        except AnymailRecipientsRefused as error:
            raise InvalidRecipient("The service refused the recipient.") from error
        except AnymailAPIError as error:
            raise _classed(error) from error
        except AnymailConfigurationError as error:
            raise TransientError(str(error), code="configuration") from error
        except AnymailError as error:
            raise PermanentError(str(error), code=type(error).__name__) from error
        except ValueError as error:  # the answer's text is none
            if self._requests.answer is not None:
                classify(self._requests.answer)
            raise UnknownOutcome(
                "The answer is not in the service's format.", code="bad_answer"
            ) from error
        return str(mail.anymail_status.message_id or "")  # type: ignore[attr-defined]  # anymail's addition

    def _mail(self, message: Message) -> EmailMultiAlternatives:
        """Make anymail's message. Services write To and Cc of whom they send to, and of no other.

        Raises ``PermanentError`` for what no service could be told.
        """
        content = message.content
        if raw := content.get("raw"):
            content = {**content, **parsed_mail.fields_of(raw.read())}
        name = options.of(content).get("to_name", "")
        recipient = _wired(message.recipient)
        cc = self._copies(content.get("cc", ()), {recipient})
        bcc = self._copies(content.get("bcc", ()), {recipient, *cc})
        mail = EmailMultiAlternatives(
            subject=self._subject(content.get("subject", "")),
            body=content.get("text", ""),
            from_email=self._mailbox(*self._sender_of(content.get("from_email", ""))),
            to=[self._mailbox(name, recipient)],
            cc=[*cc.values()],
            bcc=[*bcc.values()],
            reply_to=self._all_wired(content.get("reply_to", ())),
            headers={
                **mail_headers.AUTOMATIC,
                **mail_headers.of_list(content.get("list", ""), self._identity),
                **content.get("headers", {}),
            },
            connection=self._connection,
        )
        if content.get("html"):
            mail.attach_alternative(content["html"], "text/html")
        for file in content.get("attachments", ()):
            _attach(mail, file)
        mail.metadata = {"notification_id": str(message.id)}  # type: ignore[attr-defined]  # as above
        return mail

    def _subject(self, text: str) -> str:
        if self._service != "amazon_ses":
            return single_line(text)
        # It takes a whole mail, in which Django leaves ASCII as it is.
        return _unfolded(unstructured("Subject", text))

    def _mailbox(self, name: str, address: str) -> str:
        if self._service == "amazon_ses" and "=?" in name:
            return f"{_unfolded(encoded_words(single_line(name), 0))} <{address}>"
        # As anymail reads it: the name in letters, which each backend encodes.
        return f'"{quote(single_line(name))}" <{address}>' if name else address

    def _all_wired(self, mailboxes: Sequence[str]) -> list[str]:
        parsed = [addresses.mailbox(address) for address in mailboxes]
        return [self._mailbox(mailbox.name, _wired(mailbox.address)) for mailbox in parsed]

    def _copies(self, mailboxes: Sequence[str], known: Set[str]) -> dict[str, str]:
        """Return copies by address, each address once, without those that get the mail anyway."""
        copies: dict[str, str] = {}
        for mailbox in map(addresses.mailbox, mailboxes):
            wired = _wired(mailbox.address)
            if wired not in known:
                copies.setdefault(wired, self._mailbox(mailbox.name, wired))
        return copies

    def _sender_of(self, given: str) -> addresses.Sender:
        if not given:
            return self._sender
        if not allowed_senders.allows(self.account.settings, given):
            raise PermanentError(
                "The account may not send as this sender.", code="sender", elsewhere=True
            )
        return addresses.sender(given)

    def close(self) -> None:
        self._connection.close()
        self._requests.close()

    def receipts(self, request: HttpRequest) -> list[Receipt]:
        view = self._tracking_view()
        try:
            view.run_validators(request)
            with self._requests.within(CONFIRM_SECONDS):
                events = view.parse_events(request)
        except AnymailWebhookValidationFailure as error:
            raise ForgedCallback(str(error)) from error
        except (KeyError, TypeError, AttributeError, AnymailError) as error:
            raise ValueError("The callback is not the service's.") from error
        except (BotoCoreError, ClientError, DeliveryError) as error:
            raise ValueError("The subscription of SNS cannot be confirmed.") from error
        return [_receipt(event) for event in events if _event(event)]

    def _tracking_view(self) -> AnymailCoreWebhookView:
        module = import_module(f"anymail.webhooks.{self._service}")
        found = next(
            cls
            for name, cls in inspect.getmembers(module, inspect.isclass)
            if name.endswith(("TrackingWebhookView", "CombinedWebhookView"))
        )
        # A class attribute is what Django lets a view be configured by.
        known = {n: v for n, v in self._options.items() if hasattr(found, n)}
        known |= self._for_boto()  # to confirm a subscription of SNS
        webhook = self.account.secrets.get("webhook")
        if not webhook and getattr(found, "warn_if_no_basic_auth", False):
            raise ForgedCallback("The account has no webhook secret, so that anyone could call.")
        return found(**known, **({"webhook_secret": [webhook]} if webhook else {}))


def _unfolded(header: str) -> str:
    return header.replace("\r\n ", " ")


def _attach(mail: EmailMultiAlternatives, file: StoredFile) -> None:
    kind = file.content_type.partition(";")[0]
    is_like_a_word = "=?" in file.filename  # which readers would decode (RFC 2047)
    if not file.content_id and not is_like_a_word:
        mail.attach(file.filename, file.read(), kind)
        return
    main, _, sub = kind.partition("/")
    part = MIMEBase(main, sub)
    part.set_payload(file.read())
    encode_base64(part)
    if file.content_id:
        part.add_header("Content-ID", f"<{file.content_id}>")
    disposition = "inline" if file.content_id else "attachment"
    name = ("utf-8", "", file.filename) if is_like_a_word else file.filename
    part.add_header("Content-Disposition", disposition, filename=name)
    mail.attach(part)


def _wired(recipient: str) -> str:
    try:
        wired = addresses.wire(recipient)
    except addresses.BadAddress as error:
        raise PermanentError(f"The address cannot be used. {error}", code="address") from None
    if addresses.needs_smtputf8(wired):
        raise PermanentError(
            "Services accept no address whose name before the @ is not ASCII.",
            code="smtputf8",
            elsewhere=True,
        )
    return wired


def _event(event: Any) -> str | None:
    if event.event_type == "bounced" and _is_soft(event):
        return "failed"  # a full mailbox, a block list: the address may well exist
    return _EVENTS.get(event.event_type)


def _is_soft(event: Any) -> bool:
    """Tell a soft bounce; where anymail calls both alike, by the service's own word."""
    if event.reject_reason not in (None, "bounced", "invalid"):
        return True
    payload = event.esp_event if isinstance(event.esp_event, Mapping) else {}
    bounce = payload.get("bounce")
    words = (payload.get("Type"), bounce.get("bounceType") if isinstance(bounce, Mapping) else None)
    return any(word in ("SoftBounce", "Transient", "Undetermined") for word in words)


def _receipt(event: Any) -> Receipt:
    own = (event.metadata or {}).get("notification_id", "")
    try:
        notification_id = UUID(own) if own else None
    except (ValueError, AttributeError, TypeError):
        notification_id = None
    return Receipt(
        _event(event) or "",
        provider_message_id=str(event.message_id or ""),
        notification_id=notification_id,
        recipient=str(event.recipient or ""),
        code=str(event.reject_reason or ""),
        detail=str(event.description or event.mta_response or ""),
    )


def _classed(error: AnymailAPIError) -> DeliveryError:
    """Class a refusal by its HTTP status; without one it came from no service."""
    status = _status(error)
    if status is None:
        return UnknownOutcome("The answer is not in the service's format.", code="bad_answer")
    if status in (401, 403):
        return AccountRefused("The credentials were refused.", code=f"HTTP {status}")
    if 400 <= status < 500 and status != 429 and _WORDS_OF_ACCOUNT.search(_error_text(error)):
        code = _code(error) or f"HTTP {status}"
        return AccountRefused("The service does not let the account or its sender send.", code=code)
    if 200 <= status < 300:
        return UnknownOutcome("The answer is not in the service's format.", code="bad_answer")
    try:
        classify(Answer(status, _headers(error), b""), code=_code(error))
    except DeliveryError as classed:
        return classed
    raise AssertionError("classify returns for 2xx only")


def _status(error: AnymailAPIError) -> int | None:
    response = error.response
    if isinstance(response, dict):  # botocore's
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
    return getattr(response, "status_code", None)


def _headers(error: AnymailAPIError) -> dict[str, str]:
    response = error.response
    if isinstance(response, dict):
        return dict(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
    return {name.lower(): value for name, value in response.headers.items()}


def _error_text(error: AnymailAPIError) -> str:
    """Return what the service said, the code of its error included."""
    response = error.response
    if isinstance(response, dict):
        said = response.get("Error", {})
        return f"{said.get('Code', '')} {said.get('Message', '')}"[:_LONGEST_ANSWER]
    return str(response.text)[:_LONGEST_ANSWER]


def _code(error: AnymailAPIError) -> str:
    response = error.response
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))[:50]
    return ""
