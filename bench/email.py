"""Email over real SMTP: accepted, rendered, handed over, recorded; beside django-post_office.

Both sides have two processes to send with, the same Postgres and the same SMTP server, and
render a text and an HTML part for each recipient.

``email_limit`` stands beside what the machine can do at all: Postfix's ``smtp-source`` sends a mail
of the same size over as many kept connections to its ``smtp-sink``; nothing is stored or rendered.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable

import psycopg

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage
from tests.servers.process import free_port, wait_until

MAILS = 10_000
FLOOR_MAILS = 2000
LIMIT_MAILS = 20_000
CONNECTIONS = 10  # five of each child
MAIL_SIZE = 800  # bytes, as ours have


def prepare(stage: Stage) -> Callable[[], Sample]:
    port = set_up(stage)
    return lambda: Sample(ours=MAILS / seconds_for(MAILS), floor=FLOOR_MAILS / _floor(stage, port))


def prepare_limit(stage: Stage) -> Callable[[], Sample]:
    set_up(stage)
    return lambda: Sample(ours=MAILS / seconds_for(MAILS), floor=LIMIT_MAILS / _limit())


def set_up(stage: Stage) -> int:
    """Publish a template, and start a mail server, a worker and a scheduler; return the port."""
    from notifications.models import ProviderAccount
    from templates_engine.models import Template
    from templates_engine.publishing import create_version, publish

    template, _ = Template.objects.get_or_create(
        name="bench-mail", defaults={"channel": "email", "category": "transactional"}
    )
    parts = {
        "subject": "Hello {{ name }}",
        "text": "Dear {{ name }}, your code is {{ code }}.",
        "html": "<p>Dear {{ name }}, your code is <b>{{ code }}</b>.</p>",
    }
    publish(create_version(template, parts))
    port = free_port()
    stage.processes.start("sink", "python", "-m", "bench.smtp_sink", str(port)).wait_for_output(
        "ready"
    )
    ProviderAccount.objects.create(
        name="sink",
        channel="email",
        kind="smtp",
        settings={"from": "shop@example.org"},
        secrets={"url": "env:SECRET_SINK_URL"},
    )
    stage.processes.worker(
        "--concurrency",
        "2",
        SECRET_SINK_URL=f"smtp://127.0.0.1:{port}",
        OUTGOING_PRIVATE_HOSTS="127.0.0.1",
    )
    stage.processes.beat()
    return port


def seconds_for(mails: int) -> float:
    """Return the seconds from the first row until the last outcome is recorded."""
    from notifications.models import UNFINISHED, Notification
    from notifications.submission import send_many

    rows = (
        {"recipient": f"user{n}@example.org", "context": {"name": f"User {n}", "code": n}}
        for n in range(mails)
    )
    started = time.perf_counter()
    send_many(rows, channel="email", template="bench-mail", priority="low")
    unfinished = Notification.objects.filter(status__in=UNFINISHED)
    wait_until(lambda: not unfinished.exists(), timeout=300)
    seconds = time.perf_counter() - started
    sent = Notification.objects.filter(status="sent").count()
    if sent != mails:
        raise RuntimeError(f"Of {mails} mails, {sent} were sent.")
    Notification.objects.all().delete()
    return seconds


def _floor(stage: Stage, port: int) -> float:
    url = _own_database()
    printed = stage.processes.run(
        "post_office",
        *("python", "-m", "bench.post_office", str(FLOOR_MAILS)),
        FLOOR_DATABASE_URL=url,
        SINK_PORT=str(port),
    )
    return float(printed.rpartition("seconds ")[2])


def _limit() -> float:
    """Return the seconds that Postfix's own tools need from one to the other."""
    source, sink = shutil.which("smtp-source"), shutil.which("smtp-sink")
    if source is None or sink is None:
        raise RuntimeError("It needs smtp-source and smtp-sink: install postfix.")
    address = f"127.0.0.1:{free_port()}"
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    with subprocess.Popen([sink, *user, address, "1000"]) as server:
        try:
            wait_until(lambda: _listens(address), timeout=10)
            sizes = ("-d", "-s", str(CONNECTIONS), "-m", str(LIMIT_MAILS), "-l", str(MAIL_SIZE))
            started = time.perf_counter()
            subprocess.run([source, *sizes, address], check=True)
            return time.perf_counter() - started
        finally:
            server.terminate()


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _own_database() -> str:
    """Return the address of the floor's database on the same server, made if need be."""
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'floor'").fetchone():
            connection.execute("CREATE DATABASE floor")
    return f"{url.rpartition('/')[0]}/floor"


EMAIL = Benchmark(
    title="email over SMTP, accepted to recorded",
    floor_title="django-post_office, tuned",
    unit="/s",
    prepare=prepare,
    target=">= 7 x",
)

EMAIL_LIMIT = Benchmark(
    title="email over SMTP, accepted to recorded",
    floor_title="smtp-source to smtp-sink, which store nothing",
    unit="/s",
    prepare=prepare_limit,
)
