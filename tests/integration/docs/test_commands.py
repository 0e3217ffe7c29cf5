"""Each command of README and the docs is run: here, by its page's own test, or by the one named."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from notifications.models import Notification
from tests.pages import DOCS, ROOT, commands, examples
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port
from tests.servers.processes import Processes, wait_for_http
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer
from tests.servers.terminal import answered

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
# The marks of blocks, by page, and the test that runs them in the order of the page.
MARKED = {
    ("README.md", "real"): f"{HERE}::test_the_processes_of_readme_run_on_servers_of_ones_own",
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
    ("docs/govuk-notify.md", "manage"): f"{HERE}::test_an_operators_commands_do_what_they_say",
    ("docs/operating.md", "manage"): f"{HERE}::test_an_operators_commands_do_what_they_say",
    ("docs/operating.md", "personal"): f"{HERE}::test_a_recipient_is_forgotten_as_the_page_says",
    ("docs/operating.md", "workers"): f"{HERE}::test_dedicated_workers_serve_their_queues",
    ("docs/quickstart.md", "sh"): f"{PAGE_TESTS}"
    "::test_the_quickstart_leads_to_delivered_notifications",
    ("docs/scheduling.md", "manage"): f"{PAGE_TESTS}"
    "::test_the_jobs_of_the_page_are_made_and_steered",
    ("docs/templates.md", "manage"): f"{HERE}::test_an_operators_commands_do_what_they_say",
    **{
        ("docs/production.md", name): "tests/integration/docs/test_production.py"
        "::test_the_page_leads_to_a_system_that_is_restored_and_sends_nothing_unasked"
        for name in ("secrets", "check", "start", "backup", "restore", "again", "release")
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
    "tests/integration/notifications/api/test_generated_clients.py"
    "::test_a_public_generator_makes_a_client_that_works"
)
TYPED = (
    "tests/integration/notifications/api/test_generated_clients.py"
    "::test_a_typescript_client_sends_and_refuses_to_compile_what_the_api_would_refuse"
)
GO = (
    "tests/integration/notifications/api/test_generated_clients.py"
    "::test_a_go_client_of_openapi_generator_compiles_sends_and_reads"
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
    r"pip install openapi-generator-cli": GO,
    r"openapi-generator-cli generate .*": GO,
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
    assert [p for p in RUN_BY if not any(re.fullmatch(p, command) for command in every)] == []


def test_the_processes_of_readme_run_on_servers_of_ones_own(
    processes: Processes,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    smtp_server: SmtpServer,
    wait_until: Callable[..., Any],
) -> None:
    """On an empty database, each line as it stands, but for the names of the servers."""
    lines = [line for mark, line in commands(ROOT / "README.md") if mark == "real"]
    for name in ("OUTBOX", "HTTPS", "OUTGOING_PRIVATE_HOSTS"):
        processes.env.pop(name, None)
    while lines[0].startswith("export "):
        words = shlex.split(lines.pop(0), comments=True)[1:]
        processes.env |= dict(word.split("=", 1) for word in words)
    ports = {"FLOWER_PORT": str(free_port()), "GRANIAN_PORT": str(free_port())}
    processes.env |= ports | {
        "DATABASE_URL": postgres_server.url,
        "BROKER_URL": redis_server.url,
        "EMAIL_URL": smtp_server.url,
        "SECRET_KEY": "x" * 50,
    }
    migrate, make_user, *started = map(shlex.split, lines)
    processes.run("migrate", *_here(migrate))
    password = "correct horse battery"
    asked = [("Username", "ada"), ("Email", "ada@example.org"), ("Password", password)]
    said = answered(_here(make_user), [*asked, ("Password", password)], processes.env)
    assert "Superuser created successfully" in said
    worker, beat, flower, web = [
        processes.start(command[-1], *_here(command)) for command in started
    ]
    worker.wait_for_output(" ready.")
    beat.wait_for_output("beat: Starting...")
    wait_for_http(f"http://127.0.0.1:{ports['FLOWER_PORT']}/", flower)
    address = f"http://127.0.0.1:{ports['GRANIAN_PORT']}"
    wait_for_http(f"{address}/healthz/live", web)

    key = processes.run("key", "python", "manage.py", "create_api_key", "shop").split()[-1]
    by_proxy = {"Host": "notify.example.org", "X-Forwarded-Proto": "https"}
    with httpx.Client(base_url=address, headers=by_proxy, trust_env=False) as client:
        page = client.get("/admin/login/")
        (token,) = re.findall(r'csrfmiddlewaretoken" value="(\w+)"', page.text)
        form = {"username": "ada", "password": password, "csrfmiddlewaretoken": token}
        origin = {"Origin": "https://notify.example.org", "Referer": "https://notify.example.org/"}
        cookies = {"Cookie": page.headers["Set-Cookie"].partition(";")[0]}
        logged_in = client.post("/admin/login/", data=form, headers=origin | cookies)
        assert logged_in.status_code == 302
        mail = {"channel": "email", "recipient": "bob@example.org", "subject": "Hi", "body": "You"}
        sent = client.post(
            "/api/v1/notifications", json=mail, headers={"Authorization": f"Bearer {key}"}
        )
        assert sent.status_code == 201, sent.text
    wait_until(lambda: [mail.recipients for mail in smtp_server.messages] == [["bob@example.org"]])
    user = processes.env["FLOWER_BASIC_AUTH"].split(":")
    page = httpx.get(
        f"http://127.0.0.1:{ports['FLOWER_PORT']}/", auth=(user[0], user[1]), trust_env=False
    )
    assert page.status_code == 200


def _here(words: list[str]) -> list[str]:
    """Take the interpreter and the tools of this run in place of those of ``.venv``."""
    program = words[0].removeprefix(".venv/bin/")
    beside = Path(sys.executable).parent / program
    return [sys.executable if program == "python" else str(beside), *words[1:]]


PRINT_HOLDS = """
from notifications.models import Hold
print("holds:", list(Hold.objects.filter(released_at=None).values_list("scope", "value", "reason")))
"""
PREPARE = """
from django.core.management import call_command
from notifications.models import Recipient
from notifications.submission import send
from templates_engine import publishing
from templates_engine.models import Template
template = Template.objects.create(name="receipt", channel="sms")
publishing.publish(publishing.create_version(template, {"text": "Paid: {{ amount }}"}))
Recipient.objects.create(key="customer-17", attributes={"plan": "gold"})
send(channel="simulator", recipient="ada@example.org", body="For Ada alone")
"""


def calls(page: str) -> list[str]:
    """Return the lines of a page's block for ``manage.py``, as calls within one process."""
    lines = "".join(examples(page, "manage")).splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    assert all(command[:2] == [".venv/bin/python", "manage.py"] for command in words)
    return [f"call_command(*{command[2:]!r})" for command in words]


