"""Metrics of real processes: exact although children are killed, and bounded in their labels."""

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from notifications.metrics import process_folders
from notifications.models import Notification, ProviderAccount, Status
from notifications.submission import send, send_many
from tests.servers.process import free_port
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer

# A program of somebody's own that embeds us, and that counts for itself, too.
PRODUCER = """
import time, django, prometheus_client
django.setup()
from notifications.submission import send
for _ in range(2):
    send(channel="simulator", recipient="ada", body="Hello")
prometheus_client.Counter("their_own", "Something of theirs").inc()
time.sleep(120)
"""
# Root, and then the user of the service, for whom root has left a slot as older versions did.
ROOTS = """
import os, django
from django.conf import settings
os.chown(settings.VAR_DIR, 65534, 65534)
django.setup()
from notifications.metrics import process_folders
process_folders.ensure()
slot = settings.VAR_DIR / "metrics" / "worker-0.lock"
slot.touch(mode=0o600)
slot.with_suffix("").mkdir(mode=0o700)
os.seteuid(65534)
print("alive:", *(path.name for path in process_folders.alive()))
process_folders._held.clear()
print("taken:", process_folders.start("worker").name)
os.seteuid(0)
"""
SIMULATED: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


def scrape(address: str, **headers: Any) -> list[Any]:
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return list(text_string_to_metric_families(response.read().decode()))


def scraped(address: str) -> list[Any]:
    """Scrape a process that may not listen yet."""
    try:
        return scrape(address)
    except urllib.error.URLError:
        return []


def total(families: Any, name: str, **labels: Any) -> Any:
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"notifications_{name}" and labels.items() <= sample.labels.items()
    )


def has_sent(count: int) -> Callable[..., Any]:
    return lambda: Notification.objects.filter(status=Status.SENT).count() == count


def counts(port: int) -> set[Any]:
    """Return the counts of what was sent: each of the figures that count it."""
    seen = scrape(f"http://127.0.0.1:{port}/metrics")
    return {total(seen, "ended_total", status="sent"), total(seen, "due_to_sent_seconds_count")}


def kill_a_child(worker: Any) -> bool:
    """Kill -9 one, and say whether there was one: both may be recycled at the same time."""
    children = psutil.Process(worker.pid).children()
    for child in children[:1]:
        child.kill()
    return bool(children)


@pytest.fixture
def port() -> int:
    return free_port()


def test_what_happened_is_counted_once(
    processes: Processes, wait_until: Callable[..., Any], port: int
) -> None:
    processes.worker("-c", "2", METRICS_PORT=str(port))
    for _ in range(20):
        send(**SIMULATED)
    send(**{**SIMULATED, "recipient": "ada?result=permanent&code=550"})
    wait_until(has_sent(20))
    wait_until(lambda: Notification.objects.filter(status=Status.FAILED).exists())
    seen = scrape(f"http://127.0.0.1:{port}/metrics")
    assert total(seen, "ended_total", status="sent") == 20
    assert total(seen, "ended_total", status="failed", reason="rejected") == 1
    assert total(seen, "attempts_total") == 21
    assert total(seen, "due_to_sent_seconds_count") == 20
    assert {s.labels["process"] for f in seen for s in f.samples} == {"worker-0"}


def test_counts_stay_exact_when_children_are_recycled_and_killed(
    processes: Processes, wait_until: Callable[..., Any], port: int
) -> None:
    worker = processes.worker("-c", "2", "--max-tasks-per-child", "5", METRICS_PORT=str(port))
    done = 0
    for _ in range(6):
        for _ in range(15):
            send(**SIMULATED)
        done += 15
        wait_until(has_sent(done))
        # What is recorded is counted a moment later; between two sends none is in hand.
        wait_until(lambda done=done: counts(port) == {done})
        wait_until(lambda: kill_a_child(worker))
    assert counts(port) == {done}


def test_a_killed_childs_slot_is_not_busy_for_ever(
    processes: Processes, wait_until: Callable[..., Any], port: int
) -> None:
    # A slot is busy while not all of its messages are handed over: here by one call at a time.
    ProviderAccount.objects.create(
        name="one", channel="simulator", kind="simulator", settings={"connections": 1}
    )
    worker = processes.worker("-c", "1", METRICS_PORT=str(port))
    address = f"http://127.0.0.1:{port}/metrics"
    hanging = [{"recipient": "ada?result=hang"}] * 2
    send_many(hanging, channel="simulator", body="x", guarantee="at_most_once")
    wait_until(lambda: total(scrape(address), "slots_busy") == 1)
    assert kill_a_child(worker)
    send(**SIMULATED)
    wait_until(has_sent(1))
    wait_until(lambda: total(scrape(address), "slots_busy") == 0)


