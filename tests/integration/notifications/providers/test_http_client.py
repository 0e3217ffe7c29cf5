"""The HTTP client of all providers: its kept connections, and what it may send on them."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme

from notifications.channels.http_client import HttpClient
from notifications.channels.outgoing import Reach
from notifications.core.errors import PermanentError, TransientError, UnknownOutcome
from tests.servers.process import wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


SPEND = """
import json, os, resource, sys
from notifications.channels.http_client import HttpClient
from notifications.channels.outgoing import Reach
from notifications.core.errors import TransientError
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
client = HttpClient(reach=Reach.SETTINGS)
url, others = sys.argv[1], sys.argv[2:]
for other in others:
    client.request("POST", other, timeout=20, content=b"body")
spent = []
try:
    while True:
        spent.append(os.dup(0))
except OSError:
    pass
print(client.request("POST", url, timeout=20, content=b"body").status)
client.close()
try:
    while True:
        spent.append(os.dup(0))
except OSError:
    pass
try:
    client.request("POST", url, timeout=20, content=b"body")
except TransientError as error:
    print(error.code, error.local)
"""


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient(reach=Reach.SETTINGS)
    yield client
    client.close()


def has_asked(connection: Any) -> bool:
    """Read a request to the end of its body."""
    asked = b""
    while not asked.endswith(b"body"):
        some = connection.recv(65536)
        if not some:
            return False
        asked += some
    return True


class Kept:
    """Answers one request of each connection, and closes it when it has read the next."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def __call__(self, connection: Any) -> None:
        for number in range(2):
            if not has_asked(connection):
                return
            self.requests.append(number)
            if not number:
                connection.sendall(OK)


def post(client: HttpClient, port: int, **options: Any) -> Any:
    return client.request("POST", f"http://127.0.0.1:{port}/", timeout=20, **options)


def test_what_a_kept_connection_took_before_it_broke_is_not_sent_again(
    client: HttpClient, peer: Callable[..., Any]
) -> None:
    behaviour = Kept()
    port = peer(behaviour).port
    assert post(client, port, content=b"body").status == 200
    with pytest.raises(UnknownOutcome):
        post(client, port, content=b"body")
    assert len(behaviour.requests) == 2
    assert post(client, port, content=b"body").status == 200  # on a connection of its own


def test_a_connection_is_kept_for_the_next_request(
    client: HttpClient, peer: Callable[..., Any]
) -> None:
    connections = []

    def behaviour(connection: Any) -> None:
        connections.append(connection)
        while has_asked(connection):
            connection.sendall(OK)

    port = peer(behaviour).port
    for _ in range(3):
        assert post(client, port, content=b"body").body == b"ok"
    assert len(connections) == 1


def has_ended(port: int) -> bool:
    """Return whether the end of our connection to this port has arrived."""
    ours = psutil.Process().net_connections("tcp")
    return any(
        one.status == psutil.CONN_CLOSE_WAIT and one.raddr and one.raddr.port == port
        for one in ours
    )


def test_a_kept_connection_that_the_server_closed_is_replaced(
    client: HttpClient, peer: Callable[..., Any]
) -> None:
    connections = []

    def behaviour(connection: Any) -> None:
        connections.append(connection)
        has_asked(connection)
        connection.sendall(OK)

    port = peer(behaviour).port
    for _ in range(3):
        assert post(client, port, content=b"body").status == 200
        wait_until(lambda: has_ended(port))
    assert len(connections) == 3


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
def test_a_header_with_a_line_break_is_refused(
    client: HttpClient, peer: Callable[..., Any], value: str
) -> None:
    with pytest.raises(PermanentError, match="line break"):
        post(client, peer(Kept()).port, content=b"body", headers={"X-One": value})


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 099 What\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_final_leaves_the_outcome_open(
    client: HttpClient, peer: Callable[..., Any], answer: bytes
) -> None:
    def behaviour(connection: Any) -> None:
        has_asked(connection)
        connection.sendall(answer)

    with pytest.raises(UnknownOutcome):
        post(client, peer(behaviour).port, content=b"body")


def test_an_interim_answer_is_followed_by_the_final_one(
    client: HttpClient, peer: Callable[..., Any]
) -> None:
    def behaviour(connection: Any) -> None:
        has_asked(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)

    assert post(client, peer(behaviour).port, content=b"body").status == 200


def test_the_attempt_says_what_kept_a_connection_from_being_made(
    client: HttpClient, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def handshake() -> None:
            with suppress(OSError), context.wrap_socket(server.accept()[0], server_side=True):
                pass

        shaking = threading.Thread(target=handshake)
        shaking.start()
        with pytest.raises(TransientError, match="certificate") as caught:
            client.request("GET", f"https://127.0.0.1:{port}/", timeout=20)
        shaking.join()
    assert caught.value.code == "CertificateError"
    with pytest.raises(TransientError, match="refused the connection") as caught:
        client.request("GET", f"http://127.0.0.1:{port}/", timeout=20)
    assert caught.value.code == "ConnectError"
    with pytest.raises(TransientError, match="name was not found") as caught:
        client.request("GET", "http://nothing.invalid/", timeout=20)
    assert caught.value.code == "UnknownHost"


def test_a_process_without_a_descriptor_gives_up_kept_connections_and_blames_no_server(
    peer: Callable[..., Any],
) -> None:
    def behaviour(connection: Any) -> None:
        while has_asked(connection):
            connection.sendall(OK)

    run = subprocess.run(
        [
            sys.executable,
            "-c",
            SPEND,
            *(f"http://127.0.0.1:{peer(behaviour).port}/" for _ in "12345"),
        ],
        env={"DJANGO_SETTINGS_MODULE": "config.settings", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.stdout.split() == ["200", "NoDescriptors", "True"], run.stderr
    assert "Traceback" not in run.stderr