def test_an_operators_commands_do_what_they_say(processes: Processes, tmp_path: Path) -> None:
    hold, show, release = calls("operating.md")
    write, look, load = (line.replace("var/", f"{tmp_path}/") for line in calls("templates.md"))
    (key,) = calls("govuk-notify.md")
    parts = [PREPARE, key, hold, PRINT_HOLDS, show, release, PRINT_HOLDS, write, look, load]
    said = processes.run("shell", "python", "manage.py", "shell", "-v0", "-c", "\n".join(parts))
    assert re.search(r"^live-[0-9a-f-]{36}-[0-9a-f-]{36}", said, re.MULTILINE)
    assert "holds: [('queue', 'email.low', 'wrong price in the campaign')]" in said
    assert said.count("wrong price in the campaign") >= 2
    assert "holds: []" in said
    assert any("Paid: {{ amount }}" in file.read_text() for file in tmp_path.rglob("*.txt"))


def test_a_recipient_is_forgotten_as_the_page_says(processes: Processes) -> None:
    processes.run("shell", "python", "manage.py", "shell", "-v0", "-c", PREPARE)
    lines = examples("operating.md", "personal")[0].splitlines()
    export, try_it, forget, stored = (_here(shlex.split(line)) for line in lines)
    assert "For Ada alone" in processes.run("export", *export)
    assert "Nothing was changed." in processes.run("try", *try_it)
    row = Notification.objects.get(recipient="ada@example.org")
    assert row.body == "For Ada alone"
    answered(forget, [("Type yes to go on: ", "yes")], processes.env)
    row.refresh_from_db()
    assert "ada" not in row.recipient
    assert (row.body, row.status) == ("", "cancelled")
    kept = json.loads(processes.run("stored", *stored))
    assert "gold" in json.dumps(kept)


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
