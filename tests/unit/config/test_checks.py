"""A wrong setting is named, with an id and a way out, by whatever is started with it."""

import ast
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.processes import BEAT, FLOWER, WORKER
from tests.servers.forks import fork_server

pytestmark = pytest.mark.slow  # each starts a process

ROOT = Path(__file__).parents[3]
EMBEDDED = {"DATABASE_URL": "", "BROKER_URL": ""}


@dataclass
class Ended:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def _run(*command: str, **env: str) -> Ended:
    # What the browser tests need of their own process is not a part of a deployment.
    own = {k: v for k, v in os.environ.items() if k != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    given = {name: value for name, value in (own | env).items() if value}
    program, *arguments = command
    if program != "python":
        arguments = [str(Path(sys.executable).parent / program), *arguments]
    with tempfile.TemporaryDirectory() as folder:
        said, errors = Path(folder) / "stdout", Path(folder) / "stderr"
        code = fork_server().start(arguments, given, said, errors).wait(60)
        return Ended(code, said.read_text(), errors.read_text())


# What is wrong, and what the complaint about it has to say.
WRONG = [
    {
        "DATABASE_URL": ("postgres://db:x/name", "config.E001", "postgres://user:password@"),
        "TIME_ZONE": ("Mars/Olympus", "config.E001", "Europe/Rome"),
        "DEBUG": ("perhaps", "config.E001", "DEBUG"),
        "BROKER_URL": ("localhost:6379", "config.E002", "redis://host:6379/0"),
        "REDIS_URL": ("amqp://host", "config.E003", "redis://host:6379/0"),
        "PUBLIC_URL": ("notify.example.org", "config.E006", "https://notify.example.org"),
        "NOTIFICATIONS_ARCHIVE_MONTHS": ("-1", "config.E001", "greater than or equal to 0"),
        "NOTIFICATIONS_LEASE": ("20", "config.E018", "longer than NOTIFICATIONS_PROVIDER_TIMEOUT"),
        "EMAIL_SENDERS": ("@b.example,Shop", "config.E019", "shop@example.org"),
        "EMAIL_URL": ("imap://host", "config.E004", "smtp://user:password@host:587"),
        "EMAIL_FROM": ("Shop <>", "config.E011", "Shop <shop@example.org>"),
        "EMAIL_EHLO": ("box", "config.E012", "mx.example.org"),
        "EMAIL_RETURN_PATH": ("Shop <a@b.example>", "config.E014", "bounces@shop.example"),
    },
    {
        "DATABASE_URL": ("mysql://db/name", "config.E001", "Postgres or SQLite"),
        "BROKER_URL": ("redis://host:port/0", "config.E002", "redis://host:6379/0"),
        "EMAIL_FROM": ("Shop\nBcc: x@y.example <a@b.example>", "config.E011", "Shop <shop@"),
        "BROKER_TIMEOUT": ("0", "config.E001", "greater than 0"),
        "LOG_LEVEL": ("loud", "config.E001", "WARNING"),
        "NOTIFICATIONS_SEND_RATE_LIMIT": ("5/x", "config.E001", "5/s"),
        "SMTP_SERVER_PORT": ("abc", "config.E001", "whole number"),
        "WEB_LOCK_TIMEOUT": ("abc", "config.E001", "a number like"),
        "NOTIFICATIONS_TRACING": ("perhaps", "config.E001", "1 or 0"),
        "EMAIL_URL": ("smtp://user:pa/ss@host", "config.E004", "smtp://user:password@host:587"),
    },
]


@pytest.mark.parametrize("wrong", WRONG)
def test_each_wrong_value_is_an_error_with_a_hint(wrong: dict[str, tuple[str, str, str]]) -> None:
    env = {name: value for name, (value, _, _) in wrong.items()}
    checked = _run("python", "manage.py", "check", **env)
    assert checked.returncode == 1
    complaints = checked.stderr.split("?: (")[1:]
    for name, (_, id_, hint) in wrong.items():
        (complaint,) = (
            complaint for complaint in complaints if complaint.startswith(f"{id_}) {name}")
        )
        assert hint in complaint
    assert "Traceback" not in checked.stderr


def test_a_key_to_sign_by_needs_a_selector_and_is_not_told() -> None:
    checked = _run("python", "manage.py", "check", EMAIL_DKIM_KEY="very secret")
    assert checked.returncode == 1
    assert "._domainkey" in checked.stderr
    assert "config.E017) EMAIL_DKIM_KEY cannot be used. It is not a key in PEM." in checked.stderr
    assert "very secret" not in checked.stderr


def test_a_key_in_a_file_that_is_not_text_is_told_by_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "dkim.pem"
    file.write_text("-----BEGIN PRIVATE KEY-----", "utf-16")
    checked = _run("python", "manage.py", "check", EMAIL_DKIM_KEY_FILE=str(file))
    assert checked.returncode == 1
    assert "EMAIL_DKIM_KEY_FILE names a file that is not text in UTF-8" in checked.stderr
    assert "Traceback" not in checked.stderr


def test_a_complaint_does_not_tell_the_password() -> None:
    names = ("DATABASE_URL", "BROKER_URL", "EMAIL_URL", "REDIS_URL")
    checked = _run("python", "manage.py", "check", **dict.fromkeys(names, "smtp://u:hush/hush@h:1"))
    assert all(name in checked.stderr for name in names)
    assert "hush" not in checked.stderr + checked.stdout


def test_a_socket_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    checked = _run("python", "manage.py", "check", **EMBEDDED, VAR_DIR=str(deep))
    assert "config.E005" in checked.stderr
    assert "shorter folder" in checked.stderr


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        (
            {"SECRET_KEY_FILE": "/nowhere/key"},
            "SECRET_KEY_FILE names a file that cannot be read (No",
        ),
        ({"VAR_DIR": "/proc/nowhere"}, "set VAR_DIR"),
    ],
)
def test_what_cannot_be_read_or_written_is_one_line(env: dict[str, str], complaint: str) -> None:
    checked = _run("python", "manage.py", "check", **env)
    assert checked.returncode == 1
    assert complaint in checked.stderr
    assert len(checked.stderr.strip().splitlines()) == 1


