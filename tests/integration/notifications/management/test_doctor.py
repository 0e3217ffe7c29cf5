"""``manage.py doctor`` finds each planted fault, and names its cure."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import dns.rrset
import pytest
import redis
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django import Settings

from notifications.models import Notification, ProviderAccount
from notifications.monitoring import diagnosis, overview
from notifications.monitoring.diagnosis import broker, delivery, mail_records, schedules, storage
from notifications.operations import holds
from notifications.providers import accounts
from scheduling import workers
from scheduling.models import Fire, Schedule, SchedulerProcess, WorkerProcess
from templates_engine.models import Template
from tests.integration.notifications.monitoring.test_state import value
from tests.integration.notifications.providers import test_dkim
from tests.servers.process import free_port
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer


@pytest.fixture
def examined(processes: Processes) -> Callable[..., Any]:
    """Run the doctor in a process with this environment; return each finding's cure by id."""

    def examined(**env: Any) -> dict[Any, Any]:
        process = processes.start("doctor", "python", "manage.py", "doctor", "--json", **env)
        process.wait()
        output = process.output()
        found = json.loads(output[output.index("[\n") if "[\n" in output else output.index("[]") :])
        return {finding["id"]: finding["cure"] for finding in found}

    return examined


@pytest.fixture
def cures(transactional_db: None) -> Iterator[Callable[..., dict[Any, Any]]]:
    """What some probes find in this process: each finding's cure by id."""
    accounts.forget()
    yield lambda probe: {finding.id: finding.cure for finding in probe()}
    accounts.forget()


def test_a_healthy_system_has_nothing_wrong(
    processes: Processes,
    examined: Callable[..., Any],
    wait_until: Callable[..., Any],
    redis_server: RedisServer,
) -> None:
    url = redis_server.url
    processes.worker(BROKER_URL=url)
    processes.beat(BROKER_URL=url)
    wait_until(SchedulerProcess.objects.exists)
    assert examined(BROKER_URL=url) == {}


def test_a_setting_that_means_nothing(examined: Callable[..., Any]) -> None:
    assert "TIME_ZONE" in examined(TIME_ZONE="Mars/Olympus")["config.E001"]


