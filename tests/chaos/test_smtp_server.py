"""The SMTP server under harm: killed, and its database killed, while many clients send."""

import smtplib
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import psycopg

from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port
from tests.servers.processes import Processes

CLIENTS = 8
EACH = 40  # mails that are accepted before the next harm
SENDER = "shop@example.org"
MAIL = f"From: Shop <{SENDER}>\r\nSubject: Hello\r\n\r\nDear %s\r\n"


class Clients:
    """Programs that send mail after mail, each to a recipient of its own."""

    def __init__(self, port: int, token: str) -> None:
        self.accepted: list[str] = []
        self.unanswered: set[str] = set()
        self._port, self._token = port, token
        self._numbers = count()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def session(self) -> smtplib.SMTP:
        """Return a session that is logged in."""
        session = smtplib.SMTP("127.0.0.1", self._port, timeout=60)
        try:
            session.login("any name", self._token)
        except BaseException:
            # smtplib's error holds its session, so it would stay open, and the server has few.
            session.close()
            raise
        return session

    def _send(self) -> None:
        while not self._stopped.is_set():
            with suppress(smtplib.SMTPException, OSError), self.session() as session:
                while not self._stopped.is_set():
                    self._send_one(session)
            self._stopped.wait(0.05)

    def _send_one(self, session: smtplib.SMTP) -> None:
        recipient = f"user{next(self._numbers)}@example.org"
        self.unanswered.add(recipient)
        session.sendmail(SENDER, [recipient], MAIL % recipient)
        self.accepted.append(recipient)
        self.unanswered.remove(recipient)


def half_sent(session: smtplib.SMTP, number: int) -> None:
    """Hand over the beginning of a mail."""
    session.mail(SENDER)
    session.rcpt(f"half{number}@example.org")
    session.docmd("DATA")
    session.send(MAIL % "half")


def stored(url: str) -> Counter[str]:
    with psycopg.connect(url) as database:
        rows = database.execute("SELECT recipient FROM notifications_notification").fetchall()
    return Counter(recipient for (recipient,) in rows)


def test_a_mail_that_was_accepted_is_there_once_and_half_a_mail_is_not(
    migrated_postgres_server: PostgresServer, processes: Processes, wait_until: Callable[..., Any]
) -> None:
    port, database = free_port(), migrated_postgres_server
    processes.env |= {"DATABASE_URL": database.url, "OUTBOX": "1"}
    made = processes.run(
        "key", "python", "manage.py", "create_api_key", "legacy", "--scopes", "send"
    )
    token = next(word for word in made.split() if word.startswith("ntf_live_"))

    def serve() -> Any:
        server = processes.start("smtp", "python", "manage.py", "smtp_server", "--port", str(port))
        server.wait_for_output("SMTP on")
        return server

    server = serve()
    with Clients(port, token) as clients:

        def more_accepted() -> None:
            before = len(clients.accepted)
            wait_until(lambda: len(clients.accepted) >= before + EACH)

        def leave_halves(first: Any) -> None:
            for number in range(first, first + 3):
                session = clients.session()
                half_sent(session, number)
                halves.append(session)

        halves: list[smtplib.SMTP] = []
        more_accepted()
        leave_halves(0)
        server.kill()
        server = serve()
        more_accepted()
        leave_halves(3)
        database.kill()
        database.start()
        more_accepted()
        for session in halves:
            session.close()
    server.terminate()
    assert server.wait() == 0
    found = stored(database.url)
    assert Counter(clients.accepted) == {name: found[name] for name in clients.accepted}
    assert set(found) - set(clients.accepted) <= clients.unanswered
    assert max(found.values()) == 1
    assert not [name for name in found if name.startswith("half")]