def test_a_secret_may_come_from_a_file_with_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    printed = _run(
        *("python", "manage.py", "shell", "-v0", "-c"),
        "from django.conf import settings; print(repr(settings.SECRET_KEY))",
        SECRET_KEY_FILE=str(tmp_path / "key"),
    )
    assert printed.stdout.strip() == "'from a file'"


READ_IN = ("config/settings.py", "notifications/settings.py", "config/up.py")
CHECKS = (
    "config/checks.py",
    *map("notifications/worker/{}.py".format, ("checks", "provider_checks")),
)


def _read_by(*readers: str) -> dict[str, bool]:
    """The name of each setting that these read, and whether it says what it may be."""
    found: dict[str, bool] = {}
    for module in READ_IN:
        tree = ast.parse((ROOT / module).read_text())
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) in readers:
                given = {keyword.arg for keyword in call.keywords}
                name = ast.unparse(call.args[0]).strip("'")
                found[name] = found.get(name, False) or "validate" in given
    return found


def _numbers() -> dict[str, bool]:
    return _read_by("env.int", "env.float")


# Texts that may be anything, each with its reason.
FREE = {
    **dict.fromkeys(("SECRET_KEY", "SECRET_KEY_FALLBACKS", "ADMIN_PASSWORD"), "any characters"),
    **dict.fromkeys(("ADMIN_OIDC_CLIENT_SECRET", "ADMIN_OIDC_NAME"), "the issuer's own, a title"),
    **dict.fromkeys(
        ("SMS_HELP", "SMS_STOP_WORDS", "SMS_START_WORDS"), "what people read and write"
    ),
    **dict.fromkeys(
        ("SCHEDULING_ALLOWED_TASKS", "TEST_RECIPIENTS"), "patterns, any of which may match"
    ),
    "REDIS_KEY_PREFIX": "a part of keys, whose names are any bytes",
    "VAR_DIR": "made at once, or the process ends: test_what_cannot_be_read_or_written_is_one_line",
}


def test_each_text_says_what_it_may_be_or_is_checked() -> None:
    checks = "".join((ROOT / module).read_text() for module in CHECKS)
    checked = set(re.findall(r"\b[A-Z][A-Z_]+\b", checks))
    texts = _read_by("env.str", "env.list")
    assert [
        name
        for name, is_bounded in texts.items()
        if not is_bounded and name not in checked and name not in FREE
    ] == []
    assert FREE.keys() <= texts.keys()


