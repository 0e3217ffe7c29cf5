"""A batch of mails that share one attachment, beside the same batch without it.

How quickly it is accepted, and by how much the tables grow.
"""

import time
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty

MAILS = 100_000
ATTACHMENT = 200_000  # bytes
TABLES = (
    "notifications_notification",
    "notifications_mailcontent",
    "notifications_attachment",
    "notifications_mailcontent_attachments",
)


def prepare_pace(stage: Stage) -> Callable[[], Sample]:
    def play() -> Sample:
        ours, _ = _accept(stage, attached=True)
        floor, _ = _accept(stage, attached=False)
        return Sample(ours=MAILS / ours, floor=MAILS / floor)

    return play


def prepare_growth(stage: Stage) -> Callable[[], Sample]:
    def play() -> Sample:
        _, ours = _accept(stage, attached=True)
        _, floor = _accept(stage, attached=False)
        return Sample(ours=ours / MAILS, floor=floor / MAILS)

    return play


def _accept(stage: Stage, *, attached: bool) -> tuple[float, int]:
    """Accept a batch; return the seconds that it took, and the bytes that the tables grew by."""
    from django.db import connections

    from notifications.models import Attachment, MailContent, Notification
    from notifications.submission import send_many

    empty(stage)
    MailContent.objects.all().delete()
    Attachment.objects.all().delete()
    content = bytes(range(256)) * (ATTACHMENT // 256)
    files: dict[str, Any] = (
        {"attachments": [{"filename": "offer.pdf", "content": content}]} if attached else {}
    )
    rows = ({"recipient": f"user{n}@example.org"} for n in range(MAILS))
    before = _size(connections["default"])
    started = time.perf_counter()
    send_many(rows, channel="email", subject="Offer", body="See the offer.", **files)
    seconds = time.perf_counter() - started
    grown = _size(connections["default"]) - before
    if Notification.objects.count() != MAILS:
        raise RuntimeError("Not every mail was accepted.")
    return seconds, grown


def _size(connection: BaseDatabaseWrapper) -> int:
    with connection.cursor() as cursor:
        sizes = " + ".join(f"pg_total_relation_size('{table}')" for table in TABLES)
        cursor.execute(f"SELECT {sizes}")
        return int(cursor.fetchone()[0])


PACE = Benchmark(
    title=f"{MAILS:,} mails with one shared attachment of 200 kB, accepted",
    floor_title="the same batch without it",
    unit="/s",
    prepare=prepare_pace,
    target=">= 1,667/s",
)
GROWTH = Benchmark(
    title=f"bytes a row of {MAILS:,} mails with one shared attachment of 200 kB",
    floor_title="the same batch without it",
    unit=" B",
    prepare=prepare_growth,
    target="<= 1.2 x",
)
