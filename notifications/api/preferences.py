"""Categories, and what recipients choose of them: for a page of preferences of one's own."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer
from pydantic import ConfigDict

from notifications.api.authentication import key_of, mine, world_of
from notifications.api.fields import BY_CHANNEL, CATEGORY_NAME, Input, Text, one_of
from notifications.api.json_schemas import either, some_of, text
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.api.recipients import Key, find
from notifications.core.errors import InvalidField
from notifications.models import Category, Consent, Recipient
from notifications.models.preference import CATEGORY
from notifications.models.recipient import ADDRESSED
from notifications.recipients import categories, preference_links, preferences
from notifications.recipients.categories import MARKETING, SECURITY
from notifications.recipients.preferences import Change, How

router = Router()  # below /recipients
category_router = Router()


MAY_BE_REFUSED = some_of(
    {"properties": {"required": {"const": False}, "name": {"not": {"const": SECURITY}}}},
    {
        "properties": {"required": {"const": True}, "name": {"not": {"const": MARKETING}}},
        "required": ["required"],
    },
)
"""Documents which of the standard categories can be refused, and which cannot."""


class CategoryIn(Input):
    """A category under its name. What is not named has its default."""

    model_config = ConfigDict(json_schema_extra=MAY_BE_REFUSED)

    name: str = Field(description="Like `weekly-report`.", json_schema_extra=CATEGORY_NAME)
    title: str = Field(
        "",
        description="What recipients read on the page of preferences.",
        json_schema_extra=text(categories.LONGEST_TITLE),
    )
    description: str = Field(
        "",
        description="What they get, in a sentence.",
        json_schema_extra=text(categories.LONGEST_DESCRIPTION),
    )
    required: bool = Field(default=False, description="It cannot be refused.")
    default: bool = Field(default=True, description="Recipients who have chosen nothing get it.")
    channel_defaults: dict[str, bool] = Field(
        {}, description="Channels with another default.", json_schema_extra=BY_CHANNEL
    )


class CategoryOut(Schema):
    """A category as it stands."""

    name: str
    title: str
    description: str
    required: bool
    default: bool
    channel_defaults: dict[str, bool]


class ChoiceIn(Input):
    """One choice. At least one of `category` and `channel` is named, be it as empty."""

    model_config = ConfigDict(
        json_schema_extra=some_of({"required": ["category"]}, {"required": ["channel"]})
    )

    category: str = Field(
        "",
        description='All that can be refused where it is empty or not named: `"category": ""` '
        "alone is all on every channel, one that they get later included.",
        max_length=50,
        json_schema_extra={"pattern": either(CATEGORY)},
    )
    channel: str = Field(
        "",
        description="Every channel where it is empty or not named.",
        max_length=20,
        json_schema_extra=one_of(("", *ADDRESSED)),
    )
    granted: bool | None = Field(description="`null`: the default holds again.")


class ChoicesIn(Input):
    """What a recipient chooses, and the text that they read."""

    choices: list[ChoiceIn] = Field(min_length=1, max_length=200)
    text: Text = Field("", description="The text that they agreed to.", max_length=2000)


class PreferenceOut(Schema):
    """What a recipient gets of one category."""

    category: str
    title: str
    description: str
    required: bool
    channels: dict[str, bool] = Field(description="By channel, whether it is sent.")


class PreferencesOut(Schema):
    """What a recipient gets."""

    preferences: list[PreferenceOut]
    choices: dict[str, dict[str, bool]] = Field(
        description="What was chosen, by category and channel; empty names mean all."
    )
    url: str = Field(description="Their page of preferences; empty where PUBLIC_URL is not set.")


class ConsentOut(Schema):
    """One change of what a recipient has chosen."""

    category: str
    channel: str
    granted: bool | None
    means: str
    source: str
    text: str
    created_at: datetime


@category_router.get("", response=list[CategoryOut], summary="List all")
def list_categories(request: HttpRequest) -> list[Any]:
    """List the categories, the standard ones too."""
    return list(categories.of(world_of(request)).values())


@category_router.post("", response={201: CategoryOut, 200: CategoryOut}, summary="Save one")
def save_category(request: HttpRequest, payload: CategoryIn) -> Answer[Category]:
    """Save a category: 201 for a new name, 200 for one that is replaced."""
    row = Category(**world_of(request).columns, **payload.model_dump())
    return Answer(201 if categories.save(row) else 200, row)


@category_router.delete("/{name}", response={204: None}, summary="Delete one")
def delete_category(request: HttpRequest, name: Text) -> Answer[None]:
    """Delete a category of the project's own; a standard one is as it was again.

    What names it and waits is held back by no choice any more.
    """
    rows = mine(Category.objects.all(), request)
    if not rows.filter(name=name).delete()[0]:
        raise Problem("not-found", f"There is no category {name[:50]!r} to delete.")
    categories.forget()
    return Answer(204, None)


@router.get("/{id}/preferences", response=PreferencesOut, summary="What they get")
def get_preferences(request: HttpRequest, id: Key) -> dict[str, Any]:  # noqa: A002 -- the path's own name
    """Return what a recipient gets, by category and channel."""
    return _document(find(request, id))


@router.post("/{id}/preferences", response=PreferencesOut, summary="Choose")
def set_preferences(request: HttpRequest, id: Key, payload: ChoicesIn) -> dict[str, Any]:  # noqa: A002 -- as above
    """Write what a recipient has chosen, with the text that they read, to the history as well."""
    recipient = find(request, id)
    for number, choice in enumerate(payload.choices):
        if choice.model_fields_set.isdisjoint(("category", "channel")):
            raise InvalidField(
                "Name a category or a channel.",
                field=f"choices.{number}.category",
                hint='"category": "" is all that can be refused.',
            )
    changes = [Change(**choice.model_dump()) for choice in payload.choices]
    preferences.check(changes, recipient.world)
    how = How(Consent.Means.API, f"API key {key_of(request).prefix}", payload.text)
    preferences.choose(recipient, changes, how)
    return _document(recipient)


@router.get("/{id}/consent", response=Page[ConsentOut], summary="The history of consent")
def list_consent(request: HttpRequest, id: Key, paging: Query[Paging]) -> dict[str, Any]:  # noqa: A002 -- as above
    """List each change of what a recipient has chosen, the newest first."""
    page, cursor = cut(find(request, id).consents.all(), paging, int)
    return {"items": page, "next_cursor": cursor}


def _document(recipient: Recipient) -> dict[str, Any]:
    kinds = categories.of(recipient.world).values()
    return {
        "preferences": [
            {
                "category": kind.name,
                "title": kind.title,
                "description": kind.description,
                "required": kind.required,
                "channels": {
                    channel: not preferences.held_by(kind, channel, recipient.choices)
                    for channel in ADDRESSED
                },
            }
            for kind in kinds
        ],
        "choices": recipient.choices,
        "url": preference_links.url(recipient.world, recipient.key),
    }
