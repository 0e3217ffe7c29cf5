"""Where the product can open a connection to elsewhere, and what guards and bounds each of them.

``make check`` runs it. It fails for a module that imports what can open a connection and stands in
no line of the table, for a line that nothing needs any more, for a test that is not there, and for
a dependency that is in neither list: so whoever adds an outgoing call has to say what guards it.
"""

import ast
import sys
from collections.abc import Iterable, Iterator

from tests.structure import PACKAGES, ROOT, Module, modules

# What can open a connection to an address that it is given, of the standard library and others.
OPENS = (
    *("socket", "socketserver", "asyncio", "smtplib", "imaplib", "poplib", "ftplib", "nntplib"),
    *("telnetlib", "xmlrpc", "http.client", "urllib.request", "logging.handlers"),
    *("aiosmtpd", "anymail", "apprise", "boto3", "botocore.session", "botocore.client", "dns"),
    *("django.core.mail", "flower", "google.auth", "google.oauth2", "jwt.PyJWKClient", "pycurl"),
    *("opentelemetry.exporter", "pywebpush", "redis", "requests", "throttled", "urllib3"),
)
# The libraries whose connections lead to the broker and the database, as the settings say.
OF_THE_SETTINGS = frozenset({"celery", "django", "kombu", "psycopg", "flower", "redis"})
# Dependencies that open none as they are used here, and those of which a part does (``OPENS``).
KNOWN = OF_THE_SETTINGS | {
    *("aiosmtpd", "allauth", "anymail", "apprise", "asgiref", "babel", "billiard", "botocore"),
    *("click", "granian"),
    *("cel", "certifi", "cronsim", "cryptography", "css_inline", "dateutil", "dj_database_url"),
    *("django_celery_beat", "django_celery_results", "dkim", "dns", "environs", "google"),
    *("django_tasks", "openpyxl"),
    *("holidays", "honcho", "http_ece", "httpx", "icalendar", "idna", "jinja2", "jsonschema"),
    *("jsonschema_rs", "jwt", "markdown_it", "markupsafe", "ninja", "opentelemetry", "pytest"),
    *("phonenumbers", "prometheus_client", "py_vapid", "pycurl", "pydantic", "pywebpush"),
    *("requests", "rich", "smsutil", "standardwebhooks", "structlog", "throttled", "unfold"),
    "uuid_utils",
}
# Of httpx, which can open connections, these are used alone.
OF_HTTPX = {"URL", "InvalidURL"}

HTTP = "tests/integration/notifications/providers/test_garbage.py"
GUARD = "tests/integration/notifications/providers/test_outgoing.py"
SNS = "tests/integration/notifications/providers/test_sns_callbacks.py"
SILENT = "test_a_silent_name_server_costs_no_more_than_the_time_of_the_call"
PRIVATE = "test_no_provider_reaches_a_private_address_that_is_not_exempt"
HANGS = "test_garbage_is_a_classed_outcome"
NO_CALL = ""

