from django.db import migrations

from scheduling import triggers


def install(apps, schema_editor):
    triggers.install(schema_editor.connection)
    triggers.note_every_task(schema_editor.connection)


def remove(apps, schema_editor):
    triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0001_schedules_and_fires")]

    operations = [migrations.RunPython(install, remove)]
