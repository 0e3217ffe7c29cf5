"""The connections that a process needs, tried at its start."""

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from notifications.core import routing
from notifications.db import shared_state
from notifications.queueing import publisher
from scheduling.postgresql import patience


def meet_servers(**_: Any) -> None:
    """Connect each client at a start, and log which server does not do its work.

    The process starts all the same: a server that is merely out is waited for. Each waits for
    ``BROKER_TIMEOUT`` seconds at most.
    """
    try:
        publisher.depths([routing.JOBS_QUEUE])  # by kombu
        publisher.probe()
    except publisher.BrokerAway:
        pass  # logged by the publisher
    except Exception as error:  # noqa: BLE001 -- the boundary: whatever a client raises is said
        publisher.saw(error)
    if settings.REDIS_URL:
        with suppress(shared_state.SharedStateAway), shared_state.shared_state() as client:
            client.set(shared_state.key_of("probe"), "1", px=1000)


def bound_statements() -> None:
    """Have Postgres end what the web waits for too long; commands and tasks are not bound.

    A bound that the role or the address has stays. Behind PgBouncer, where sessions are shared,
    the web itself ends a statement that has taken too long.
    """
    patience.bound_calls(settings.WEB_STATEMENT_TIMEOUT)
    if settings.DATABASE_IS_POOLED:
        patience.bound_statements(settings.WEB_STATEMENT_TIMEOUT)
    else:
        connection_created.connect(_bound)
        connections.close_all()


def _bound(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for name, seconds in (
            ("lock_timeout", settings.WEB_LOCK_TIMEOUT),
            ("statement_timeout", settings.WEB_STATEMENT_TIMEOUT),
        ):
            cursor.execute(
                "SELECT set_config(%s, %s, false) WHERE current_setting(%s) = '0'",
                [name, f"{seconds * 1000:.0f}", name],
            )
