"""How a version comes to be, goes live, and is gone back to."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from templates_engine import catalog
from templates_engine.building import Build, Draft, build
from templates_engine.conf import rendering_settings
from templates_engine.context_schema import check_schema
from templates_engine.errors import NeedsColleague, VersionImmutable, VersionNotFound
from templates_engine.models import Status, Template, TemplateVersion
from templates_engine.partials import partials_reached_from
from templates_engine.parts import DEFAULT_LOCALE, Sources, Variants

Builder = Callable[[Draft], Build]


def create_version(
    template: Template,
    parts: Sources | None = None,
    *,
    variants: Variants | None = None,
    sample_context: dict[str, Any] | None = None,
    context_schema: dict[str, Any] | None = None,
    by: User | None = None,
    builder: Builder = build,
) -> TemplateVersion:
    """Store a new draft. ``parts`` are the default locale's sources, ``variants`` those of others.

    Raises: InvalidTemplate.
    """
    sources = {**({DEFAULT_LOCALE: parts} if parts else {}), **(variants or {})}
    with transaction.atomic():
        version = TemplateVersion(
            template=template,
            number=_next_number(template),
            variants=sources,
            sample_context=sample_context or {},
            context_schema=context_schema,
            created_by=by,
        )
        prepare(version, builder)
        version.save()
    return version


def draft_from(template: Template, by: User | None = None) -> TemplateVersion | None:
    """Copy the published version, else the latest, to a new draft; None if there is none.

    It is not checked again here: what a layout's change has broken is for the draft to repair.
    """
    live = template.versions.filter(status=Status.PUBLISHED).first()
    origin = live or template.versions.first()
    if origin is None:
        return None
    with transaction.atomic():
        number = _next_number(template)
        return TemplateVersion.objects.create(
            template=template,
            number=number,
            variants=origin.variants,
            sample_context=origin.sample_context,
            context_schema=origin.context_schema,
            compiled=origin.compiled,
            required=origin.required,
            checksum=origin.checksum,
            created_by=by,
        )


def _next_number(template: Template) -> int:
    """Call it in a transaction: the template's row is locked, so that no two get the same."""
    Template.objects.select_for_update().get(pk=template.pk)
    last: int = template.versions.aggregate(last=Max("number"))["last"] or 0
    return last + 1


def prepare(version: TemplateVersion, builder: Builder = build) -> None:
    """Work out what is derived from the author's sources, refusing what could not be sent.

    Raises: InvalidTemplate.
    """
    built = builder(draft_of(version))
    version.compiled = built.compiled
    version.required = built.required
    version.checksum = built.checksum


def draft_of(version: TemplateVersion) -> Draft:
    """Collect what a version is built from, with the layouts and partials as they are now."""
    return Draft(
        template_name=version.template.name,
        channel=version.template.channel,
        category=version.template.category,
        variants=version.variants,
        partials=partials_reached_from(
            source for sources in version.variants.values() for source in sources.values()
        ),
        sample_context=version.sample_context,
        context_schema=version.context_schema,
        **rendering_settings(),
    )


def publish(
    version: TemplateVersion,
    by: User | None = None,
    builder: Builder = build,
    *,
    needs_colleague: bool = False,
) -> TemplateVersion:
    """Freeze a draft and make it what new notifications get.

    Raises: InvalidTemplate; VersionImmutable when it was published before; NeedsColleague when
    one is needed, and ``by`` is nobody or an author of it.
    """
    with transaction.atomic():
        Template.objects.select_for_update().get(pk=version.template_id)
        version.refresh_from_db()
        if version.status != Status.DRAFT:
            is_live = version.status == Status.PUBLISHED
            raise VersionImmutable(
                f"{version} was published already"
                + (", and is what new notifications get." if is_live else "."),
                hint="" if is_live else "Roll back to it instead.",
            )
        if needs_colleague and (
            by is None or by.pk in (version.created_by_id, version.edited_by_id)
        ):
            raise NeedsColleague(
                "The author of a version may not publish it.",
                hint="Let a colleague check and publish it: its page has the button “Ask a "
                "colleague”.",
            )
        version.published_by = by
        prepare(version, builder)
        _go_live(version)
    return version


def roll_back(template: Template, to_number: int, by: User | None = None) -> TemplateVersion:
    """Make an archived version the published one again.

    Raises: VersionNotFound when the template has no archived version of this number;
    InvalidTemplate when it is so old that its context schema is not supported any more.
    """
    with transaction.atomic():
        Template.objects.select_for_update().get(pk=template.pk)
        version = template.versions.filter(number=to_number, status=Status.ARCHIVED).first()
        if version is None:
            raise VersionNotFound(
                f"Template {template.name!r} has no archived version {to_number}.",
                hint="You can only roll back to a version that was live before.",
            )
        check_schema(version.context_schema)
        _go_live(version)
    return version


def withdraw(template: Template) -> bool:
    """Archive what is published: nothing new is sent with the template until a version is live.

    Notifications that were accepted keep their version. Returns False if nothing was published.
    """
    with transaction.atomic():
        Template.objects.select_for_update().get(pk=template.pk)
        live = template.versions.filter(status=Status.PUBLISHED)
        withdrawn = live.update(status=Status.ARCHIVED)
        transaction.on_commit(partial(catalog.forget, template.name, template.namespace))
    return bool(withdrawn)


def delete_unused(template: Template) -> bool:
    """Delete a template with its drafts; False if a version of it was ever published."""
    with transaction.atomic():
        Template.objects.select_for_update().get(pk=template.pk)
        if template.versions.exclude(status=Status.DRAFT).exists():
            return False
        template.versions.all().delete()
        template.delete()
    return True


def _go_live(version: TemplateVersion) -> None:
    template = version.template
    live = TemplateVersion.objects.filter(template=version.template_id, status=Status.PUBLISHED)
    live.update(status=Status.ARCHIVED)
    version.status = Status.PUBLISHED
    version.published_at = timezone.now()
    version.save()
    transaction.on_commit(partial(catalog.forget, template.name, template.namespace))
