"""What was published stays as it is, whichever way somebody writes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.utils import ConnectionHandler

from templates_engine import triggers
from templates_engine.models import Status, Template, TemplateVersion, VersionQuerySet
from templates_engine.publishing import create_version, publish, roll_back

pytestmark = pytest.mark.django_db

TABLE = triggers.TABLE
ATTACKS = [
    f"UPDATE {TABLE} SET compiled = '{{}}'",
    f"UPDATE {TABLE} SET variants = '{{}}', status = 'draft'",
    f"UPDATE {TABLE} SET status = 'draft'",
    f"UPDATE {TABLE} SET number = number + 100",
    f"UPDATE {TABLE} SET context_schema = '{{}}'",
    f"UPDATE {TABLE} SET checksum = 'x' WHERE status = 'archived'",
    f"DELETE FROM {TABLE}",
    f"DELETE FROM {TABLE} WHERE status = 'archived'",
]


@pytest.fixture
def versions() -> VersionQuerySet:
    template = Template.objects.create(name="receipt", channel="sms")
    for text in ("first", "second"):
        publish(create_version(template, {"text": text}))
    return template.versions.order_by("number")


def told(versions: VersionQuerySet) -> list[Any]:
    return [(v.number, v.status, v.compiled) for v in versions.all()]


@pytest.mark.parametrize("attack", ATTACKS)
def test_sql_changes_nothing_that_was_published(versions: VersionQuerySet, attack: str) -> None:
    before = told(versions)
    with (
        pytest.raises(DatabaseError, match="published keeps its content"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(attack)
    assert told(versions) == before


def test_no_way_of_django_goes_round_it(versions: VersionQuerySet) -> None:
    before = told(versions)
    everything = TemplateVersion.objects.all()
    first = versions.get(number=1)
    for attack in (
        everything.delete,
        lambda: everything.filter(status=Status.ARCHIVED)._raw_delete("default"),
        lambda: super(type(everything), everything).update(compiled={}),
        lambda: first.template.versions.all().delete(),
        lambda: TemplateVersion.objects.bulk_create(
            [TemplateVersion(pk=first.pk, template=first.template, number=1, compiled={"x": 1})],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["compiled"],
        ),
        lambda: TemplateVersion.objects.filter(pk=first.pk).update(status=Status.DRAFT),
        first.template.delete,
    ):
        with pytest.raises(Exception, match=r"publish|protected|referenced"), transaction.atomic():
            attack()
    assert told(versions) == before


def test_drafts_change_and_versions_go_live_and_back(versions: VersionQuerySet) -> None:
    template = versions.get(number=1).template
    draft = create_version(template, {"text": "third"})
    TemplateVersion.objects.filter(pk=draft.pk).update(sample_context={"a": 1})
    TemplateVersion.objects.filter(pk=draft.pk).delete()
    roll_back(template, 1)
    assert [v.status for v in versions.all()] == [Status.PUBLISHED, Status.ARCHIVED]


def test_the_triggers_can_be_taken_away_and_put_back(versions: VersionQuerySet) -> None:
    triggers.remove(connection)
    versions.filter(number=1)._raw_delete("default")
    triggers.install(connection)
    triggers.install(connection)
    with pytest.raises(DatabaseError), transaction.atomic():
        versions._raw_delete("default")


def test_sqlite_refuses_new_content_too(tmp_path: Path) -> None:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "db"}
    sqlite = ConnectionHandler({"default": database})["default"]
    with sqlite.schema_editor() as editor:
        editor.create_model(Template)
        editor.create_model(TemplateVersion)
    triggers.install(sqlite)
    sqlite.disable_constraint_checking()  # there are no other tables
    columns = "template_id, number, variants, sample_context, compiled, required, checksum"
    with sqlite.cursor() as cursor:
        for number, status in enumerate(("draft", "published", "archived"), start=1):
            cursor.execute(
                f"INSERT INTO {TABLE} ({columns}, status, created_at)"
                f" VALUES (1, {number}, '{{}}', '{{}}', '1', '[]', '', '{status}', 'now')"
            )
        for attack in ATTACKS:
            with pytest.raises(DatabaseError, match="published keeps its content"):
                cursor.execute(attack)
        cursor.execute(f"UPDATE {TABLE} SET compiled = '2' WHERE status = 'draft'")
        cursor.execute(f"UPDATE {TABLE} SET status = 'archived' WHERE status = 'published'")
        cursor.execute(f"DELETE FROM {TABLE} WHERE status = 'draft'")
    sqlite.close()


EMPTYING = """
import django
django.setup()
from django.core.management import call_command
from django.db import DatabaseError
from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import create_version, publish
call_command("migrate", "templates_engine", verbosity=0)
for _ in range(2):
    template = Template.objects.create(name="a", channel="sms")
    publish(create_version(template, {"text": "x"}))
    try:
        TemplateVersion.objects.all()._raw_delete("default")
    except DatabaseError as error:
        print(error)
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)
    print(TemplateVersion.objects.count(), "left")
"""


def test_a_sqlite_database_is_emptied_all_the_same(tmp_path: Path) -> None:
    """``manage.py flush`` means published versions, too; the triggers stand again after it."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'db'}", "VAR_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", EMPTYING],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"} | env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [triggers.REFUSAL, "0 left"] * 2
