"""Audiences: saved filters over recipients, counted and previewed."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Path, Query, Router, Schema
from ninja import Status as Answer

from notifications.api.authentication import mine, world_of
from notifications.api.fields import CATEGORY_NAME, Input, Text, Whole
from notifications.api.json_schemas import text
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.audiences import saved
from notifications.models import Audience

router = Router()

Name = Annotated[Text, Path(max_length=50, description="The audience's name.")]


class AudienceIn(Input):
    """An audience under its name."""

    name: str = Field(
        description="Like `gold-customers`.",
        json_schema_extra=CATEGORY_NAME | {"not": {"const": saved.RESERVED}},
    )
    description: str = Field(
        "", description="What it is for.", json_schema_extra=text(saved.LONGEST_DESCRIPTION)
    )
    filter: dict[str, Any] = Field(
        description='`{"field": …, "op": …, "value": …}`, or such inside `and`, `or` and `not`.'
    )


class FilterIn(Input):
    """A filter that is not saved."""

    filter: dict[str, Any] = Field(description="As in an audience.")
    limit: Whole = Field(saved.SHOWN, ge=0, le=saved.MOST_SHOWN, description="Recipients shown.")


class AudienceOut(Schema):
    """An audience as it stands."""

    name: str
    test: bool = Field(description="Whether a test key saved it, so that it has tests' recipients.")
    description: str
    filter: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class Matching(Schema):
    """A recipient that matches."""

    id: str
    locale: str
    timezone: str
    country: str


class AudiencePreviewOut(Schema):
    """Who matches a filter now."""

    count: int = Field(description="How many recipients match.")
    recipients: list[Matching] = Field(description="Some of them, in no order.")


class PreviewQuery(Schema):
    """How many to show."""

    limit: int = Field(saved.SHOWN, ge=0, le=saved.MOST_SHOWN, description="Recipients shown.")


@router.get("", response=Page[AudienceOut], summary="List, newest first")
def list_audiences(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """List the saved audiences."""
    page, cursor = cut(mine(Audience.objects.all(), request), paging, int)
    return {"items": page, "next_cursor": cursor}


@router.post("", response={201: AudienceOut, 200: AudienceOut}, summary="Save one")
def save_audience(request: HttpRequest, payload: AudienceIn) -> Answer[Audience]:
    """Save an audience: 201 for a new name, 200 for one that is replaced."""
    row = Audience(**world_of(request).columns, **payload.model_dump())
    return Answer(201 if saved.save(row) else 200, row)


@router.post("/preview", response=AudiencePreviewOut, summary="Try a filter")
def preview_filter(request: HttpRequest, payload: FilterIn) -> saved.Preview:
    """Count who matches a filter, and show some of them, without saving it."""
    return saved.preview(payload.filter, world_of(request), payload.limit)


@router.get("/{name}", response=AudienceOut, summary="Get one")
def get_audience(request: HttpRequest, name: Name) -> Audience:
    """Return an audience."""
    return _find(request, name)


@router.get("/{name}/preview", response=AudiencePreviewOut, summary="Count its recipients now")
def preview_audience(request: HttpRequest, name: Name, query: Query[PreviewQuery]) -> saved.Preview:
    """Count who is in an audience now, and show some of them."""
    row = _find(request, name)
    return saved.preview(row.filter, row.world, query.limit)


@router.delete("/{name}", response={204: None}, summary="Delete one")
def delete_audience(request: HttpRequest, name: Name) -> Answer[None]:
    """Delete an audience. A batch that has begun goes on; a schedule of it fails."""
    _find(request, name).delete()
    return Answer(204, None)


def _find(request: HttpRequest, name: str) -> Audience:
    """Return an audience that a request sees: a project sees its own tests'.

    Raises ``Problem`` 404.
    """
    row = mine(Audience.objects.filter(name=name), request).order_by("test").first()
    if row is None:
        raise Problem("not-found", f"There is no audience {name[:50]!r}.")
    return row
