"""Each command of README and the docs is run: here, by its page's own test, or by the one named."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notifications.models import Notification
from tests.pages import DOCS, ROOT, commands, examples
from tests.servers.processes import Processes

PAGES = {
    page.relative_to(ROOT).as_posix(): page for page in (ROOT / "README.md", *DOCS.glob("*.md"))
}
HERE = "tests/integration/docs/test_commands.py"
PACKAGE = "tests/acceptance/test_package.py"
UP = "tests/acceptance/test_make_up.py"
GATEWAYS = "tests/integration/notifications/gateways"
FILES = "tests/integration/deploy/test_files.py"
ELSEWHERE = "tests/integration/docs/test_scheduling_elsewhere.py"
PAGE_TESTS = "tests/integration/docs/test_pages.py"
AUDIENCE = f"{PAGE_TESTS}::test_an_audience_is_made_and_written_to_and_a_payment_told_of"
NOT_YET = "not run, for it needs a test of its own"
# The marks of blocks, by page, and the test that runs them in the order of the page.
MARKED = {
    ("README.md", "real"): NOT_YET,
    ("docs/api.md", "curl"): "tests/integration/notifications/api/test_documentation.py"
    "::test_a_person_with_only_curl_can_follow_the_pages",
    ("docs/audiences.md", "sh"): AUDIENCE,
    ("docs/digests.md", "curl"): "tests/integration/notifications/api/test_documentation.py"
    "::test_a_person_with_only_curl_can_follow_the_pages",
    ("docs/email.md", "dkim"): f"{HERE}::test_the_key_of_dkim_is_made_as_the_page_says",
    ("docs/events.md", "curl"): "tests/integration/notifications/api/test_documentation.py"
    "::test_a_person_with_only_curl_can_follow_the_pages",
    ("docs/escalation.md", "curl"): "tests/integration/notifications/api/test_documentation.py"
    "::test_a_person_with_only_curl_can_follow_the_pages",
    ("docs/govuk-notify.md", "manage"): NOT_YET,
    ("docs/operating.md", "manage"): NOT_YET,
    ("docs/operating.md", "personal"): NOT_YET,
    ("docs/operating.md", "workers"): f"{HERE}::test_dedicated_workers_serve_their_queues",
    ("docs/quickstart.md", "sh"): f"{PAGE_TESTS}"
    "::test_the_quickstart_leads_to_delivered_notifications",
    ("docs/scheduling.md", "manage"): f"{PAGE_TESTS}"
    "::test_the_jobs_of_the_page_are_made_and_steered",
    ("docs/templates.md", "manage"): NOT_YET,
    **{
        ("docs/production.md", name): "tests/integration/docs/test_production.py"
        "::test_the_page_leads_to_a_system_that_is_restored_and_sends_nothing_unasked"
        for name in ("secrets", "check", "start", "backup", "restore", "cancel", "release")
    },
}
INSTALLED = f"{PACKAGE}::test_a_project_that_adds_a_few_lines_delivers"
ALONE = f"{ELSEWHERE}::test_a_celery_app_without_django_has_the_scheduler"
OTHER = f"{ELSEWHERE}::test_another_django_project_has_the_scheduler"
READY = f"{PACKAGE}::test_the_ready_made_project_runs_from_an_empty_folder"
IS_UP = f"{UP}::test_it_delivers_a_welcome_survives_a_kill_finds_its_data_again_and_stops_cleanly"
KUBERNETES = f"{FILES}::test_nothing_is_applied_while_an_image_has_no_digest"
NOT_RUN = "not run, for it needs"
QUICK = f"{PAGE_TESTS}::test_the_quickstart_leads_to_delivered_notifications"
CLIENT = (
    "tests/integration/notifications/api/test_contract.py"
    "::test_a_public_generator_makes_a_client_that_works"
)
TYPED = (
    "tests/integration/notifications/api/test_contract.py"
    "::test_a_typescript_client_sends_and_refuses_to_compile_what_the_api_would_refuse"
)
LOCK = ".ci/run::smoke"
# Commands outside marked blocks, as patterns, and what runs the same, or why nothing does. What
# those name is checked by its own tool in ``test_files`` and ``test_compose``.
RUN_BY = {
    r"make up": IS_UP,
    r"export DJANGO_SETTINGS_MODULE=shop_settings .*": f"{PAGE_TESTS}"
    "::test_an_app_of_ones_own_extends_the_system",
    r"pip install \.": INSTALLED,
    r'pip install "\.\[(aws,push|server)\]"': LOCK,
    r"python manage.py (migrate|check)": INSTALLED,
    r"celery -A shop (worker|beat)": INSTALLED,
    r"notifications (up|help)": READY,
    r"\.venv/bin/python manage.py create_api_key (shop|legacy --scopes send)": QUICK,
    r"export (BASE|KEY)=.*": QUICK,
    r"pip install openapi-python-client": LOCK,
    r"openapi-python-client generate .*": CLIENT,
    r"npx openapi-typescript .*": TYPED,
    r"swaks --server localhost:2525 .*": f"{GATEWAYS}/test_smtp_clients.py"
    "::test_swaks_hands_over_a_mail_in_plain_and_over_starttls",
    r"NOTIFICATIONS_ARCHIVE_MONTHS=24": "tests/integration/notifications/maintenance/"
    "test_archive.py",
    r"NOTIFICATIONS_TRACING=1": "tests/integration/notifications/tracing/test_spans.py",
    r"\.venv/bin/python manage.py doctor .*": QUICK,
    r"\.venv/bin/python manage.py shell": QUICK,
    r"\.venv/bin/python manage.py sync_templates templates_engine/examples": QUICK,
    r"python3 -m venv /opt/notifications/.venv": LOCK,
    r"/opt/notifications/.venv/bin/pip install --require-hashes .*": LOCK,
    r"/opt/notifications/.venv/bin/pip install --no-deps .*": INSTALLED,
    r"kubectl (create namespace|--namespace notifications create secret) .*": f"{FILES}"
    "::test_kubectl_takes_the_commands_of_the_page_and_makes_what_the_pods_name",
    r"sh deploy/apply_kubernetes.sh overlay": KUBERNETES,
    r"useradd .*|cp deploy/systemd/.*|systemctl .*": f"{NOT_RUN} systemd as the first process",
    r"kubectl --namespace notifications delete job .*": f"{NOT_RUN} a cluster",
    r"docker buildx .*": f"{NOT_RUN} a Docker engine",
    r"export REDIS_URL=.*": f"{ELSEWHERE}::test_the_page_sets_what_its_files_read",
    r"celery -A reports .*": ALONE,
    r"export DJANGO_SETTINGS_MODULE=shopsite.settings": OTHER,
    r"python -m django migrate": OTHER,
    r"DATABASE_URL=postgres://notifications.*": MARKED["docs/production.md", "check"],
}


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_a_page_is_run_by_a_test_that_is_there(page: str) -> None:
    for mark, command in commands(PAGES[page]):
        if mark:
            found = [MARKED[page, mark]]
        else:
            found = [test for known, test in RUN_BY.items() if re.fullmatch(known, command)]
        assert len(found) == 1, (page, command)
        if found[0].startswith(NOT_RUN):
            continue
        file, _, name = found[0].partition("::")
        assert name in (ROOT / file).read_text(), (page, command, found)


def test_no_mark_and_no_pattern_outlives_its_command() -> None:
    shown = {(page, mark): command for page in PAGES for mark, command in commands(PAGES[page])}
    assert MARKED.keys() <= shown.keys()
    every = [command for page in PAGES for _, command in commands(PAGES[page])]
    assert [p for p in RUN_BY if not any(re.fullmatch(p, one) for one in every)] == []


def test_dedicated_workers_serve_their_queues(
    processes: Processes, wait_until: Callable[..., Any]
) -> None:
    """Each line is started; a notification of each kind is sent by the worker that serves it."""
    lines = [shlex.split(line) for line in examples("operating.md", "workers")[0].splitlines()]
    processes.env["OUTBOX"] = "1"
    for line in lines[:2]:  # the others serve what these do not
        name = line[line.index("-n") + 1].partition("@")[0]
        line[line.index("-c") + 1] = "1"
        processes.start(name, *line).wait_for_output(" ready.")
    processes.run("send", "python", "manage.py", "shell", "-v0", "-c", SEND_BOTH)
    sent = Notification.objects.filter(status="sent")
    wait_until(lambda: sent.count() == 2)
    assert {row.priority: row.attempts.get().worker.partition("@")[0] for row in sent} == {
        "high": "otp",
        "low": "campaigns",
    }


SEND_BOTH = """
from notifications.submission import send
for priority in ("high", "low"):
    send(channel="email", recipient="a@example.org", subject="S", body="B", priority=priority)
"""


def test_the_key_of_dkim_is_made_as_the_page_says(tmp_path: Path, processes: Processes) -> None:
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    (tmp_path / "var").mkdir(exist_ok=True)
    (code,) = examples("email.md", "dkim")
    printed = processes.run("dkim", "/bin/sh", "-c", f"set -e; cd {tmp_path}\n{code}")
    assert re.search(r"MII[A-Za-z0-9+/=]{300,}", printed)
    assert "PRIVATE KEY" in (tmp_path / "var" / "dkim.pem").read_text()