UNFIT = {
    "ALLOWED_HOSTS": "https://x.example",
    "CSRF_TRUSTED_ORIGINS": "https://x.example/path",
    "PROXY_SSL_HEADER": "HTTP_X_FORWARDED_PROTO",
    "FLOWER_URL": "localhost:5555",
    "TEMPLATES_BASE_URL": "https://x.example/?a=b",
    "OUTGOING_PRIVATE_HOSTS": "relay.example,10.0.0.1/8",
    "SMTP_SERVER_HOST": "mx.example.org:25",
    "METRICS_HOST": "http://0.0.0.0",
    "METRICS_TOKEN": "schlüssel",
    "SECRETS_NAMES": "TWILIO-TOKEN",
    "SECRETS_DIR": __file__,
    "SCHEDULING_CALENDARS": "/nowhere/at/all",
    "SMTP_SERVER_CERT": "/nowhere/cert.pem",
    "NOTIFICATIONS_MAIL_HEADERS": "X-*,Reply To",
    "NOTIFICATIONS_MAIL_REFUSED_TYPES": "exe",
}
UNFIT_BY_CHECK = {
    "PUBLIC_URL": ("https://notify example.org", "config.E006"),
    "BOUNCE_MAILBOX": ("pop3://user:hush@host", "config.E020"),
    "SIMULATOR": ("latency", "config.E021"),
    "NOTIFICATIONS_ATTACHMENT_STORAGE": ("bucket", "config.E022"),
    "SMTP_SERVER_IMPLICIT_TLS": ("1", "config.E023"),
    "WEBHOOK_SECRETS": ("whsec_a", "config.E024"),
    "TEMPLATES_DEFAULT_LOCALE": ("xx-invalid-", "config.E025"),
}


def test_no_text_is_taken_that_cannot_work() -> None:
    by_check = {name: value for name, (value, _) in UNFIT_BY_CHECK.items()}
    checked = _run("python", "manage.py", "check", **UNFIT, **by_check)
    told = checked.stderr
    assert [name for name in UNFIT if f"(config.E001) {name}: " not in told] == []
    assert [name for name, (_, id_) in UNFIT_BY_CHECK.items() if f"({id_}) " not in told] == []
    assert "Traceback" not in told
    assert "hush" not in told
    assert UNFIT["METRICS_TOKEN"] not in told  # it may be nearly right, and is a secret