def test_a_database_that_is_away(examined: Callable[..., Any]) -> None:
    found = examined(DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/nothing")
    assert "DATABASE_URL" in found["database.away"]


def test_migrations_that_are_not_applied(examined: Callable[..., Any], tmp_path: Path) -> None:
    found = examined(DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    assert "manage.py migrate" in found["database.migrations"]


def test_a_database_that_is_newer_than_the_code(cures: Callable[..., dict[Any, Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('notifications', '9999_from_the_future', now())"
        )
    try:
        assert "newer code" in cures(storage.migrations)["database.newer"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE name = '9999_from_the_future'")


def test_a_broker_that_is_away(examined: Callable[..., Any]) -> None:
    found = examined(BROKER_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert "BROKER_URL" in found["broker.away"]


def test_a_redis_that_throws_messages_away(
    examined: Callable[..., Any], redis_server: RedisServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert "noeviction" in examined(BROKER_URL=redis_server.url)["broker.eviction"]


def test_a_redis_that_forgets_at_a_restart(
    examined: Callable[..., Any], redis_server: RedisServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("appendonly", "no")
    assert "--appendonly yes" in examined(BROKER_URL=redis_server.url)["broker.persistence"]


def test_keys_of_ours_that_another_program_has_written(
    examined: Callable[..., Any], redis_server: RedisServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("webhook.low", "of another program")
        client.rpush("notifications:health:outbox", "of another program")
        found = examined(BROKER_URL=redis_server.url)
    assert "REDIS_KEY_PREFIX" in found["broker.key"]
    assert "delete or rename it" in found["redis.key"]
    assert "scheduler.none" in found  # what is wrong with one server hides nothing else


def test_a_probe_that_meets_an_outage_is_a_finding_and_the_others_are_asked(
    monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    def durability() -> list[diagnosis.Finding]:
        raise redis.ResponseError("NOPERM this user has no permissions")

    monkeypatch.setattr(broker, "durability", durability)
    found = {finding.id: finding.problem for finding in diagnosis.examine()}
    assert "it does not permit this to our user (NOPERM)" in found["doctor.probe"]
    assert "workers.none" in found


def test_no_worker_and_no_scheduler(examined: Callable[..., Any]) -> None:
    found = examined()
    assert "celery -A config worker" in found["workers.none"]
    assert "celery -A config beat" in found["scheduler.none"]


def test_a_queue_that_no_worker_serves_and_a_worker_that_hangs(
    processes: Processes,
    examined: Callable[..., Any],
    cures: Callable[..., dict[Any, Any]],
    accepted: Callable[..., Notification],
    wait_until: Callable[..., Any],
) -> None:
    assert any("No worker is alive" in trouble for trouble in overview.read().troubles)
    worker = processes.worker("-Q", "email.high")
    assert "without -Q" in examined()["workers.queues"]
    accepted(priority="low")
    unserved = "No worker serves simulator.low, and there is work."
    assert unserved in overview.read().troubles
    assert value("workers_alive") == 1
    assert value("queue_workers", queue="email.high") == 1
    assert value("queue_workers", queue="simulator.low") == 0
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        assert "its leases end" in cures(broker.workers)["workers.hang"]
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    worker.terminate()
    wait_until(lambda: not workers.alive())
    assert WorkerProcess.objects.count() == 0


def test_a_mail_server_that_is_away(
    cures: Callable[..., dict[Any, Any]], settings: Settings
) -> None:
    settings.EMAIL_URL = f"smtp://127.0.0.1:{free_port()}"
    assert "EMAIL_URL" in cures(delivery.providers)["provider.away"]


def test_a_mail_server_that_refuses_the_password(
    cures: Callable[..., dict[Any, Any]],
    settings: Settings,
    make_smtp_server: Callable[..., SmtpServer],
) -> None:
    server = make_smtp_server(login=("user", "right"))
    settings.EMAIL_URL = f"smtp://user:wrong@127.0.0.1:{server.port}?starttls=never"
    assert "password" in cures(delivery.providers)["provider.login"]


@pytest.fixture
def turned_away() -> Iterator[int]:
    """A mail server that greets everybody with 554 (RFC 5321, 3.1); return its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with suppress(OSError):  # the test has ended
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"554 5.7.1 No mail from 192.0.2.1\r\n")
                        connection.recv(1024)

        threading.Thread(target=refuse, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_mail_server_that_refuses_this_machine(
    cures: Callable[..., dict[Any, Any]], settings: Settings, turned_away: int
) -> None:
    settings.EMAIL_URL = f"smtp://user:right@127.0.0.1:{turned_away}?starttls=never"
    found = cures(delivery.providers)
    assert "this address" in found["provider.refused"]
    assert "password" not in found["provider.refused"]


def test_an_account_whose_secret_is_not_there(cures: Callable[..., dict[Any, Any]]) -> None:
    ProviderAccount.objects.create(
        name="mail", channel="email", kind="smtp", secrets={"url": "env:SECRET_NO_SUCH_SECRET"}
    )
    assert "Provider accounts" in cures(delivery.providers)["provider.unusable"]


def test_an_address_that_providers_and_marketing_mail_need(
    cures: Callable[..., dict[Any, Any]], settings: Settings
) -> None:
    assert cures(delivery.public_address) == {}
    ProviderAccount.objects.create(
        name="texts",
        channel="sms",
        kind="twilio",
        settings={"account_sid": "AC1", "from": "+15005550006"},
    )
    Template.objects.create(name="news", channel="email", category="marketing")
    accounts.forget()
    [finding] = delivery.public_address()
    assert "texts (receipts)" in finding.problem
    assert "news (unsubscribing)" in finding.problem
    assert "PUBLIC_URL=https://" in finding.cure
    settings.PUBLIC_URL = "https://n.example.org"
    assert cures(delivery.public_address) == {}


def test_a_schedule_that_was_set_aside(cures: Callable[..., dict[Any, Any]]) -> None:
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
    task = PeriodicTask.objects.create(name="nightly", task="no.such.task", interval=every)
    Schedule.objects.update_or_create(
        pk=task.pk, defaults={"quarantined_at": timezone.now(), "quarantine_reason": "31 February"}
    )
    with connection.cursor() as cursor:  # what the row holds besides cannot be read
        cursor.execute("UPDATE django_celery_beat_periodictask SET start_time = 'infinity'")
    assert "Schedules" in cures(schedules.quarantined)["scheduler.quarantined"]


def test_a_schedule_that_is_due_for_long_and_does_not_fire(
    cures: Callable[..., dict[Any, Any]],
) -> None:
    now = timezone.now()
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
    task = PeriodicTask.objects.create(name="nightly", task="no.such.task", interval=every)
    late = {"next_fire_at": now - timedelta(seconds=40)}
    Schedule.objects.update_or_create(pk=task.pk, defaults=late)
    assert cures(schedules.overdue) == {}  # no scheduler is alive, which is told by itself
    assert value("schedules_overdue") == 0
    SchedulerProcess.objects.create(name="beat", started_at=now, seen_at=now)
    assert "cannot be written" in cures(schedules.overdue)["scheduler.overdue"]
    assert value("schedules_overdue") == 1
    [overdue] = [
        trouble
        for trouble in overview.read().dated_troubles
        if "no scheduler moves on: 1" in trouble.text
    ]
    assert overdue.since == late["next_fire_at"]


def test_what_an_operator_holds_is_told_until_it_is_released(
    cures: Callable[..., dict[Any, Any]],
) -> None:
    hold = holds.hold("channel", "sms", reason="The provider is being changed.")
    told = f"Held since {hold.created_at:%Y-%m-%d %H:%M} UTC: channel sms: The provider is being"
    assert [f.problem for f in delivery.held()] == [f"{told} changed."]
    assert f"{told} changed." in overview.read().troubles
    assert value("holds") == 1
    holds.release("channel", "sms")
    assert cures(delivery.held) == {}
    assert value("holds") == 0


def test_schedules_that_fail_are_skipped_or_are_of_a_task_that_no_worker_knows(
    cures: Callable[..., dict[Any, Any]],
) -> None:
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
    now = timezone.now()
    for name, task, counts in (
        ("nightly", "old.module.gone", {"failed_in_a_row": 3}),
        ("hourly", "jobs.note", {"skipped_in_a_row": 4}),
    ):
        made = PeriodicTask.objects.create(name=name, task=task, interval=every)
        Schedule.objects.update_or_create(pk=made.pk, defaults=counts)
    ended = {"scheduled_for": now, "fire_at": now, "finished_at": now}
    for pk in Schedule.objects.values_list("pk", flat=True):
        Fire.objects.create(schedule_id=pk, status="failed", cause="x", **ended)
    WorkerProcess.objects.create(name="w", tasks=["jobs.note"], started_at=now, seen_at=now)
    SchedulerProcess.objects.create(
        name="here:1", started_at=now, seen_at=now, ticked_at=now - timedelta(minutes=1)
    )
    found = {f.id: f.problem for probe in schedules.PROBES for f in probe()}
    assert "'nightly'" in found["scheduler.failing"]
    assert "'hourly'" in found["scheduler.skipping"]
    assert "'old.module.gone' of nightly" in found["scheduler.unknown_task"]
    assert "here:1" in found["scheduler.hung"]
    assert "nobody replayed or discarded: 2." in found["scheduler.failed_runs"]
    names = ("schedules_failing", "schedules_skipping", "schedulers_hung", "tasks_unknown")
    assert [value(name) for name in names] == [1, 1, 1, 1]
    assert value("runs_failed") == 2
    troubles = "\n".join(overview.read().troubles)
    for trouble in (
        "loop hangs: 1",
        "nobody replayed or discarded: 2",
        "runs failed, one",
        "were skipped, one",
        "no worker knows: 1",
    ):
        assert trouble in troubles
    dated = {
        trouble.text.split(":")[0]: trouble.since for trouble in overview.read().dated_troubles
    }
    assert dated["Failed runs that nobody replayed or discarded"] == ended["finished_at"]


def test_a_backlog_that_nobody_works_off(
    cures: Callable[..., dict[Any, Any]],
    accepted: Callable[..., Notification],
    age: Callable[..., None],
) -> None:
    age(accepted(), 3600)
    assert "manage.py allocation" in cures(delivery.backlog)["delivery.late"]


@pytest.mark.parametrize("ahead", [timedelta(seconds=30), timedelta(seconds=-30)])
def test_clocks_that_disagree(ahead: Any) -> None:
    (finding,) = storage.skew(ahead.total_seconds())
    assert "NTP" in finding.cure
    assert list(storage.skew(0.3)) == []


@pytest.fixture
def name_server() -> Iterator[Any]:
    """A name server on this machine; returns a resolver that asks it, and what it answers."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    records: dict[tuple[str, str], str] = {}

    def serve() -> None:
        while True:
            try:
                asked, peer = server.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(asked)
            question = query.question[0]
            answer = dns.message.make_response(query)
            name, kind = question.name.to_text(omit_final_dot=True), question.rdtype.name
            if text := records.get((name, kind)):
                answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, text))
            server.sendto(answer.to_wire(), peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
    yield resolver, records
    server.close()


def test_a_key_that_cannot_sign_is_told_with_its_account(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_DKIM", test_dkim.PUBLIC)
    monkeypatch.setenv("SECRET_MAIL_URL", "smtp://127.0.0.1")
    ProviderAccount.objects.create(
        name="mail",
        channel="email",
        kind="smtp",
        settings={"from": "Shop <shop@shop.example>", "dkim_selector": "s1"},
        secrets={"url": "env:SECRET_MAIL_URL", "dkim_key": "env:SECRET_DKIM"},
    )
    accounts.forget()
    [finding] = delivery.providers()
    assert finding.id == "provider.unusable"
    assert "The account mail" in finding.problem
    assert "dkim_key: It is the public half" in finding.problem
    assert list(delivery.mail_records()) == []
    accounts.forget()


def test_what_dns_says_of_the_senders_domains(
    cures: Callable[..., dict[Any, Any]], name_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver, records = name_server
    monkeypatch.setenv("SECRET_DKIM", test_dkim.PEM)
    monkeypatch.setenv("SECRET_MAIL_URL", "smtp://127.0.0.1")
    ProviderAccount.objects.create(
        name="mail",
        channel="email",
        kind="smtp",
        settings={
            "from": "Shop <shop@mail.shop.example>",
            "return_path": "bounces@bounce.shop.example",
            "dkim_selector": "s1",
        },
        secrets={"url": "env:SECRET_MAIL_URL", "dkim_key": "env:SECRET_DKIM"},
    )
    accounts.forget()

    def found() -> Any:
        return cures(lambda: mail_records.examined(resolver))

    assert found().keys() == {"mail.spf", "mail.dkim", "mail.dmarc", "mail.return_path"}
    assert "_dmarc.mail.shop.example" in found()["mail.dmarc"]
    records["bounce.shop.example", "TXT"] = '"v=spf1 -all"'
    records["_dmarc.shop.example", "TXT"] = '"v=DMARC1; p=none"'
    records["bounce.shop.example", "MX"] = "10 mx.shop.example."
    records["s1._domainkey.mail.shop.example", "TXT"] = '"v=DKIM1; p=AAAA"'
    assert found().keys() == {"mail.dkim"}
    key = test_dkim.RECORD.decode()
    records["s1._domainkey.mail.shop.example", "TXT"] = f'"{key[:200]}" "{key[200:]}"'
    assert found() == {}
    resolver.nameservers = ["127.0.0.2"]
    with pytest.raises(mail_records.NoResolver):
        found()


def test_a_full_disk_hides_no_other_fault(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    monkeypatch.setattr(storage, "LEAST_SPACE", 2**60)
    found = {finding.id: finding.cure for finding in diagnosis.examine()}
    assert "not the database" in found["folder.space"]
    assert {"scheduler.none", "workers.none"} <= found.keys()
