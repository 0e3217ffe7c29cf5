"""The HTTP client of all providers: its kept connections, and what it may send on them."""

import time

import pytest

from notifications.channels.http_client import HttpClient
from notifications.channels.outgoing import Reach
from notifications.core.errors import PermanentError, UnknownOutcome

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def client():
    client = HttpClient(reach=Reach.SETTINGS)
    yield client
    client.close()


def has_asked(connection):
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

    def __init__(self):
        self.requests = []

    def __call__(self, connection):
        for number in range(2):
            if not has_asked(connection):
                return
            self.requests.append(number)
            if not number:
                connection.sendall(OK)


def post(client, port, **options):
    return client.request("POST", f"http://127.0.0.1:{port}/", timeout=20, **options)


def test_what_a_kept_connection_took_before_it_broke_is_not_sent_again(client, peer):
    behaviour = Kept()
    port = peer(behaviour).port
    assert post(client, port, content=b"body").status == 200
    with pytest.raises(UnknownOutcome):
        post(client, port, content=b"body")
    assert len(behaviour.requests) == 2
    assert post(client, port, content=b"body").status == 200  # on a connection of its own


def test_a_connection_is_kept_for_the_next_request(client, peer):
    connections = []

    def behaviour(connection):
        connections.append(connection)
        while has_asked(connection):
            connection.sendall(OK)

    port = peer(behaviour).port
    for _ in range(3):
        assert post(client, port, content=b"body").body == b"ok"
    assert len(connections) == 1


def test_a_kept_connection_that_the_server_closed_is_replaced(client, peer):
    connections = []

    def behaviour(connection):
        connections.append(connection)
        has_asked(connection)
        connection.sendall(OK)

    port = peer(behaviour).port
    for _ in range(3):
        assert post(client, port, content=b"body").status == 200
        time.sleep(0.05)  # the end of the connection arrives
    assert len(connections) == 3


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
def test_a_header_with_a_line_break_is_refused(client, peer, value):
    with pytest.raises(PermanentError, match="line break"):
        post(client, peer(Kept()).port, content=b"body", headers={"X-One": value})
