"""The order in which a process asks its queues, as ``queue_order_strategy`` names it to kombu.

Apart from ``worker_slots``, which has models: ``celery inspect``, ``status``, ``control`` and
``purge`` open a channel, too, and load no apps of Django.
"""

from typing import Any

from django.apps import apps
from kombu.utils.scheduling import round_robin_cycle


def fair_order() -> Any:
    """Return the order of a channel: by shares in a worker, in turn in a command of Celery."""
    if not apps.ready:
        return round_robin_cycle()
    from notifications.queueing import worker_slots  # noqa: PLC0415 -- see above

    return worker_slots.fair_order()
