"""Where outgoing connections may lead, and how long a silent name server holds one up."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.callbacks import mailbox
from notifications.channels import outgoing
from notifications.channels.outgoing import AddressRefused, Reach
from notifications.core.attempt import Result
from notifications.core.errors import AccountRefused
from notifications.providers.smtp_connection import connect, read_url
from tests.servers.smtp import SmtpServer

SIGNING = {"signing": "whsec_" + "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="}


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have the name servers of ``*.silent.example`` never answer."""
    over = threading.Event()
    real = socket.getaddrinfo

    def resolve(host: str, *args: Any, **options: Any) -> Any:
        if str(host).endswith("silent.example"):
            over.wait(60)
            raise socket.gaierror(-3, "no answer")
        return real(host, *args, **options)

    monkeypatch.setattr("notifications.channels.outgoing.socket.getaddrinfo", resolve)
    yield over
    over.set()


def lookups() -> list[Any]:
    return [thread for thread in threading.enumerate() if thread.name == "name lookup"]


def test_a_silent_name_server_costs_no_more_than_the_time_of_the_call(
    silent: threading.Event, provider: Callable[..., Any], message: Callable[..., Any]
) -> None:
    webhook = provider("webhook", secrets=SIGNING)
    outcome = webhook.outcome_of(message("webhook", "http://a.silent.example/", timeout=0.2))
    assert outcome.result is Result.TRANSIENT
    assert not silent.is_set()  # it has not been waited for
    mail = read_url("smtp://mail.silent.example")
    with pytest.raises(Exception, match="do not answer"):
        connect(mail, time.monotonic() + 0.2)


UNANSWERED = """
import time
from notifications.channels import outgoing
from notifications.channels.http_client import HttpClient
from notifications.core.errors import TransientError
try:
    outgoing.addresses("a.example", 80, time.monotonic() + 30, outgoing.Reach.SETTINGS)
except OSError as error:
    print(type(error).__name__)
try:
    HttpClient(reach=outgoing.Reach.SETTINGS).request("GET", "http://a.example/", timeout=30)
except TransientError as error:
    print(error.code)
"""


def own_namespaces(*kinds: str) -> list[str]:
    """Return the command that runs another in namespaces of its own."""
    namespaces = ["unshare", *kinds, *(["--map-root-user"] if os.getuid() else [])]
    if subprocess.run([*namespaces, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody have namespaces of their own")
    return namespaces


def test_a_name_server_that_is_really_silent_is_left_to_its_thread() -> None:
    """With the library's own resolver and a socket that answers nothing."""
    namespaces = own_namespaces("--net", "--mount")
    script = [sys.executable, "-m", "tests.integration.notifications.providers.silent_resolver"]
    done = subprocess.run(
        [*namespaces, *script], capture_output=True, check=True, text=True, timeout=60
    )
    told = json.loads(done.stdout)
    assert told == {"error": "TimeoutError", "asked": True, "waits": True}


def test_a_name_for_which_no_name_server_answers_is_not_called_unknown() -> None:
    """In a namespace without a network, the library asks its name servers in vain."""
    namespaces = own_namespaces("--net")
    done = subprocess.run(
        [*namespaces, sys.executable, "-c", UNANSWERED],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["NoNameServer", "NoNameServer"], done.stderr


def test_silent_name_servers_pile_up_no_threads_and_hold_up_no_account(
    silent: threading.Event, httpserver: HTTPServer
) -> None:
    for n in range(40):
        with pytest.raises(TimeoutError):
            outgoing.addresses(f"n{n}.silent.example", 80, time.monotonic() + 0.01, Reach.RECIPIENT)
    assert 0 < len(lookups()) <= 16
    deadline = time.monotonic() + 60
    found = outgoing.addresses("localhost", 80, deadline, Reach.ACCOUNT)
    assert set(found) <= {"127.0.0.1", "::1"}


def test_an_account_reaches_private_hosts_by_name_address_and_network(
    settings: Settings,
) -> None:
    settings.OUTGOING_PRIVATE_HOSTS = ["localhost", "10.1.0.0/16", "fd00::/8", "192.168.7.7"]
    deadline = time.monotonic() + 60
    for host in ("localhost", "10.1.2.3", "fd12::1", "192.168.7.7"):
        assert outgoing.addresses(host, 80, deadline, Reach.ACCOUNT)
        with pytest.raises(AddressRefused):
            outgoing.addresses(host, 80, deadline, Reach.RECIPIENT)
    for host in ("10.2.0.1", "127.0.0.1", "169.254.169.254"):
        with pytest.raises(AddressRefused, match="OUTGOING_PRIVATE_HOSTS"):
            outgoing.addresses(host, 80, deadline, Reach.ACCOUNT)
        assert outgoing.addresses(host, 80, deadline, Reach.SETTINGS)


def test_a_mail_server_of_an_account_is_guarded_and_that_of_the_settings_is_not(
    smtp_server: SmtpServer, settings: Settings
) -> None:
    settings.OUTGOING_PRIVATE_HOSTS = []
    with pytest.raises(AccountRefused, match="private address"):
        connect(read_url(smtp_server.url), time.monotonic() + 60)
    chosen = read_url(smtp_server.url, reach=Reach.SETTINGS)
    connect(chosen, time.monotonic() + 60).quit()


def test_a_mailbox_whose_name_server_is_silent_is_away(silent: threading.Event) -> None:
    for url in ("imap://u:p@mail.silent.example/INBOX", "imaps://u:p@mail.silent.example/INBOX"):
        with pytest.raises(mailbox.MailboxAway, match=r"mail\.silent\.example"):
            mailbox.take_unseen(mailbox.read_url(url), 0.2)
    assert not silent.is_set()


@pytest.mark.parametrize("place", ["{recipient}", "shop:secret@{recipient}", "{recipient}:PORT"])
def test_a_recipient_in_place_of_a_host_reaches_the_public_internet_alone(
    provider: Callable[..., Any],
    message: Callable[..., Any],
    peer: Callable[..., Any],
    settings: Settings,
    place: str,
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = False
    settings.OUTGOING_PRIVATE_HOSTS = ["127.0.0.1"]  # of accounts, not of recipients
    connected: list[object] = []
    port = str(peer(connected.append).port)
    own = provider("apprise", "chat", secrets={"url": f"json://127.0.0.1:{port}/{{recipient}}"})
    assert own.outcome_of(message("chat", "127.0.0.1")).code != "private_address"
    assert len(connected) == 1
    chosen = provider("apprise", "chat", secrets={"url": f"json://{place.replace('PORT', port)}/"})
    outcome = chosen.outcome_of(message("chat", "127.0.0.1"))
    assert (outcome.result, outcome.code) == (Result.PERMANENT, "private_address")
    assert len(connected) == 1
