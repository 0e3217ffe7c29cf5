"""A RabbitMQ node of the run's own, with an epmd of its own beside it, in one process group."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kombu.connection import Connection

from notifications.core.routing import JOBS_QUEUE, QUEUE_NAMES
from notifications.worker.queues import DEAD_MESSAGES
from tests.servers.process import ServerProcess, free_port
from tests.servers.reaper import temporary_folder

# Debian's command of this name changes root to another user first; this is what it then runs.
DEBIAN_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
MISSING = "RabbitMQ is not here: apt-get install rabbitmq-server"

# The node joins the epmd that already runs, rather than leave behind one that it started.
START = """
epmd -address 127.0.0.1 &
until epmd -names > /dev/null 2>&1; do sleep 0.05; done
exec "$0"
"""


def rabbitmq_script() -> Path | None:
    """The machine's script that starts a node in the foreground, if it has one."""
    if DEBIAN_SCRIPT.exists():
        return DEBIAN_SCRIPT
    found = shutil.which("rabbitmq-server")
    return Path(found) if found else None


class RabbitMQServer(ServerProcess):
    """One node without plugins, whose user ``guest`` comes by loopback only.

    Raises FileNotFoundError where no RabbitMQ is installed.
    """

    start_seconds = 90.0  # the Erlang machine alone takes several

    def __init__(self) -> None:
        script = rabbitmq_script()
        if script is None:
            raise FileNotFoundError(MISSING)
        super().__init__(temporary_folder("rabbitmq"))
        self._script = script
        self._epmd_port, self._distribution_port = free_port(), free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> list[str]:
        return [*self._environment(), "sh", "-c", START, str(self._script)]

    def _environment(self) -> list[str]:
        """Return ``env`` and what tells this node from others, for the server and its tools."""
        environment = {
            "HOME": self.folder,  # of the cookie
            "ERL_EPMD_PORT": self._epmd_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._distribution_port,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": self.folder / "mnesia",
            "RABBITMQ_LOG_BASE": self.folder / "logs",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": self.folder / "none",
            "RABBITMQ_CONFIG_FILE": self.folder / "none",
            "RUNNING_UNDER_SYSTEMD": "1",  # Erlang itself gets the signals, not a shell
        }
        return ["env", *(f"{name}={value}" for name, value in environment.items())]

    def control(self, *arguments: str) -> None:
        """Run ``rabbitmqctl``. Raises CalledProcessError if it fails."""
        script = self._script.with_name("rabbitmqctl")
        subprocess.run(
            [*self._environment(), str(script), "--quiet", *arguments],
            check=True,
            capture_output=True,
            timeout=60,
        )

    @contextmanager
    def low_on_memory(self) -> Iterator[None]:
        """Have its memory alarm go off: it takes no message from whoever publishes."""
        self.control("set_vm_memory_high_watermark", "0.00001")
        try:
            yield
        finally:
            self.control("set_vm_memory_high_watermark", "0.4")

    def is_ready(self) -> bool:
        with self.connection() as connection:
            try:
                connection.connect()
            except connection.connection_errors:
                return False
        return True

    def connection(self) -> Connection:
        """A connection that is made when it is first used."""
        return Connection(self.url, connect_timeout=5)

    def flush(self) -> None:
        """Lose every message that waits in one of the system's queues."""
        with self.connection() as connection:
            channel = connection.default_channel
            for queue in (*QUEUE_NAMES, JOBS_QUEUE):
                try:
                    channel.queue_purge(queue)
                except connection.channel_errors:
                    continue  # nobody has declared it yet

    def delete_queues(self) -> None:
        """Be as before any worker came: no queue of the system is left."""
        with self.connection() as connection:
            for queue in (*QUEUE_NAMES, JOBS_QUEUE, DEAD_MESSAGES.name):
                connection.default_channel.queue_delete(queue)
