"""Templates, their immutable versions, and the layouts and partials that they are built from."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.validators import RegexValidator
from django.db import models, transaction

from templates_engine import parts
from templates_engine.errors import VersionImmutable

if not apps.is_installed("templates_engine"):  # Django would not say what to add
    raise ImproperlyConfigured('INSTALLED_APPS lacks templates_engine: add "templates_engine".')

NAME = RegexValidator(
    r"^[a-z0-9]+([._-][a-z0-9]+)*$",
    "Use lower-case letters, digits, and . _ - between them, as in payment-receipt.",
)


class Category(models.TextChoices):
    """Why the recipient gets it: what they did, or what somebody wants to sell."""

    TRANSACTIONAL = "transactional"
    MARKETING = parts.MARKETING


class Template(models.Model):
    """What a caller names: a channel's content under one name, through all of its versions."""

    namespace = models.CharField(
        max_length=60,
        blank=True,
        default="",
        db_default="",
        help_text="The project that it belongs to. Empty: default. Names are unique per project.",
    )
    name = models.CharField(max_length=100, validators=[NAME])
    channel = models.CharField(max_length=32)
    category = models.CharField(
        max_length=16, choices=Category.choices, default=Category.TRANSACTIONAL
    )
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["namespace", "name"], name="template_name_unique")
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Partial(models.Model):
    """A layout (``extends``) or a partial (``include``), shared by templates.

    A version takes a copy when it is published, so an edit here reaches only later versions.
    """

    name = models.CharField(max_length=100, unique=True, validators=[NAME])
    source = models.TextField()
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        verbose_name = "layout or partial"
        verbose_name_plural = "layouts and partials"

    def __str__(self) -> str:
        return self.name


class Status(models.TextChoices):
    """A version's state, and who moves it on."""

    DRAFT = "draft"  # editable; publish() moves it on
    PUBLISHED = (
        "published"  # what new notifications get; the next publish() or roll_back() archives it
    )
    ARCHIVED = "archived"  # was published once; roll_back() brings it back


ASKED = models.Q(status=Status.DRAFT, asked_by__isnull=False)
"""Drafts that an author asks a colleague to publish."""

# What publishing freezes. Only the status and its dates may change afterwards.
CONTENT_FIELDS = (
    "template_id",
    "number",
    "variants",
    "sample_context",
    "context_schema",
    "compiled",
    "required",
    "checksum",
)


class VersionQuerySet(models.QuerySet["TemplateVersion"]):
    """Refuses the bulk edits that would go round the immutability of a published version."""

    def update(self, **fields: Any) -> int:
        """Update rows; content fields only of drafts.

        Raises: VersionImmutable.
        """
        if not fields.keys().isdisjoint({*CONTENT_FIELDS, "template"}):
            _refuse_if_frozen(self.exclude(status=Status.DRAFT))
        return super().update(**fields)

    def bulk_update(
        self,
        objs: Iterable["TemplateVersion"],
        fields: Iterable[str],
        batch_size: int | None = None,
    ) -> int:
        """Update many; content fields only of drafts.

        Raises: VersionImmutable.
        """
        rows = list(objs)
        fields = list(fields)
        if not {*CONTENT_FIELDS, "template"}.isdisjoint(fields):
            ids = [row.pk for row in rows]
            _refuse_if_frozen(self.filter(pk__in=ids).exclude(status=Status.DRAFT))
        return super().bulk_update(rows, fields, batch_size)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete drafts.

        Raises: VersionImmutable, as notifications may be pinned to what was published.
        """
        _refuse_if_frozen(self.exclude(status=Status.DRAFT))
        return super().delete()


def _refuse_if_frozen(frozen: models.QuerySet["TemplateVersion"]) -> None:
    first = frozen.select_related("template").first()
    if first is not None:
        raise VersionImmutable(
            f"{first} was published and keeps its content.", hint="Make a new draft from it."
        )


class TemplateVersion(models.Model):
    """One state of a template's content. A draft is editable; once published it never changes.

    Its authors are ``created_by`` and ``edited_by``, the person who saved it last. ``asked_by`` has
    asked a colleague to publish it as it is.

    ``variants`` is what the author wrote, ``{locale: {part: source}}``; ``compiled`` is the same
    with layouts and partials merged in, CSS inlined and the text part made, as it is rendered.
    """

    template = models.ForeignKey(Template, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DRAFT)
    variants = models.JSONField(default=dict)
    sample_context = models.JSONField(default=dict, blank=True)
    context_schema = models.JSONField(null=True, blank=True)
    compiled = models.JSONField(default=dict, editable=False)
    required = models.JSONField(default=list, editable=False)
    checksum = models.CharField(max_length=64, editable=False, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    published_at = models.DateTimeField(null=True, blank=True, editable=False)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["template_id", "-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["template", "number"], name="version_number_unique"),
            models.UniqueConstraint(
                fields=["template"],
                condition=models.Q(status="published"),
                name="one_published_version",
            ),
        ]
        permissions: ClassVar = [
            ("publish_templateversion", "Can publish a version or roll back to one"),
            ("test_templateversion", "Can send a test of a version"),
        ]

    def __str__(self) -> str:
        return f"{self.template.name} v{self.number}"

    def save(self, *args: Any, **options: Any) -> None:
        """Store the row.

        Raises: VersionImmutable when it would change content that was published.
        """
        with transaction.atomic():
            if self.pk is not None:
                self._refuse_new_content()
            super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        """Delete a draft.

        Raises: VersionImmutable, as notifications may be pinned to what was published.
        """
        _refuse_if_frozen(TemplateVersion.objects.filter(pk=self.pk).exclude(status=Status.DRAFT))
        return super().delete(*args, **options)

    def _refuse_new_content(self) -> None:
        # Locked, as somebody may be publishing what is being saved.
        frozen = TemplateVersion.objects.exclude(status=Status.DRAFT).filter(pk=self.pk)
        before = frozen.select_for_update().values(*CONTENT_FIELDS).first()
        if before is None:
            return
        changed = any(getattr(self, name) != value for name, value in before.items())
        if changed or self.status == Status.DRAFT:
            _refuse_if_frozen(frozen)
