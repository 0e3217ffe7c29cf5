"""A signed POST to the recipient's URL (Standard Webhooks, https://www.standardwebhooks.com)."""

import json
from datetime import UTC, datetime

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from notifications.channels import signing_secrets
from notifications.channels.base import Account, Message
from notifications.channels.http import HttpProvider, classify, retry_after
from notifications.channels.http_client import HttpClient
from notifications.channels.outgoing import Reach
from notifications.core.attempt import Outcome
from notifications.core.errors import EndpointGone, TransientError
from notifications.core.world import DEFAULT_PROJECT


class WebhookProvider(HttpProvider):
    """Posts the content, signed with every current secret so that secrets can be rotated."""

    kind = "webhook"
    channels = ("webhook", "callback")
    calls_endpoints = True
    secret_names = {
        "signing": "One or more whsec_… secrets, separated by blanks; the first is newest.",
        "projects": "The secret from which those of projects other than default are made; "
        "without it, signing signs for all.",
    }
    optional = HttpProvider.optional | {"projects"}

    @classmethod
    def secret_problem(cls, name: str, value: str) -> str:
        try:
            is_usable = name != "signing" or bool(_signers(value.split()))
        except (ValueError, EmptyWebhookSecretError):
            is_usable = False
        return "" if is_usable else "It must be one or more secrets like whsec_…, in base64."

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._signers = {DEFAULT_PROJECT: _signers(account.secrets["signing"].split())}
        self._roots = account.secrets.get("projects", "").split()

    def make_client(self) -> HttpClient:
        return HttpClient(reach=Reach.RECIPIENT)

    def send(self, message: Message) -> str:
        body = payload(message)
        answer = self.request(
            message,
            "POST",
            message.recipient,
            content=body,
            headers={"Content-Type": "application/json", **self.sign(message, body)},
        )
        if answer.status == 410:
            raise EndpointGone("The endpoint asks for no more calls.", code="HTTP 410")
        if 300 <= answer.status < 500:
            # A deploy may answer anything for a while (Standard Webhooks: all but 2xx is retried).
            raise TransientError(
                "The endpoint refused.",
                code=f"HTTP {answer.status}",
                retry_after=retry_after(answer.headers),
            )
        classify(answer)
        return str(message.id)

    def outcome_of(self, message: Message) -> Outcome:
        # Each recipient has a server of its own: one that is down says nothing of the others.
        return super().outcome_of(message)._replace(local=True)

    def sign(self, message: Message, body: str) -> dict[str, str]:
        """Make the webhook-id, -timestamp and -signature headers; the id stays on each try."""
        now = datetime.now(UTC)
        signers = self._signers_of(message.project)
        signatures = " ".join(s.sign(str(message.id), now, body) for s in signers)
        return {
            "webhook-id": str(message.id),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures,
        }

    def _signers_of(self, project: str) -> list[Webhook]:
        if not self._roots:
            project = DEFAULT_PROJECT
        if project not in self._signers:
            own = [signing_secrets.of_project(root, project) for root in self._roots]
            self._signers[project] = _signers(own)
        return self._signers[project]


def _signers(secrets: list[str]) -> list[Webhook]:
    return [Webhook(secret) for secret in secrets]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


def payload(message: Message) -> str:
    """Return the body: JSON as it stands, other text wrapped into JSON."""
    body = message.content.get("body", "")
    if not isinstance(body, str):
        return json.dumps(body)
    try:
        json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        subject = message.content.get("subject", "")
        return json.dumps({"subject": subject, "body": body})
    return body
