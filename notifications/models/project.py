"""Projects: who shares this system without seeing each other."""

from typing import ClassVar, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from notifications.core.world import DEFAULT_PROJECT, World

M = TypeVar("M", bound=models.Model)

NAME = RegexValidator(
    r"^[a-z0-9]+([._-][a-z0-9]+)*\Z", "Use lower-case letters, digits, and . _ - between them."
)
LONGEST_NAME = 50


class Project(models.Model):
    """A project beside ``default``, which is always there and has no row.

    Rows carry its name, so it is never renamed or deleted.
    """

    name = models.CharField(max_length=LONGEST_NAME, unique=True, validators=[NAME])
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse the name of the project that is always there."""
        if self.name == DEFAULT_PROJECT:
            raise ValidationError({"name": f"The project {DEFAULT_PROJECT} always exists."})


def project_column(*, editable: bool = False) -> "models.CharField[str, str]":
    """Make the column that says whose a row is; forms choose it only where it is editable."""
    return models.CharField(
        max_length=LONGEST_NAME,
        default=DEFAULT_PROJECT,
        db_default=DEFAULT_PROJECT,
        editable=editable,
        help_text="The project that it belongs to.",
    )


def within(rows: "models.QuerySet[M]", world: World | None) -> "models.QuerySet[M]":
    """Narrow rows to what acts for a world may see; a project sees its own tests, too.

    Without a world everything is left: who looks is of no project.
    """
    if world is None:
        return rows
    rows = rows.filter(project=world.project)
    return rows.filter(test=True) if world.test else rows
