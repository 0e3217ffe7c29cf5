"""Statistics of tables that grew at once, by which Postgres chooses how to read them.

Autovacuum takes them within a minute, where it is not busy. Until then a connection goes on with
what it planned while the table was small: to read all of it.
"""

import structlog
from django.db import Error, connection, models

from notifications.db import dialect

log = structlog.get_logger(__name__)


def renew(*grown: type[models.Model]) -> None:
    """Analyze those of these tables that are more than twice as large as when they were analyzed.

    Postgres only, and outside a transaction: other connections plan anew once it is committed. A
    table that is being analyzed or vacuumed is passed over. A failure is logged, for what made
    the tables grow is done.
    """
    if connection.vendor != "postgresql":
        return
    names = [model._meta.db_table for model in grown]
    try:
        found = dialect.all_of(
            "SELECT relname::text FROM pg_class WHERE oid IN"
            " (SELECT name::regclass FROM unnest(%s::text[]) AS name)"
            " AND pg_relation_size(oid) > 2 * relpages * current_setting('block_size')::bigint",
            [names],
        )
        if found:
            tables = ", ".join(connection.ops.quote_name(name) for (name,) in found)
            with connection.cursor() as cursor:
                cursor.execute(f"ANALYZE (SKIP_LOCKED) {tables}")
    except Error as error:
        log.warning("tables_not_analyzed", tables=names, error=type(error).__name__)
