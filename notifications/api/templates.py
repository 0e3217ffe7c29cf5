"""Templates: write versions, preview them, publish one and go back to another."""

from datetime import datetime
from itertools import chain
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer
from pydantic import ConfigDict

from notifications.api.authentication import world_of
from notifications.api.contract import refuses
from notifications.api.fields import (
    CHANNEL,
    ChannelFilter,
    Input,
    Name,
    Number,
    Text,
    Whole,
    one_of,
)
from notifications.api.json_schemas import SOME, Json, either, some_of
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.core import routing
from notifications.core.errors import UnknownChannel
from templates_engine import conf, preview, publishing
from templates_engine.building import LOCALE
from templates_engine.isolated import build_isolated
from templates_engine.models import Category, Status, Template, TemplateVersion
from templates_engine.parts import DEFAULT_LOCALE, GENERIC_PARTS, PARTS

router = Router()

Sources = dict[str, str]


class TemplateIn(Input):
    """A template to be: its content comes as versions."""

    name: str = Field(
        min_length=1, max_length=100, pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", examples=["receipt"]
    )
    channel: str = Field(json_schema_extra=CHANNEL)
    category: str = Field("transactional", json_schema_extra=one_of(tuple(Category.values)))
    description: Text = ""


_SOME_PART: Json = {"minProperties": 1}
_PARTS: Json = {"propertyNames": {"enum": sorted({*chain(*PARTS.values()), *GENERIC_PARTS})}}
_VARIANTS: Json = {
    "propertyNames": {"pattern": either(LOCALE.pattern, DEFAULT_LOCALE)} | SOME,
    "additionalProperties": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        **_PARTS,
    },
}
_HAS_DEFAULT = some_of(
    {"properties": {"parts": {"type": "object", **_SOME_PART}}, "required": ["parts"]},
    {
        "properties": {
            "variants": {
                "type": "object",
                "properties": {DEFAULT_LOCALE: _SOME_PART},
                "required": [DEFAULT_LOCALE],
            }
        },
        "required": ["variants"],
    },
)
"""Documents that a version has something to send to whom none of its languages fits."""


class VersionIn(Input):
    """A version's content: `parts` for the default language, `variants` for others."""

    model_config = ConfigDict(json_schema_extra=_HAS_DEFAULT)

    parts: Sources | None = Field(
        None,
        description="Part → Jinja2 source; email: `subject`, `html`, `text`; sms: `text`.",
        examples=[{"subject": "Receipt {{ number }}", "text": "Dear {{ name }}"}],
        json_schema_extra=_PARTS,
    )
    variants: dict[str, Sources] | None = Field(
        None, description="Locale → its parts.", json_schema_extra=_VARIANTS
    )
    sample_context: dict[str, Any] | None = Field(None, description="For previews and checks.")
    context_schema: dict[str, Any] | None = Field(
        None, description="JSON Schema that every context must fit."
    )


class RollBackIn(Input):
    """Where to go back to."""

    version: Whole = Field(ge=1, le=2_147_483_647)


class PreviewIn(Input):
    """What to preview: by default the published version with its sample context."""

    context: dict[str, Any] | None = None
    locale: Text | None = Field(None, max_length=35)
    version: Whole | None = Field(None, ge=1, le=2_147_483_647)


class VersionSummary(Schema):
    """A version without its content."""

    number: int
    status: str = Field(json_schema_extra=one_of(tuple(Status.values)))
    required: list[str] = Field(description="The variables that a context must have.")
    created_at: datetime
    published_at: datetime | None


class VersionOut(VersionSummary):
    """A version as its author wrote it."""

    variants: dict[str, Sources]
    sample_context: dict[str, Any]
    context_schema: dict[str, Any] | None


class TemplateOut(Schema):
    """A template."""

    name: str
    channel: str
    category: str
    description: str
    created_at: datetime
    updated_at: datetime


class TemplateDetail(TemplateOut):
    """A template with its versions, the newest first."""

    versions: list[VersionSummary]

    @staticmethod
    def resolve_versions(row: Template) -> list[TemplateVersion]:
        """Read them without their content."""
        return list(row.versions.order_by("-number"))


class SmsOut(Schema):
    """What an SMS takes."""

    segments: int
    encoding: str


class PreviewOut(Schema):
    """What a recipient would see: part → text."""

    template_name: str
    number: int
    channel: str
    locale: str
    content: dict[str, Any]
    sms: SmsOut | None


class TemplateFilters(Paging):
    """Which templates."""

    channel: ChannelFilter = ""


