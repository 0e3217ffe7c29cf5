"""The form of a provider account: a field for each setting and each secret that its kind has."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from notifications.channels import kinds
from notifications.channels.base import Provider
from notifications.models import ProviderAccount

if TYPE_CHECKING:
    AccountBase = forms.ModelForm[ProviderAccount]
else:
    AccountBase = forms.ModelForm

SECRET = "A reference: env:SECRET_… or file:PATH."  # noqa: S105 -- a help text
_SUBJECT = re.compile(r"(\w+)(?=:| is missing)|There is no '(\w+)'")


class AccountForm(AccountBase):
    """What accounts of every kind have. A subclass of one kind has its settings and secrets."""

    own: Mapping[str, tuple[str, str]] = {}
    """A field of the kind → the column that it is kept in, and its name there."""

    new_kind = ""  # of an account that is not stored yet

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.instance.kind = self.instance.kind or self.new_kind
        for field, (column, name) in self.own.items():
            kept = getattr(self.instance, column)
            if isinstance(kept, Mapping) and name in kept:
                self.initial[field] = _as_text(kept[name])

    def clean(self) -> dict[str, Any]:
        """Gather the kind's fields in the columns that they are kept in."""
        cleaned: dict[str, Any] = super().clean() or {}
        if self.own:
            for column in ("settings", "secrets"):
                setattr(self.instance, column, self._gathered(cleaned, column))
        return cleaned

    def add_error(self, field: str | None, error: Any) -> None:
        """Lay what the account's own check says of a column beside the field that it names."""
        if not (isinstance(error, ValidationError) and hasattr(error, "error_dict")):
            super().add_error(field, error)
            return
        for column, messages in error.message_dict.items():
            for message in messages:
                beside = self._field_of(column, message)
                if beside not in self.errors:  # an empty one is told of once
                    super().add_error(beside, message)

    def _gathered(self, cleaned: Mapping[str, Any], column: str) -> dict[str, Any]:
        given = {
            name: cleaned.get(field, "")
            for field, (where, name) in self.own.items()
            if where == column
        }
        return {name: _read(name, text) for name, text in given.items() if text}

    def _field_of(self, column: str, message: str) -> str | None:
        if column in self.fields:
            return column
        named = _SUBJECT.match(message)
        wanted = (column, next(filter(None, named.groups()), "") if named else "")
        return next((field for field, where in self.own.items() if where == wanted), None)


def form_for(kind: str) -> type[AccountForm]:
    """Return the form of one kind; of one that is not installed it shows the columns as they are.

    Raises nothing: an unknown kind is refused by the account's own check.
    """
    try:
        provider = kinds.provider_class(kind)
    except kinds.UnknownKind:
        return AccountForm
    own: dict[str, tuple[str, str]] = {}
    fields: dict[str, forms.Field] = {}
    for column, names in _columns(provider).items():
        for name, text in names.items():
            field = f"{column}_{name}"
            own[field] = (column, name)
            is_optional = name in provider.optional or name in kinds.OF_ANY_KIND
            fields[field] = forms.CharField(
                label=name.replace("_", " ").capitalize(),
                required=not is_optional,
                help_text=f"{text} {SECRET}" if column == "secrets" else text,
                widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
            )
    channels = [(channel, channel) for channel in provider.channels]
    fields["channel"] = forms.ChoiceField(choices=channels, widget=UnfoldAdminSelectWidget)
    return type("AccountForm", (AccountForm,), {"own": own, **fields})


def own_fields(form: type[AccountForm], column: str) -> list[str]:
    """Return the fields of a column, those that must be filled first."""
    names = [field for field, (where, _) in form.own.items() if where == column]
    return sorted(names, key=lambda field: not form.base_fields[field].required)


def _columns(provider: type[Provider]) -> dict[str, Mapping[str, str]]:
    settings = {**provider.setting_names, **kinds.OF_ANY_KIND}
    return {"settings": settings, "secrets": provider.secret_names}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read(name: str, text: str) -> Any:
    """Read a list or an object as JSON, a number of connections as a number, all else as text."""
    if text[0] in "[{" or name in kinds.OF_ANY_KIND:
        try:
            return json.loads(text)
        except ValueError:
            return text  # its own check says what it should be
    return text


def kinds_by_channel(channels: Iterable[str]) -> dict[str, list[str]]:
    """Return the kinds that can be used for each channel."""
    by_channel: dict[str, list[str]] = {channel: [] for channel in channels}
    for kind in kinds.names():
        try:
            carried = kinds.provider_class(kind).channels
        except kinds.UnknownKind:
            continue
        for channel in carried:
            by_channel.setdefault(channel, []).append(kind)
    return {channel: names for channel, names in by_channel.items() if names}
