"""Whose a template is: a name is taken there, and nowhere else."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('templates_engine', '0003_tests_have_a_permission'),
    ]

    operations = [
        migrations.AddField(
            model_name='template',
            name='namespace',
            field=models.CharField(blank=True, db_default='', default='', help_text="The project that it belongs to. Empty: default. Names are unique per project.", max_length=60),
        ),
        migrations.AddConstraint(
            model_name='template',
            constraint=models.UniqueConstraint(fields=('namespace', 'name'), name='template_name_unique'),
        ),
        migrations.AlterField(
            model_name='template',
            name='name',
            field=models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('^[a-z0-9]+([._-][a-z0-9]+)*$', 'Use lower-case letters, digits, and . _ - between them, as in payment-receipt.')]),
        ),
    ]
