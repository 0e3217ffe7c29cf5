"""The operator's commands, run as an operator runs them."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings
from rich.console import Console

from notifications.management.commands import status
from notifications.models import FailedDelivery, Notification, QueueWeight, Status
from notifications.monitoring import overview, throughput
from tests.servers.processes import Processes


@pytest.fixture
def run() -> Callable[..., Any]:
    def run(name: str, *arguments: Any) -> str:
        out = StringIO()
        call_command(name, *arguments, stdout=out, stderr=StringIO())
        return out.getvalue()

    return run


@pytest.fixture(autouse=True)
def _no_minute_is_remembered() -> None:
    throughput.forget()


def test_status_tells_what_waits_and_what_to_see_to(
    run: Callable[..., Any],
    accepted: Callable[..., Notification],
    age: Callable[..., None],
    dead: Callable[..., Any],
) -> None:
    age(accepted(priority="low"), 600)
    dead()
    told = json.loads(run("status", "--json"))
    waiting = [q for q in told["queues"] if q["due"]]
    assert [(q["channel"], q["priority"], q["due"]) for q in waiting] == [("simulator", "low", 1)]
    assert told["dead_letters"] == 1


def test_status_fits_on_a_screen(
    run: Callable[..., Any],
    accepted: Callable[..., Notification],
    deliver: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    deliver(accepted())
    run("status", "--once")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 40
    assert any("accepted" in line and "1 in 15 min" in line for line in lines)
    assert any("No scheduler is alive" in line for line in lines)


def test_status_names_each_queue_whole_however_narrow_the_terminal(
    accepted: Callable[..., Notification], age: Callable[..., None], transactional_db: None
) -> None:
    for channel in ("simulator", "callback"):
        to = {"simulator": "ada", "callback": "https://example.org/hook"}[channel]
        age(accepted(channel=channel, recipient=to, priority="medium"), 600)
    out = StringIO()
    Console(width=80, file=out).print(status.screen(overview.read(), []))
    shown = out.getvalue()
    assert "simulator.medium" in shown
    assert "callback.medium" in shown
    assert "…" not in shown


def test_an_outbox_for_several_channels_is_shown_once(
    settings: Settings, transactional_db: None
) -> None:
    settings.OUTBOX = True
    [outbox] = [provider for provider in overview.providers() if provider.name == "outbox"]
    assert {"sms", "push", "chat"} <= set(outbox.channel.split(", "))


def test_the_minutes_count_what_was_accepted_sent_and_failed(
    accepted: Callable[..., Notification], deliver: Callable[..., Any], dead: Callable[..., Any]
) -> None:
    deliver(accepted(priority="high"))
    dead()
    minutes = throughput.last(3)
    assert sum(m.accepted.get(("simulator", "high"), 0) for m in minutes) == 1
    assert sum(m.sent.get(("simulator", "high"), 0) for m in minutes) == 1
    assert sum(m.failed.get(("simulator", "medium"), 0) for m in minutes) == 1


def test_send_prints_the_id_of_what_it_accepted(
    run: Callable[..., Any], transactional_db: None
) -> None:
    id_ = run("send", "simulator", "ada", "--body", "Hello", "--priority", "high").strip()
    assert Notification.objects.get(id=id_).priority == "high"


def test_send_refuses_bad_input_with_its_name(
    run: Callable[..., Any], transactional_db: None
) -> None:
    with pytest.raises(CommandError, match="MalformedRecipient"):
        run("send", "email", "nobody", "--body", "Hello")
    assert not Notification.objects.exists()


def test_send_that_waits_says_so_when_nobody_comes(
    run: Callable[..., Any], transactional_db: None
) -> None:
    with pytest.raises(CommandError, match="doctor"):
        run("send", "simulator", "ada", "--body", "Hello", "--wait", "0.2")


@pytest.mark.parametrize("what", ["everything", "channel simulator", "queue simulator.high"])
def test_send_that_waits_under_a_hold_names_it(
    run: Callable[..., Any], transactional_db: None, what: str
) -> None:
    run("hold", *what.split())
    options = ("--body", "Hello", "--priority", "high", "--wait", "0.2")
    with pytest.raises(
        CommandError, match=f"it is held. To end the hold: manage.py release {what}"
    ):
        run("send", "simulator", "ada", *options)


def test_replay_lists_causes_tells_a_dry_run_and_replays_one_cause(
    run: Callable[..., Any], dead: Callable[..., Any]
) -> None:
    first, second = dead(), dead(code="553")
    assert first.fingerprint[:12] in run("replay")
    assert "Would look at 1" in run("replay", first.fingerprint[:8], "--dry-run")
    assert FailedDelivery.objects.filter(state="open").count() == 2
    assert "Accepted 1 of 1" in run("replay", first.fingerprint[:8])
    second.refresh_from_db()
    assert second.state == "open"


def test_replay_of_an_unknown_cause_is_refused(
    run: Callable[..., Any], transactional_db: None
) -> None:
    with pytest.raises(CommandError, match="No open cause"):
        run("replay", "abcdef")


def test_prune_deletes_what_is_finished_and_old_only(
    run: Callable[..., Any], accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    done, waiting = accepted(), accepted(countdown=600)
    deliver(done)
    assert "Deleted 0" in run("prune")
    with pytest.raises(CommandError, match="delete 1 notification, for good"):
        run("prune", "--days", "0")  # nobody can be asked
    assert "Would delete 1 " in run("prune", "--days", "0", "--dry-run")
    assert Notification.objects.count() == 2
    assert "Deleted 1" in run("prune", "--days", "0", "--no-input")
    assert list(Notification.objects.values_list("id", flat=True)) == [waiting.id]


def test_allocation_shows_who_has_work(
    run: Callable[..., Any],
    accepted: Callable[..., Notification],
    age: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    age(accepted(priority="low"), 600)
    run("allocation")
    assert "simulator.low" in capsys.readouterr().out


def told(run: Callable[..., Any]) -> Any:
    found = json.loads(run("allocation", "--json"))
    return found["on"], found["queues"]


def test_allocation_shows_the_weights_and_who_had_the_slots(
    run: Callable[..., Any], took: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    took({"simulator.low": (3.0, 6), "simulator.high": (1.0, 10)})
    run("allocation")
    out = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert lines["simulator.low"][:5] == ["1", "75.0%", "500", "ms", "0"]
    assert lines["simulator.high"][:5] == ["16", "25.0%", "100", "ms", "0"]
    assert "email.low" not in lines


def test_allocation_overrides_a_weight_and_gives_it_back(
    run: Callable[..., Any], took: Callable[..., None]
) -> None:
    run("allocation", "--set", "email.low=3", "--set", "jobs=0.5")
    on, queues = told(run)
    assert on
    assert [queues["email.low"][name] for name in ("weight", "source")] == [3, "operator"]
    run("allocation", "--set", "email.low=5.5", "--clear", "jobs")
    _, queues = told(run)
    assert queues["email.low"]["weight"] == 5.5
    assert [queues["jobs"][name] for name in ("weight", "source")] == [4, "settings"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "email.low"),
        ("--set", "email.low=much"),
        ("--set", "email.low=nan"),
        ("--set", "email.low=0"),
        ("--set", "email.low=1001"),
        ("--set", "pigeon.low=3"),
        ("--clear", "email.low"),
    ],
)
def test_allocation_refuses_what_is_no_weight_or_no_queue(
    run: Callable[..., Any], took: Callable[..., None], arguments: Any
) -> None:
    with pytest.raises(CommandError):
        run("allocation", *arguments)
    assert not QueueWeight.objects.exists()


def test_allocation_tells_when_weights_are_off(
    run: Callable[..., Any],
    took: Callable[..., None],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.NOTIFICATIONS_FAIR_QUEUES = False
    assert told(run)[0] is False
    run("allocation")
    assert "Weights are off" in capsys.readouterr().out


def test_hold_says_so_where_nothing_is_held(db: None, run: Callable[..., Any]) -> None:
    assert run("hold") == "Nothing is held.\n"
    run("hold", "channel", "sms", "--reason", "maintenance")
    assert "maintenance" in run("hold")


def test_with_a_worker_send_tells_the_end_and_a_slow_provider_holds_no_slot(
    run: Callable[..., Any],
    processes: Processes,
    accepted: Callable[..., Notification],
    wait_until: Callable[..., Any],
) -> None:
    processes.worker("-c", "1")
    refused = ("send", "simulator", "ada?result=permanent&code=550", "--body", "x", "--wait", "60")
    with pytest.raises(CommandError) as failed:
        run(*refused)
    assert "Failed: rejected, simulator answered 550 The simul" in str(failed.value)
    assert not str(failed.value).endswith("..")
    assert run("send", "simulator", "ada", "--body", "x", "--wait", "60").split()[1] == "sent"
    row = accepted(recipient="ada?latency=12")
    wait_until(lambda: Notification.objects.filter(id=row.id, status=Status.SENDING).exists())
    told = json.loads(processes.run("status", "python", "manage.py", "status", "--json"))
    assert [q["busy"] for q in told["queues"] if q["busy"]] == []
    assert [(len(w["queues"]), w["slots"]) for w in told["workers"]] == [(22, 1)]
