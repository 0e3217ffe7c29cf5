"""On SQLite, too, a published version is not deleted by plain SQL."""

from django.db import migrations

from templates_engine import triggers


def _install(_apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        triggers.install(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("templates_engine", "0004_namespaces")]

    operations = [migrations.RunPython(_install, migrations.RunPython.noop)]
