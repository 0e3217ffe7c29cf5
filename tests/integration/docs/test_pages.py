"""The pages that a newcomer reads first do what they say."""

import re
import shutil

import pytest

from notifications.models import Notification, Status
from scheduling.models import Fire, FireStatus, SchedulerProcess
from tests.pages import DOCS, examples, files, marked


@pytest.fixture
def run(processes):
    """Run a block as its page says: in Django's shell, or in a shell."""

    def run(kind, code, **env):
        if kind == "shell":
            return processes.run("shell", "python", "manage.py", "shell", "-v0", "-c", code, **env)
        script = f"set -eu\n{code}"
        return processes.run("sh", shutil.which("bash"), "-o", "pipefail", "-c", script, **env)

    return run


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_quickstart_leads_to_delivered_notifications(processes, run, wait_until):
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


def test_an_app_of_ones_own_extends_the_system(processes, run, wait_until, tmp_path):
    for name, code in files("extending.md").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    (tmp_path / "shop" / "__init__.py").touch()
    env = {"DJANGO_SETTINGS_MODULE": "shop_settings", "PYTHONPATH": str(tmp_path)}
    processes.worker("-c", "1", **env)
    processes.beat(**env)
    told = Notification.objects.filter(body="Your basket waits.", status=Status.SENT)
    wait_until(lambda: told.count() == 2)
    ran = Fire.objects.filter(schedule__condition="shop.is_open", status=FireStatus.SUCCEEDED)
    wait_until(ran.exists)
    assert SchedulerProcess.objects.exists()
    (follower,) = examples("extending.md", "shell")
    run("shell", follower, **env)
    wait_until(lambda: Notification.objects.filter(body="On its way", status=Status.SENT).exists())


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page):
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
