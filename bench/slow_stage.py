"""A stage with one worker of two slots, and accounts whose services take their time."""

import os
from collections.abc import Sequence
from typing import Any

from bench.stage import Stage
from tests.servers.process import free_port

KINDS = ("smtp", "http", "webhook", "simulator")
CHANNELS: dict[str, Any] = {
    "smtp": "email",
    "http": "sms",
    "webhook": "webhook",
    "simulator": "simulator",
}


class SlowStage:
    """Recipients whose services answer after so many milliseconds."""

    def __init__(
        self, stage: Stage, milliseconds: int, options: Sequence[str] = (), **connections: int
    ) -> None:
        self.stage = stage
        self.milliseconds = milliseconds
        self.smtp_port, self.http_port = free_port(), free_port()
        services = stage.processes.start(
            *("services", "python", "-m", "bench.slow_services"),
            *(str(self.smtp_port), str(self.http_port)),
        )
        services.wait_for_output("ready")
        self._accounts(connections)
        os.environ["WEBHOOK_ALLOW_PRIVATE_ADDRESSES"] = "1"
        stage.processes.worker(
            *("--concurrency", "2", *options),
            WEBHOOK_ALLOW_PRIVATE_ADDRESSES="1",
            SECRET_MAIL_URL=f"smtp://127.0.0.1:{self.smtp_port}",
            SECRET_TOKEN="token",
        )
        stage.processes.beat()

    def _accounts(self, connections: dict[str, int]) -> None:
        from notifications.models import ProviderAccount

        os.environ |= {
            "SECRET_MAIL_URL": f"smtp://127.0.0.1:{self.smtp_port}",
            "SECRET_TOKEN": "token",
        }
        sms: dict[str, str | int] = {
            "account_sid": "AC",
            "from": "+43123456789",
            "url": self.url("127.0.0.1"),
        }
        mail: dict[str, str | int] = {"from": "shop@example.org"}
        for channel, kind, settings, secrets in (
            ("email", "smtp", mail, {"url": "env:SECRET_MAIL_URL"}),
            ("sms", "twilio", sms, {"auth_token": "env:SECRET_TOKEN"}),
        ):
            if channel in connections:
                settings["connections"] = connections[channel]
            ProviderAccount.objects.create(
                name=f"slow {channel}",
                channel=channel,
                kind=kind,
                settings=settings,
                secrets=secrets,
            )

    def url(self, address: str, pace: str = "") -> str:
        """Return the address of the HTTP service on a loopback address."""
        return f"http://{address}:{self.http_port}/{pace or self.milliseconds}"

    def recipient(self, kind: str, number: int) -> str:
        """Return a recipient whose service is one of this kind."""
        match kind:
            case "smtp":
                return f"u{number}@{self.milliseconds}.example.org"
            case "http":
                return f"+43660{number:07}"
            case "webhook":
                return self.url(f"127.1.{number // 250 % 250}.{number % 250 + 1}")
        return f"u{number}?latency={self.milliseconds / 1000}"
