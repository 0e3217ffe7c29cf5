"""``python -m bench.smtp_floor PORT``: an SMTP server that stores nothing, for aiosmtpd's part."""

import asyncio
import sys
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    """Takes every mail and forgets it."""

    async def handle_DATA(self, *_: Any) -> str:  # noqa: N802 -- aiosmtpd's name
        return "250 OK"


def connection() -> SMTP:
    return SMTP(Handler(), authenticator=_everybody, auth_required=True, auth_require_tls=False)


def _everybody(*_: Any) -> AuthResult:
    return AuthResult(success=True)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port)
    print("SMTP on", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