# Each module that could call elsewhere: what bounds and guards it, and a test of that.
# NO_CALL: it opens no connection itself, for the reason given.
TABLE: dict[str, tuple[str, str]] = {
    "notifications/channels/outgoing.py": ("the guard itself", f"{GUARD}::{SILENT}"),
    "notifications/channels/http_client.py": (
        "asks the guard, and each request has a deadline",
        f"{HTTP}::{HANGS}",
    ),
    "notifications/channels/requests_adapter.py": (
        "requests over the HTTP client",
        f"{HTTP}::{PRIVATE}",
    ),
    "notifications/channels/bounded_requests.py": (
        "requests and botocore over the HTTP client",
        f"{SNS}::test_confirming_a_subscription_is_guarded_and_takes_a_bounded_time",
    ),
    "notifications/providers/anymail_service.py": (
        "by bounded_requests",
        f"{HTTP}::{PRIVATE}",
    ),
    "notifications/providers/apprise_url.py": (
        "by bounded_requests",
        f"{GUARD}::test_a_recipient_in_place_of_a_host_reaches_the_public_internet_alone",
    ),
    "notifications/providers/fcm.py": (
        "tokens are fetched by the HTTP client, too",
        f"{HTTP}::{PRIVATE}",
    ),
    "notifications/providers/webpush.py": (
        "encrypts by pywebpush, and sends by the HTTP client",
        f"{HTTP}::{PRIVATE}",
    ),
    "notifications/providers/smtp_connection.py": (
        "asks the guard, and all that is said has a deadline",
        f"{GUARD}::test_a_mail_server_of_an_account_is_guarded_and_that_of_the_settings_is_not",
    ),
    "notifications/providers/smtp.py": ("by smtp_connection", NO_CALL),
    "notifications/providers/smtp_transmission.py": ("by smtp_connection", NO_CALL),
    "notifications/callbacks/mailbox.py": (
        "asks the guard, and each step has a deadline",
        f"{GUARD}::test_a_mailbox_whose_name_server_is_silent_is_away",
    ),
    "config/staff_login/issuer.py": (
        "requests over the HTTP client, within a deadline for all",
        "tests/integration/config/test_staff_login.py"
        "::test_an_issuer_that_answers_slowly_holds_a_page_for_a_bounded_time",
    ),
    "notifications/monitoring/diagnosis/mail_records.py": (
        "asks this machine's own name servers, each question for 2 s",
        "tests/integration/notifications/management/test_doctor.py"
        "::test_what_dns_says_of_the_senders_domains",
    ),
    "notifications/monitoring/diagnosis/delivery.py": ("by mail_records", NO_CALL),
    "notifications/tracing/collector.py": (
        "in a thread of its own, to the collector that OTEL_… of the deployer's name",
        "tests/integration/notifications/tracing/test_spans.py"
        "::test_a_command_does_not_wait_for_a_collector_that_hangs",
    ),
    "config/welcome.py": ("asks this system's own pages on this machine, for 5 s", NO_CALL),
    "config/listening.py": ("looks for a free port of this machine", NO_CALL),
    "config/embedded_broker.py": ("a socket file of this machine", NO_CALL),
    "config/flower_guard.py": ("reads Flower's options", NO_CALL),
    "notifications/email_backend.py": ("is a backend of Django's mail", NO_CALL),
    "notifications/gateways/django_messages.py": ("reads Django's messages", NO_CALL),
    "notifications/gateways/handed_mail.py": ("waits for answers of this process", NO_CALL),
    "notifications/gateways/smtp_data.py": ("reads what a client sends", NO_CALL),
    "notifications/gateways/smtp_server.py": ("listens", NO_CALL),
    "notifications/management/commands/smtp_server.py": ("listens", NO_CALL),
    "scheduling/backends/rounds.py": ("this machine's own name", NO_CALL),
    "scheduling/housekeeping.py": ("this machine's own name", NO_CALL),
    "scheduling/liveness.py": ("this machine's own name", NO_CALL),
    # The Redis of the settings, whose clients have limits of time.
    "scheduling/redis_address.py": (
        "makes the clients of Redis",
        "tests/integration/notifications/test_outages.py"
        "::test_a_broker_that_hangs_does_not_hold_up_the_door",
    ),
    "notifications/api/limits.py": ("by redis_address", NO_CALL),
    "notifications/db/shared_state.py": ("by redis_address", NO_CALL),
    "notifications/monitoring/diagnosis/broker.py": ("errors of Redis", NO_CALL),
    "notifications/providers/health.py": ("errors of Redis", NO_CALL),
    "notifications/worker/transports.py": ("errors of Redis", NO_CALL),
    "notifications/worker/unacked.py": ("errors of Redis", NO_CALL),
    "scheduling/outages.py": ("errors of Redis", NO_CALL),
    "scheduling/redis_replies.py": ("errors of Redis", NO_CALL),
}


def unguarded(parsed: Iterable[Module]) -> list[str]:
    """Return the modules that can call elsewhere and stand in no line, with what they import."""
    found = {_place(module): sorted(_opening(module.tree)) for module in parsed}
    return [
        f"{place}: {', '.join(what)}"
        for place, what in found.items()
        if what and place not in TABLE
    ]


def idle(parsed: Iterable[Module]) -> list[str]:
    """Return the lines of modules that can call nobody, and those whose test is not there."""
    needed = {_place(module) for module in parsed if _opening(module.tree)}
    return [*(TABLE.keys() - needed), *(test for _, test in TABLE.values() if not _exists(test))]


def unknown(parsed: Iterable[Module]) -> list[str]:
    """Return the dependencies of which nobody has said whether they call elsewhere."""
    tops = {name.partition(".")[0] for module in parsed for name in _imported(module.tree)}
    return sorted(tops - KNOWN - sys.stdlib_module_names - set(PACKAGES))


def _opening(tree: ast.Module) -> set[str]:
    names = {*_imported(tree)}
    found = {
        module for module in OPENS if any(f"{name}.".startswith(f"{module}.") for name in names)
    }
    of_httpx = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "httpx"
    }
    return found | {f"httpx.{name}" for name in of_httpx - OF_HTTPX}


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports, by an import or by its name in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "import_string"):
            yield from (str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def _called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _exists(test: str) -> bool:
    file, _, name = test.partition("::")
    return not test or f"def {name}(" in (ROOT / file).read_text()


def _place(module: Module) -> str:
    return str(module.path.relative_to(ROOT))


def main() -> int:
    """Say what is wrong; return the exit code."""
    parsed = [module for module in modules() if "migrations" not in module.path.parts]
    faults = {
        "modules that can call elsewhere, and are not in the table": unguarded(parsed),
        "lines of the table without a module or a test": idle(parsed),
        "dependencies of which it is not said whether they call elsewhere": unknown(parsed),
    }
    for title, places in faults.items():
        print(f"{len(places)} {title}")
        for place in places:
            print(f"  {place}")
    return 1 if any(faults.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
