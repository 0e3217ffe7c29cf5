"""``make up``: the whole system on one machine, and a welcome notification through it.

Sets up the database and the admin user, starts the embedded broker unless BROKER_URL names
another, then web, worker, scheduler, Flower and the SMTP server. Run again, it finds its data.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError
from django.utils.crypto import get_random_string
from environs import EnvError, validate

from config import listening
from config.checks import refuse_errors
from config.embedded_broker import BrokerNotStarted, EmbeddedBroker, socket_path_problem
from config.system import System
from notifications.core.environment import PORT, Environment

HOST = "127.0.0.1"
env = Environment(strip_whitespace=True)


class CannotStart(Exception):
    """Nothing was started; the message says what to do."""


@dataclass(frozen=True)
class Ports:
    """The ports that the processes listen on."""

    web: int
    flower: int
    smtp: int


def main() -> int:
    """Run until Ctrl-C, SIGTERM or the end of a process. Returns the exit code."""
    try:
        django.setup()
        refuse_errors()
        with _only_one():
            return _run()
    except CannotStart as problem:
        _say(f"make up: {problem}")
        return 1
    except KeyboardInterrupt:
        return 0


def _run() -> int:
    ports = Ports(
        _free_port("PORT", 8000), _free_port("FLOWER_PORT", 5555), _free_port("SMTP_PORT", 2525)
    )
    if len(set(astuple(ports))) < 3:
        raise CannotStart("PORT, FLOWER_PORT and SMTP_PORT have to be different ports.")
    login = _set_up_database()
    # It needs the models, so it can be imported only now that Django is set up.
    from config.welcome import welcome  # noqa: PLC0415 -- the models are loaded only then

    longest = max(settings.WORKER_SHUTDOWN_GRACE, settings.WORKER_SHUTDOWN_JOBS_GRACE)
    system = System(_environment(ports), kill_after=longest + 10)
    web, flower = f"http://localhost:{ports.web}", f"http://localhost:{ports.flower}"
    smtp = f"localhost:{ports.smtp}"

    def keep(broker: EmbeddedBroker) -> None:
        try:
            broker.keep(lambda line: _say(f"make up: {line}"))
        except BrokerNotStarted as error:
            _say(f"make up: {error}")
            system.terminate()

    with _broker() as broker:
        watches = [lambda: keep(broker)] if broker else []
        if system.run(lambda: welcome(web, flower, smtp, login), *watches):
            return 0
    _say("make up: a process ended by itself, so the others were stopped: see above.")
    return 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 -- said on the terminal


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold this folder's lock: two runs would share one broker socket and one port."""
    with (settings.VAR_DIR / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"it runs already with its data in {settings.VAR_DIR}. Stop that one first."
            ) from None
        yield


def _free_port(name: str, default: int) -> int:
    try:
        port = env.int(name, default=default, validate=PORT)
    except EnvError:
        raise CannotStart(f"{name} has to be a port number, like {default}.") from None
    if problem := listening.problem(HOST, port):
        raise CannotStart(f"{problem}. Choose another: make up {name}={port + 1}")
    return port


def _set_up_database() -> str:
    """Migrate, and make the first admin user. Returns how to log in, in words."""
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except DatabaseError as error:
        reason = str(error).splitlines()[0]
        raise CannotStart(f"the database cannot be used, check DATABASE_URL: {reason}") from None
    users = get_user_model().objects
    known = users.filter(is_superuser=True).order_by("pk").first()
    if known is not None:
        return f"{known.get_username()}, as it was set up before"
    given = env.str("ADMIN_PASSWORD", default="")
    password = given or get_random_string(16)
    users.create_superuser("admin", _admin_email(), password)
    if given:
        return "admin, with the password in ADMIN_PASSWORD"
    _say(f"Made the admin user: admin, password {password} (shown in this run only)")
    return f"admin, password {password} (shown now only)"


def _admin_email() -> str:
    try:
        return env.str("ADMIN_EMAIL", default="", validate=validate.Email()) or ""
    except EnvError:
        raise CannotStart("ADMIN_EMAIL is not a mail address.") from None


def _environment(ports: Ports) -> dict[str, str]:
    return {
        "GRANIAN_HOST": HOST,
        "GRANIAN_PORT": str(ports.web),
        "GRANIAN_BLOCKING_THREADS": "4",
        "CELERY_QUIET": "1",  # no banners
        # No other worker to compare notes with: looking for one would cost a second.
        "CELERY_WORKER_WITHOUT_MINGLE": "1",
        "CELERY_WORKER_WITHOUT_GOSSIP": "1",
        "GRANIAN_LOG_LEVEL": "warning",
        "FLOWER_ADDRESS": HOST,
        "FLOWER_PORT": str(ports.flower),
        "SMTP_SERVER_PORT": str(ports.smtp),
        "FLOWER_URL": f"http://localhost:{ports.flower}",
        "HTTPS": env.str("HTTPS", default="0"),  # http://localhost has no certificate
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def _broker() -> Iterator[EmbeddedBroker | None]:
    """Keep the embedded broker running for longer than all that need it."""
    if not settings.BROKER_IS_EMBEDDED:
        yield None
        return
    if problem := socket_path_problem(settings.EMBEDDED_BROKER_SOCKET):
        raise CannotStart(f"{problem}. Set VAR_DIR to a shorter folder.")
    broker = EmbeddedBroker(settings.EMBEDDED_BROKER_SOCKET, settings.VAR_DIR / "broker")
    try:
        broker.start()
    except BrokerNotStarted as error:
        raise CannotStart(str(error)) from None
    try:
        yield broker
    finally:
        broker.stop()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    sys.exit(main())
