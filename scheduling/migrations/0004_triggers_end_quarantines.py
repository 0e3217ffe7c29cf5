from django.db import migrations

from scheduling import triggers


def install(apps, schema_editor):
    triggers.install(schema_editor.connection)


class Migration(migrations.Migration):
    """Any change that may mend a schedule is noted, and so ends its quarantine."""

    dependencies = [("scheduling", "0003_worker_processes")]

    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