@router.get("", response=Page[TemplateOut], summary="List templates, newest first")
def list_templates(request: HttpRequest, filters: Query[TemplateFilters]) -> dict[str, Any]:
    """List templates."""
    rows = _mine(request)
    if filters.channel:
        rows = rows.filter(channel=filters.channel)
    page, cursor = cut(rows, filters, int)
    return {"items": page, "next_cursor": cursor}


@router.post(
    "",
    response={201: TemplateDetail},
    openapi_extra=refuses(409),
    summary="Create a template",
)
def create_template(request: HttpRequest, payload: TemplateIn) -> Answer[Template]:
    """Create a template without a version; 409 if the name is taken."""
    if payload.channel not in routing.CHANNELS:
        raise UnknownChannel(
            f"There is no channel {payload.channel!r}.",
            field="channel",
            hint=f"Use one of: {', '.join(routing.CHANNELS)}.",
        )
    row = Template(namespace=world_of(request).namespace, **payload.model_dump())
    try:
        row.clean_fields()
        with transaction.atomic():
            row.save()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Problem("invalid-request", messages[0], field=field) from None
    except IntegrityError:
        raise Problem("conflict", f"There is a template {row.name!r}.", field="name") from None
    return Answer(201, row)


@router.get("/{name}", response=TemplateDetail, summary="Get a template")
def get_template(request: HttpRequest, name: Name) -> Template:
    """Return a template with its versions."""
    return _find(request, name)


@router.post("/{name}/versions", response={201: VersionOut}, summary="Write a version")
def create_version(request: HttpRequest, name: Name, payload: VersionIn) -> Answer[TemplateVersion]:
    """Store a draft, once it was checked for what could not be sent."""
    version = publishing.create_version(
        _find(request, name), **payload.model_dump(), builder=build_isolated
    )
    return Answer(201, version)


@router.get("/{name}/versions/{number}", response=VersionOut, summary="Get a version")
def get_version(request: HttpRequest, name: Name, number: Number) -> TemplateVersion:
    """Return a version with its content."""
    return _version(request, name, number)


@router.post(
    "/{name}/versions/{number}/publish",
    response=VersionOut,
    openapi_extra=refuses(409),
    summary="Publish a version",
)
def publish_version(request: HttpRequest, name: Name, number: Number) -> TemplateVersion:
    """Freeze a draft, and make it what new notifications get.

    409 if it was published before, or if people have to publish it (the two-person rule).
    """
    return publishing.publish(
        _version(request, name, number),
        builder=build_isolated,
        needs_colleague=conf.has_two_person_rule(),
    )


@router.post("/{name}/roll-back", response=VersionOut, summary="Go back to a version")
def roll_back_template(request: HttpRequest, name: Name, payload: RollBackIn) -> TemplateVersion:
    """Make a version that was published before the published one again."""
    return publishing.roll_back(_find(request, name), payload.version)


@router.post(
    "/{name}/preview",
    response=PreviewOut,
    openapi_extra=refuses(409),
    summary="Preview",
)
def preview_template(request: HttpRequest, name: Name, payload: PreviewIn) -> preview.Preview:
    """Render a version without sending it; 409 if none is published and none was named."""
    template = _find(request, name)
    version = _published(template) if payload.version is None else _named(template, payload.version)
    return preview.preview(version, payload.context, payload.locale)


def _mine(request: HttpRequest) -> "QuerySet[Template]":
    return Template.objects.filter(namespace=world_of(request).namespace)


def _find(request: HttpRequest, name: str) -> Template:
    row = _mine(request).filter(name=name).first()
    if row is None:
        raise Problem("not-found", f"There is no template {name!r}.")
    return row


def _version(request: HttpRequest, name: str, number: Number) -> TemplateVersion:
    versions = TemplateVersion.objects.select_related("template")
    row = versions.filter(template__in=_mine(request).filter(name=name), number=number).first()
    if row is None:
        raise Problem("not-found", f"There is no version {number} of a template {name!r}.")
    return row


def _named(template: Template, number: int) -> TemplateVersion:
    """Return the version that a body names; it is the body that is wrong if there is none."""
    row = template.versions.filter(number=number).first()
    if row is None:
        detail = f"There is no version {number} of this template."
        raise Problem("invalid-request", detail, field="version")
    return row


def _published(template: Template) -> TemplateVersion:
    row = template.versions.filter(status=Status.PUBLISHED).first()
    if row is None:
        raise Problem(
            "conflict", "None of its versions is published.", hint="Publish one, or name one."
        )
    return row
