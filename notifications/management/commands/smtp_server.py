"""Run the SMTP server."""

import asyncio
import os
import signal
import socket
import ssl
import sys
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.core import extras

SWITCH = 0.0005  # seconds that a thread keeps the interpreter while another one asks for it
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Command(BaseCommand):
    """``manage.py smtp_server``."""

    help = "Accept mail over SMTP; a client logs in with an API key as its password."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read where to listen; the settings decide what is not given."""
        parser.add_argument("--host", default=settings.SMTP_SERVER_HOST)
        parser.add_argument("--port", type=int, default=settings.SMTP_SERVER_PORT)

    def handle(self, *_: Any, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT. Raises ``CommandError`` where it cannot listen."""
        try:
            smtp_server = import_module("notifications.gateways.smtp_server")
        except ModuleNotFoundError as error:
            if error.name != "aiosmtpd":
                raise
            raise CommandError(f"It needs aiosmtpd: {extras.command('smtp')}") from None
        chosen = smtp_server.Options(
            options["host"],
            options["port"],
            settings.SMTP_SERVER_CERT,
            settings.SMTP_SERVER_KEY,
            settings.SMTP_SERVER_IMPLICIT_TLS,
            settings.SMTP_SERVER_CONNECTIONS,
        )
        if not chosen.certificate and chosen.host not in LOOPBACK:
            raise CommandError(
                "Keys go over the network in plain text without a certificate: set "
                "SMTP_SERVER_CERT and SMTP_SERVER_KEY, or listen on 127.0.0.1."
            )
        # The loop asks for the interpreter after each write, which the writer's thread would keep.
        sys.setswitchinterval(SWITCH)
        try:
            asyncio.run(self._serve(smtp_server.serve, chosen))
        except ssl.SSLError as error:
            raise CommandError(f"The certificate cannot be used: {error.reason}.") from None
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {chosen.host}:{chosen.port}: {_reason(error)}."
            ) from None

    async def _serve(self, serve: Any, options: Any) -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)

        def say(port: int) -> None:
            print(f"SMTP on {options.host}:{port}", flush=True)

        await serve(options, stopped, say)


def _reason(error: OSError) -> str:
    """Return the system's words: asyncio puts the address before them, once more."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)
