from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    """Let the history hold a refusal of everything on every channel."""

    dependencies: ClassVar = [("notifications", "0038_chains_indexed")]

    operations: ClassVar = [
        migrations.RemoveConstraint(model_name="consent", name="consent_says_to_what"),
    ]
