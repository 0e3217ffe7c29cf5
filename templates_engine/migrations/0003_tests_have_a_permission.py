"""A permission of its own for sending a test of a version."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("templates_engine", "0002_published_versions_stay")]

    operations = [
        migrations.AlterModelOptions(
            name="templateversion",
            options={
                "ordering": ["template_id", "-number"],
                "permissions": [
                    ("publish_templateversion", "Can publish a version or roll back to one"),
                    ("test_templateversion", "Can send a test of a version"),
                ],
            },
        ),
    ]
