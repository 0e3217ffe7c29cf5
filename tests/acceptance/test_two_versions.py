"""Two versions of the code on one database: the newer waits for its tables, the older goes on."""

import shutil
import sys
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port, wait_until
from tests.servers.processes import ROOT, Processes, RunningProcess, wait_for_http
from tests.servers.redis import RedisServer

BIN = Path(sys.executable).parent
PACKAGES = ("config", "notifications", "scheduling", "templates_engine")
FIELD = '    note_of_the_next = models.CharField(max_length=20, default="", db_default="")\n'
MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("notifications", "{before}")]
    operations = [
        migrations.AddField(
            "notification",
            "note_of_the_next",
            models.CharField(max_length=20, default="", db_default=""),
        )
    ]
"""
SUBMIT = """
from notifications.submission import send
send(channel="simulator", recipient="ada", body="Hello")
"""
STATES = (
    "SELECT n.status, count(a.id) FROM notifications_notification n"
    " LEFT JOIN notifications_attempt a ON a.notification_id = n.id"
    " GROUP BY n.id, n.status, n.created_at ORDER BY n.created_at"
)


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """The code of the next version, which has one more column."""
    folder = tmp_path / "next"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    shutil.copy(ROOT / "manage.py", folder)
    migrations = folder / "notifications" / "migrations"
    before = max(path.stem for path in migrations.glob("[0-9]*.py"))
    (migrations / "9000_next.py").write_text(MIGRATION.format(before=before))
    model = folder / "notifications" / "models" / "notification.py"
    text = model.read_text()
    place = text.index("    class Meta", text.index("class Notification("))
    model.write_text(text[:place] + FIELD + "\n" + text[place:])
    return folder


def test_new_code_waits_for_the_migration_and_old_code_goes_on_after_it(
    processes: Processes,
    redis_server: RedisServer,
    migrated_postgres_server: PostgresServer,
    next_version: Path,
) -> None:
    processes.env |= {
        "DATABASE_URL": migrated_postgres_server.url,
        "BROKER_URL": redis_server.url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    shell = ("python", "manage.py", "shell", "-v0", "-c")

    def start(name: str, *command: str, **env: str) -> RunningProcess:
        program = str(BIN / command[0])
        given = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', str(next_version), program, *command[1:])
        return processes.start(name, *given, PYTHONPATH=str(next_version), **env)

    def states() -> list[tuple[str, int]]:
        with psycopg.connect(migrated_postgres_server.url) as connection:
            return connection.execute(STATES).fetchall()

    # New code, old tables: nothing is taken, and each process says so once.
    new = [start(name, "celery", "-A", "config", name) for name in ("worker", "beat")]
    port = free_port()
    web = start(
        "web", "granian", "--interface", "wsgi", "config.wsgi:application", GRANIAN_PORT=str(port)
    )
    for process in new:
        process.wait_for_output("database_behind")
    assert wait_for_http(f"http://127.0.0.1:{port}/healthz/ready", web) == 503
    processes.run("submit", *shell, SUBMIT)
    assert states() == [("queued", 0)]

    # Old code still delivers beside it.
    old = processes.worker("-c", "1")
    wait_until(lambda: states() == [("sent", 1)])

    # The migration runs beside old code, which goes on with the new tables.
    migrate = start("migrate", "python", "manage.py", "migrate", "--no-input")
    assert migrate.wait() == 0, migrate.output()
    for process in new:
        process.wait_for_output("database_migrated")
        assert process.output().count("database_behind") == 1
    new[0].wait_for_output(" ready.")
    new[0].terminate()
    assert new[0].wait() == 0
    processes.run("submit", *shell, SUBMIT)
    wait_until(lambda: states() == [("sent", 1)] * 2)
    old.terminate()
    assert old.wait() == 0

    # New code on new tables.
    start("worker", "celery", "-A", "config", "worker", "-c", "1").wait_for_output(" ready.")
    processes.run("submit", *shell, SUBMIT)
    wait_until(lambda: states() == [("sent", 1)] * 3)
    assert [process.name for process in processes.started if process.first_traceback()] == []
