"""The database's clock, as a process keeps it: how long it takes to connect is not a part of it."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connection

from notifications.db import clock
from scheduling.clock import database_now

CONNECTING = 1.0  # seconds that the door keeps everybody waiting


@pytest.fixture
def slow_door(transactional_db: None) -> Iterator[None]:
    """Connections to the database take a second; what follows does not."""
    inside = dict(connection.settings_dict)
    listening = socket.create_server(("127.0.0.1", 0))
    door = threading.Thread(
        target=_let_in, args=(listening, (inside["HOST"], int(inside["PORT"]))), daemon=True
    )
    door.start()
    connection.close()
    connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": listening.getsockname()[1]}
    yield
    connection.close()
    connection.settings_dict |= inside
    listening.close()


def _let_in(listening: socket.socket, where: tuple[str, int]) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:  # closed
            return
        time.sleep(CONNECTING)
        server = socket.create_connection(where)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_the_server_gives_up_a_client_that_vanished_as_early_as_we_a_server(
    transactional_db: None,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting FROM pg_settings WHERE name ~ 'tcp_(keepalives|user)' ORDER BY 1"
        )
        assert dict(cursor.fetchall()) == {
            "tcp_keepalives_count": "3",
            "tcp_keepalives_idle": "3",
            "tcp_keepalives_interval": "2",
            "tcp_user_timeout": "9000",
        }


def test_the_time_that_it_takes_to_connect_does_not_set_it_wrong(
    slow_door: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_anchor", None)
    before, kept, after = clock.now(), database_now(), clock.now()
    assert abs((before + (after - before) / 2 - kept).total_seconds()) < CONNECTING / 4
