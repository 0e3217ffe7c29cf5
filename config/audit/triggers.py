"""Database triggers that keep the audit log as it was written, whichever way it is reached.

What prunes old entries says so to the database first, for its own transaction (``log.prune``).
On SQLite nothing refuses a DELETE: Django empties tables by it (``manage.py flush``).
"""

from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "config_auditentry"
REFUSAL = "the audit log is only ever added to"
MAY_PRUNE = "config.audit_prune"  # a parameter of the transaction


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE OR REPLACE FUNCTION config_audit_refuse() RETURNS trigger "
                "LANGUAGE plpgsql AS $$ BEGIN "
                "IF TG_OP <> 'UPDATE' AND current_setting("
                f"'{MAY_PRUNE}', true) = 'on' THEN RETURN OLD; END IF; "
                f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'check_violation'; END $$"
            )
            cursor.execute(
                f"CREATE TRIGGER config_audit_kept BEFORE UPDATE OR DELETE ON {TABLE} "
                "FOR EACH ROW EXECUTE FUNCTION config_audit_refuse()"
            )
            cursor.execute(
                f"CREATE TRIGGER config_audit_whole BEFORE TRUNCATE ON {TABLE} "
                "FOR EACH STATEMENT EXECUTE FUNCTION config_audit_refuse()"
            )
        else:
            cursor.execute(
                f"CREATE TRIGGER config_audit_kept BEFORE UPDATE ON {TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for name in ("config_audit_kept", "config_audit_whole"):
                cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {TABLE}")
            cursor.execute("DROP FUNCTION IF EXISTS config_audit_refuse()")
        else:
            cursor.execute("DROP TRIGGER IF EXISTS config_audit_kept")
