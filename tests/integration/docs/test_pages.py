"""The pages that a newcomer reads first do what they say."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django_celery_beat.models import PeriodicTask

from notifications.db import clock
from notifications.models import Batch, Notification, OutboxMessage, Status
from notifications.operations import api_keys
from scheduling.models import Fire, FireStatus, SchedulerProcess
from tests.pages import DOCS, examples, files, marked
from tests.servers.processes import Processes
from tests.servers.shims import python_shim


@pytest.fixture
def run(processes: Processes) -> Callable[..., Any]:
    """Run a block as its page says: in Django's shell, or in a shell."""

    def run(kind: str, code: Any, **env: Any) -> Any:
        if kind == "shell":
            return processes.run("shell", "python", "manage.py", "shell", "-v0", "-c", code, **env)
        # Each line stands as it is; what it names is forked rather than executed.
        script = f'set -eu\n.venv/bin/python() {{ {python_shim()} "$@"; }}\n{code}'
        shell = shutil.which("bash") or "/bin/bash"
        return processes.run("sh", shell, "-o", "pipefail", "-c", script, **env)

    return run


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_quickstart_leads_to_delivered_notifications(
    processes: Processes, run: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    _, address = processes.web(OUTBOX="1")
    processes.worker("-c", "1", OUTBOX="1")
    processes.beat(OUTBOX="1")
    outputs = [
        run(kind, code, OUTBOX="1", BASE=address) for kind, code in marked("quickstart.md", "run")
    ]
    assert outputs[0].strip() == "sent by outbox"
    wanted = {"Your code", "Thank you", "Good morning"}
    sent = Notification.objects.filter(status=Status.SENT)
    wait_until(lambda: wanted <= set(sent.values_list("subject", flat=True)))
    assert sent.filter(channel="sms", template_version__template__name="otp-sms").exists()
    assert Fire.objects.get().by_hand
    # README's example leads to a notification, too, whose result says what became of it.
    assert run("shell", *examples("events.md", "shell"), OUTBOX="1").strip() == "True []"
    assert "UUID" in run("shell", *examples("escalation.md", "shell"), OUTBOX="1")
    (code,) = examples("../README.md", "shell")
    state, id_ = run("shell", f"{code}\nprint(result.state, result.id)", OUTBOX="1").split()
    assert (state, sent.get(id=id_).priority) == ("SUCCESS", "high")


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_an_audience_is_made_and_written_to_and_a_payment_told_of_as_the_pages_say(
    processes: Processes, run: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    _, address = processes.web(OUTBOX="1")
    processes.worker("-c", "1", OUTBOX="1")
    processes.beat(OUTBOX="1")
    key = api_keys.create("docs").token
    env = {"OUTBOX": "1", "BASE": address, "KEY": key}
    printed = [run(kind, code, **env) for kind, code in marked("audiences.md", "run")]
    assert "customer-" in printed[2]
    assert '"count": 5' in printed[3]
    written = Batch.objects.filter(closed_at__isnull=False)
    wait_until(lambda: sorted(written.values_list("accepted", flat=True)) == [5, 5, 6, 6])
    thanks = Notification.objects.filter(template_version__template__name="thanks")
    wait_until(lambda: thanks.filter(status=Status.SENT).count() == 6)
    assert thanks.filter(context__name="Ada 1").exists()
    # The story of a payment, with the same processes: its campaign has these customers, too.
    for kind, code in marked("payments.md", "run"):
        run(kind, code, **env)
    wait_until(lambda: written.filter(name="Spring", accepted=5).exists())
    spring = Notification.objects.get(recipient_key="customer-17", batch__name="Spring")
    assert (spring.status, spring.context) == (Status.SCHEDULED, {"name": "Ada"})
    assert spring.scheduled_at.astimezone(ZoneInfo("Europe/Vienna")).hour == 9
    sent = Notification.objects.filter(recipient_key="customer-17", status=Status.SENT)
    wait_until(sent.filter(channel="sms", category="security").exists)
    wait_until(sent.filter(idempotency_key="payment-1234-receipt").exists)
    # The hour of the digest is over.
    parcels = Notification.objects.filter(template_version__template__name="parcels")
    parcels.update(due_at=clock.now())
    wait_until(parcels.filter(status=Status.SENT).exists)
    assert OutboxMessage.objects.get(notification=parcels.get()).content["text"] == (
        "00340-1: a lamp\n00340-2: four chairs"
    )
    assert Notification.objects.filter(status=Status.MERGED).count() == 2


def test_an_app_of_ones_own_extends_the_system(
    processes: Processes, run: Callable[..., Any], wait_until: Callable[..., Any], tmp_path: Path
) -> None:
    for name, code in files("extending.md").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    (tmp_path / "shop" / "__init__.py").touch()
    env = {"DJANGO_SETTINGS_MODULE": "shop_settings", "PYTHONPATH": str(tmp_path)}
    worker = processes.worker("-c", "1", **env)
    processes.beat(**env)
    told = Notification.objects.filter(body="Your basket waits.", status=Status.SENT)
    wait_until(lambda: told.count() == 2)
    ran = Fire.objects.filter(schedule__condition="shop.is_open", status=FireStatus.SUCCEEDED)
    wait_until(ran.exists)
    assert SchedulerProcess.objects.exists()
    follower, canvas = examples("extending.md", "shell")
    run("shell", follower, **env)
    ids = run("shell", canvas, **env).split()
    sent = Notification.objects.filter(status=Status.SENT)
    assert sorted(map(str, sent.filter(body="Sale!").values_list("id", flat=True))) == sorted(ids)
    for body in ("On its way", "Shipped", "Part one", "Part two"):
        wait_until(lambda body=body: sent.filter(body=body).exists())
    shipped = sent.get(body="Shipped")
    assert sent.filter(body="Packed", sent_at__lte=shipped.created_at).exists()
    # The link, the end of the chain and the body of the chord; the error link never.
    wait_until(lambda: len(re.findall(r"shop\.note\[.*succeeded", worker.output())) == 3)
    wait_until(lambda: not Notification.objects.filter(continuation__isnull=False).exists())


def test_the_jobs_of_the_page_are_made_and_steered(run: Callable[..., Any], tmp_path: Path) -> None:
    for name, code in files("scheduling.md").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    settings = files("extending.md")["shop_settings.py"].replace("shop", "reports")
    (tmp_path / "reports_settings.py").write_text(settings)
    (tmp_path / "reports" / "__init__.py").touch()
    (tmp_path / "calendars").mkdir()
    env = {
        "DJANGO_SETTINGS_MODULE": "reports_settings",
        "PYTHONPATH": str(tmp_path),
        "SCHEDULING_CALENDARS": str(tmp_path / "calendars"),
    }
    (code,) = examples("scheduling.md", "shell")
    code += f"\nimport os\nos.chdir({str(tmp_path)!r})"
    # One process for all commands of the page.
    for line in "".join(examples("scheduling.md", "manage")).splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == [".venv/bin/python", "manage.py"]
        code += f"\ncall_command(*{words[2:]!r})"
    printed = run("shell", f"from django.core.management import call_command\n{code}", **env)
    assert "reports.nightly" in printed
    assert "No schedule goes by the calendar 'company'." in printed
    assert not PeriodicTask.objects.get(name="reports.nightly").enabled
    assert Fire.objects.get().by_hand


def test_the_page_for_adopters_has_each_line_that_its_example_needs() -> None:
    page = (DOCS / "adopting.md").read_text()
    shop = DOCS.parent / "examples" / "shop" / "shop"
    for name in ("celery.py", "urls.py"):
        _, _, code = (shop / name).read_text().partition('"""\n\n')
        assert [
            line for line in code.splitlines() if line not in page and "orders" not in line
        ] == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Any) -> None:
    for target in re.findall(r"\]\(([^)#\s]*)(#[^)]*)?\)", page.read_text()):
        path, anchor = target
        if path.startswith("http"):
            continue
        file = (page.parent / path) if path else page
        assert file.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor[1:] in anchors, target
