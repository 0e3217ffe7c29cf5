"""The operator's commands, run as an operator runs them."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from notifications import throughput
from notifications.models import FailedDelivery, Notification, Status


@pytest.fixture
def run():
    def run(name, *arguments):
        out = StringIO()
        call_command(name, *arguments, stdout=out, stderr=StringIO())
        return out.getvalue()

    return run


@pytest.fixture(autouse=True)
def _no_minute_is_remembered():
    throughput.forget()


@pytest.fixture
def dead(accepted, deliver):
    def dead(code="550", **changes):
        row = accepted(**{"recipient": f"ada?result=permanent&code={code}", **changes})
        deliver(row)
        return FailedDelivery.objects.get(notification_id=row.id)

    return dead


def test_status_tells_what_waits_and_what_to_see_to(run, accepted, age, dead):
    age(accepted(priority="low"), 600)
    dead()
    told = json.loads(run("status", "--json"))
    waiting = [q for q in told["queues"] if q["due"]]
    assert [(q["channel"], q["priority"], q["due"]) for q in waiting] == [("simulator", "low", 1)]
    assert told["dead_letters"] == 1


def test_status_fits_on_a_screen(run, accepted, deliver, capsys):
    deliver(accepted())
    run("status", "--once")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 40
    assert any("accepted" in line and "1 in 15 min" in line for line in lines)
    assert any("No scheduler is alive" in line for line in lines)


def test_the_minutes_count_what_was_accepted_sent_and_failed(accepted, deliver, dead):
    deliver(accepted(priority="high"))
    dead()
    minutes = throughput.last(3)
    assert sum(m.accepted.get(("simulator", "high"), 0) for m in minutes) == 1
    assert sum(m.sent.get(("simulator", "high"), 0) for m in minutes) == 1
    assert sum(m.failed.get(("simulator", "medium"), 0) for m in minutes) == 1


def test_send_prints_the_id_of_what_it_accepted(run, transactional_db):
    id_ = run("send", "simulator", "ada", "--body", "Hello", "--priority", "high").strip()
    assert Notification.objects.get(id=id_).priority == "high"


def test_send_refuses_bad_input_with_its_name(run, transactional_db):
    with pytest.raises(CommandError, match="MalformedRecipient"):
        run("send", "email", "nobody", "--body", "Hello")
    assert not Notification.objects.exists()


def test_send_that_waits_says_so_when_nobody_comes(run, transactional_db):
    with pytest.raises(CommandError, match="doctor"):
        run("send", "simulator", "ada", "--body", "Hello", "--wait", "0.2")


def test_replay_lists_causes_tells_a_dry_run_and_replays_one_cause(run, dead):
    one, other = dead(), dead(code="553")
    assert one.fingerprint[:12] in run("replay")
    assert "Would look at 1" in run("replay", one.fingerprint[:8], "--dry-run")
    assert FailedDelivery.objects.filter(state="open").count() == 2
    assert "Accepted 1 of 1" in run("replay", one.fingerprint[:8])
    other.refresh_from_db()
    assert other.state == "open"


def test_replay_of_an_unknown_cause_is_refused(run, transactional_db):
    with pytest.raises(CommandError, match="No open cause"):
        run("replay", "abcdef")


def test_prune_deletes_what_is_finished_and_old_only(run, accepted, deliver):
    done, waiting = accepted(), accepted(countdown=600)
    deliver(done)
    assert "Deleted 0" in run("prune")
    assert "Deleted 1" in run("prune", "--days", "0")
    assert list(Notification.objects.values_list("id", flat=True)) == [waiting.id]


def test_allocation_shows_who_has_work(run, accepted, age, capsys):
    age(accepted(priority="low"), 600)
    run("allocation")
    assert "simulator.low" in capsys.readouterr().out


def test_status_sees_the_slots_that_are_busy(processes, accepted, wait_until):
    processes.worker("-c", "1")
    row = accepted(recipient="ada?latency=5")
    wait_until(lambda: Notification.objects.filter(id=row.id, status=Status.SENDING).exists())
    told = json.loads(processes.run("status", "python", "manage.py", "status", "--json"))
    assert [q["busy"] for q in told["queues"] if q["busy"]] == [1]
