"""A run notes when its latest step began."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0047_throttles'),
    ]

    operations = [
        migrations.AddField(
            model_name='chainrun',
            name='going_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