@pytest.mark.parametrize("place", ["read only", "their own"])
def test_a_program_whose_folder_is_not_ours_goes_on(
    place: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_folders, "_held", [])
    monkeypatch.setenv(process_folders.VARIABLE, str(tmp_path) if place == "their own" else "")
    settings.VAR_DIR = "/proc/nowhere"
    process_folders.ensure()
    assert os.environ[process_folders.VARIABLE] == (str(tmp_path) if place == "their own" else "")


@pytest.mark.skipif("os.geteuid() != 0", reason="only root can act as another user")
def test_a_command_that_root_runs_hides_no_figures_of_the_service(processes: Processes) -> None:
    """A producer's folder of root's once made each scrape fail until somebody deleted it."""
    with tempfile.TemporaryDirectory() as folder:
        said = processes.run("root", "python", "-c", ROOTS, VAR_DIR=folder)
        assert said.split("\n")[-3:-1] == ["alive: producer-0", "taken: worker-1"]


def test_the_web_gives_state_and_what_every_process_beside_it_counted(
    processes: Processes, wait_until: Callable[..., Any]
) -> None:
    _, address = processes.web()
    processes.worker()
    processes.beat()
    processes.start("producer", "python", "-c", PRODUCER)
    send(**SIMULATED)
    send(**SIMULATED, countdown=3600)
    wait_until(has_sent(3))
    where = f"{address}/metrics"
    wait_until(lambda: total(scrape(where), "sweeps_total", process="beat-0"))
    wait_until(lambda: total(scrape(where), "schedulers_alive"))
    seen = scrape(where)
    assert total(seen, "ended_total", process="worker-0") == 3
    assert total(seen, "accepted_total", process="producer-0") == 2
    assert not [family.name for family in seen if family.name.startswith("their_own")]
    assert total(seen, "database_up") == 1
    assert total(seen, "broker_up") == 1
    assert total(seen, "schedulers_alive") == 1


def test_a_restarted_process_begins_at_nought_in_its_old_slot(
    processes: Processes, wait_until: Callable[..., Any], port: int
) -> None:
    first = processes.worker(METRICS_PORT=str(port))
    send(**SIMULATED)
    wait_until(has_sent(1))
    first.kill()
    processes.worker(METRICS_PORT=str(port))
    send(**SIMULATED)
    wait_until(has_sent(2))
    seen = scrape(f"http://127.0.0.1:{port}/metrics")
    assert total(seen, "ended_total", process="worker-0", status="sent") == 1


def test_a_scrape_answers_while_broker_and_database_are_away(
    processes: Processes, redis_server: RedisServer, port: int
) -> None:
    _, address = processes.web(BROKER_URL=redis_server.url)
    redis_server.stop()
    assert total(scrape(f"{address}/metrics"), "broker_up") == 0


def test_a_scheduler_that_begins_while_redis_is_away_counts_as_a_scheduler(
    processes: Processes, wait_until: Callable[..., Any], redis_server: RedisServer, port: int
) -> None:
    url = redis_server.url
    redis_server.stop()
    beat = processes.beat(BROKER_URL=url, REDIS_URL=url, METRICS_PORT=str(port))
    address = f"http://127.0.0.1:{port}/metrics"
    wait_until(lambda: total(scraped(address), "broker_away_total", process="beat-0"))
    redis_server.start()
    wait_until(lambda: total(scrape(address), "sweeps_total", process="beat-0"))
    assert {s.labels["process"] for f in scrape(address) for s in f.samples} == {"beat-0"}
    assert beat.first_traceback() == ""


def test_with_a_token_set_nobody_else_may_look(processes: Processes, port: int) -> None:
    processes.worker(METRICS_PORT=str(port), METRICS_TOKEN="open sesame")
    address = f"http://127.0.0.1:{port}/metrics"
    with pytest.raises(urllib.error.HTTPError) as refusal:
        scrape(address)
    assert refusal.value.code == 401
    scrape(address, Authorization="Bearer open sesame")