FIT = {
    "ALLOWED_HOSTS": "notify.example.org,.example.net,192.0.2.1,[2001:db8::1],web",
    "CSRF_TRUSTED_ORIGINS": "https://notify.example.org:8443,https://*.example.net",
    "PROXY_SSL_HEADER": "X-Forwarded-Proto",
    "FLOWER_URL": "http://flower:5555/flower/",
    "TEMPLATES_BASE_URL": "https://shop.example/de",
    "PUBLIC_URL": "https://notify.example.org/sub/",
    "OUTGOING_PRIVATE_HOSTS": "relay,10.0.0.0/8,fd00::/8,10.1.2.3",
    "SMTP_SERVER_HOST": "127.0.0.1",
    "METRICS_HOST": "::",
    "SECRETS_NAMES": "TWILIO_TOKEN",
    "BOUNCE_MAILBOX": "imaps://user:pa%2Fss@host/INBOX",
    "SIMULATOR": "latency=0.1&error_rate=0.01",
    "TEMPLATES_DEFAULT_LOCALE": "de-AT",
    "NOTIFICATIONS_MAIL_REFUSED_TYPES": ".exe,application/x-msdownload",
    "WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


def test_what_works_is_taken() -> None:
    checked = _run("python", "manage.py", "check", **FIT)
    assert checked.returncode == 0, checked.stderr


def test_a_secret_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    two = {"METRICS_TOKEN": "another", "METRICS_TOKEN_FILE": str(tmp_path / "token")}
    checked = _run("python", "manage.py", "check", **two)
    assert checked.stderr == "METRICS_TOKEN and METRICS_TOKEN_FILE are both set: leave one out.\n"


def test_each_number_says_what_it_may_be() -> None:
    assert [name for name, is_bounded in _numbers().items() if not is_bounded] == []


def test_no_number_is_taken_that_makes_no_sense() -> None:
    """A negative age once deleted every finished notification."""
    wrong = {name: "-1" for name in _numbers() if name.isupper()} | {"LOG_LEVEL": "verbose"}
    wrong |= {"LOG_STYLE": "jsn", "METRICS_PORT": "70000", "NOTIFICATIONS_KEEP_DAYS": "0"}
    wrong |= {"NOTIFICATIONS_LEASE": "nan", "NOTIFICATIONS_RAISE_AFTER": "inf"}
    checked = _run("python", "manage.py", "check", HTTPS="1", **wrong)
    assert [name for name in wrong if f"(config.E001) {name}: " not in checked.stderr] == []
    assert "Traceback" not in checked.stderr


@pytest.mark.parametrize("command", [WORKER, BEAT, FLOWER])
def test_no_process_starts_with_a_wrong_setting(command: tuple[str, ...]) -> None:
    started = _run(*command, TIME_ZONE="Mars/Olympus", FLOWER_PORT="0")
    assert started.returncode == 1
    assert "config.E001: TIME_ZONE" in started.stderr
    assert "Traceback" not in started.stderr


def test_the_embedded_parts_are_warned_of_before_a_deployment() -> None:
    checked = _run("python", "manage.py", "check", "--deploy", **EMBEDDED)
    assert checked.returncode == 0
    assert "(config.W001)" in checked.stderr
    assert "(config.W002)" in checked.stderr
    assert "(config.W003)" in checked.stderr
    assert "(config.W004)" in checked.stderr
    assert "goes to the built-in outbox" in checked.stderr
    assert "(config.W007)" in checked.stderr
    assert "PUBLIC_URL=https://notify.example.org" in checked.stderr
    assert "(config.W009)" in checked.stderr


def test_forgotten_names_are_named_as_what_keeps_https_off() -> None:
    checked = _run("python", "manage.py", "check", "--deploy", **EMBEDDED)
    assert "Set ALLOWED_HOSTS=" in checked.stderr
    off = _run(
        *("python", "manage.py", "check", "--deploy"),
        **EMBEDDED,
        ALLOWED_HOSTS="notify.example.org",
        HTTPS="0",
    )
    assert "Set ALLOWED_HOSTS=" not in off.stderr
    assert "Leave HTTPS on" in off.stderr


def test_what_a_system_with_https_still_lacks_is_said_before_a_deployment() -> None:
    lacking = _run("python", "manage.py", "check", "--deploy", **EMBEDDED, HTTPS="1")
    assert "PROXY_SSL_HEADER=X-Forwarded-Proto" in lacking.stderr
    given = {"HTTPS": "1", "PROXY_SSL_HEADER": "X-Forwarded-Proto"}
    whole = _run("python", "manage.py", "check", "--deploy", **EMBEDDED, **given)
    assert "(config.W008)" not in whole.stderr


def test_without_the_outbox_the_warning_says_that_email_is_refused() -> None:
    checked = _run("python", "manage.py", "check", "--deploy", **EMBEDDED, OUTBOX="0")
    assert "is refused, for OUTBOX is off" in checked.stderr
    assert "built-in outbox" not in checked.stderr


@pytest.mark.parametrize(
    ("database", "complaint"),
    [
        ("sqlite:///:memory:", "Run the command migrate first."),
        ("postgres://user:hush@127.0.0.1:1/name", "Connection refused"),
    ],
)
def test_a_command_that_meets_an_outage_ends_with_one_line(database: str, complaint: str) -> None:
    ended = _run("python", "manage.py", "create_api_key", "shop", DATABASE_URL=database)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("create_api_key: ")
    assert complaint in last
    assert "Traceback" not in ended.stderr
    assert "hush" not in ended.stderr


def test_an_id_of_a_check_stands_in_one_file() -> None:
    files: dict[str, set[Path]] = {}
    for folder in ("config", "notifications", "scheduling", "templates_engine"):
        for file in (ROOT / folder).rglob("*.py"):
            for id_ in re.findall(r'id="(\w+\.[EW]\d+)"', file.read_text()):
                files.setdefault(id_, set()).add(file)
    assert len(files) > 30
    assert {id_: found for id_, found in files.items() if len(found) > 1} == {}
