"""Stored recipients: found by their id or an address, and saved as the API saves them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from notifications.admin import disclosure
from notifications.admin.base import PAGE, InfinitePaginator, who
from notifications.admin.project import FormOfOne, FormOfProject, ProjectFilter
from notifications.core.errors import InvalidField, InvalidNotification
from notifications.core.masking import mask, without_addresses
from notifications.core.world import World
from notifications.models import Category, Consent, Recipient
from notifications.recipients import categories, directory, preferences, spellings
from notifications.recipients.preferences import EVERY_CHANNEL, Change, How

VERIFIED = "verified"  # at the end of an address's line
ALL = "*"  # in a line of choices
GRANTED = {"yes": True, "no": False}
SHOWN = 100  # changes of consent that a page lists


class RecipientForm(FormOfProject):
    """A recipient, checked as the API checks it."""

    merged = ("chosen",)  # of which only what the operator has changed is saved

    addresses = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}),
        help_text="One per line: the channel, the address and, if it is verified, the word "
        "verified, "
        "like: email ada@example.org verified.",
    )

    chosen = forms.CharField(
        label="Choices",
        required=False,
        show_hidden_initial=True,  # so that what was chosen since the page was opened stays
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="One per line: the category, the channel, yes or no, like: marketing email no. "
        "An asterisk (*) means all. Delete a line to go back to the default.",
    )

    class Meta:
        model = Recipient
        fields = ("project", "key", *directory.COLUMNS)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk:
            lines = [
                f"{address.channel} {address.address}{' verified' * address.verified}"
                for address in self.instance.addresses.all()
            ]
            self.fields["addresses"].initial = "\n".join(lines)
            self.fields["chosen"].initial = self._chosen

    @property
    def _chosen(self) -> str:
        return "\n".join(
            f"{category or ALL} {channel or ALL} {'yes' if granted else 'no'}"
            for category, of_category in self.instance.choices.items()
            for channel, granted in of_category.items()
        )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        try:
            directory.check(self.given(data))
            world = self.instance.world if self.instance.pk else World(data["project"], test=False)
            if not self.instance.pk and directory.is_known(data["key"], world=world):
                raise InvalidField(
                    "A recipient with this id exists already: change that one.", field="id"
                )
            preferences.check(self.changes(data), world)
        except InvalidNotification as error:
            field = error.field.partition(".")[0]
            names = {"id": "key", "choices": "chosen"}
            self.add_error(names.get(field, field), _where(error))
        return data

    def changes(self, data: dict[str, Any]) -> list[Change]:
        """Return what the operator has changed of the lines that the page showed.

        A line as it was says nothing: they may have chosen otherwise since the page was opened.
        Raises ``InvalidField``.
        """
        written = _lines(data.get("chosen", ""))
        shown = _lines(self.data.get(self.add_initial_prefix("chosen"), self._chosen))
        changed = {of: granted for of, granted in written.items() if shown.get(of) is not granted}
        gone: dict[tuple[str, str], bool | None] = dict.fromkeys(shown.keys() - written.keys())
        # What is chosen for every channel would replace the lines beside it.
        broad = {category for category, channel in changed if channel == EVERY_CHANNEL}
        beside = {of: granted for of, granted in written.items() if of[0] in broad}
        return [Change(*of, granted) for of, granted in {**gone, **beside, **changed}.items()]

    def given(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return what the form says, as a request of the API does. Raises ``InvalidField``."""
        columns = {name: data[name] for name in directory.COLUMNS if name in data}
        columns["attributes"] = columns["attributes"] or {}
        key = self.instance.key if self.instance.pk else data.get("key", "")
        addresses: dict[str, list[dict[str, Any]]] = {}
        if self.instance.pk:  # a channel of which no line is left has no address any more
            addresses = {address.channel: [] for address in self.instance.addresses.all()}
        for number, line in enumerate(data.get("addresses", "").splitlines(), 1):
            channel, _, text = line.strip().partition(" ")
            if not channel:
                continue
            words = text.strip()
            verified = words.endswith(f" {VERIFIED}")
            address = words.removesuffix(VERIFIED).strip() if verified else words
            if not address:
                raise InvalidField(f"Line {number} has no address.", field="addresses")
            addresses.setdefault(channel, []).append({"address": address, "verified": verified})
        return {"id": key, "addresses": addresses, **columns}


def _lines(text: str) -> dict[tuple[str, str], bool]:
    """Read choices by category and channel. Raises ``InvalidField``."""
    wanted: dict[tuple[str, str], bool] = {}
    for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
        words = line.split()
        if len(words) != 3 or words[2] not in GRANTED:
            raise InvalidField(f"Line {number} must look like: marketing email no.", field="chosen")
        category, channel = ("" if word == ALL else word for word in words[:2])
        wanted[category, channel] = GRANTED[words[2]]
    return wanted


def _where(error: InvalidNotification) -> str:
    """Say which address is meant, where it is one of several."""
    _, _, place = error.field.partition(".")
    return f"{place.replace('.', ' ')}: {error}" if place else str(error)


@admin.register(Recipient)
class RecipientAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Whom the projects write to."""

    form = RecipientForm
    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = PAGE
    list_display = ("shown_key", "project", "test", "locale", "timezone", "reached", "created_at")
    list_filter = ("test", ProjectFilter)
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("=key",)
    search_help_text = "The id, or an address."
    readonly_fields = (
        *("shown_key", "shown_addresses", "test", "history", "created_at", "updated_at"),
    )
    own = ("locale", "timezone", "country", "attributes", "addresses", "chosen")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Recipient]":
        rows: QuerySet[Recipient] = super().get_queryset(request)
        return disclosure.noted(rows, request).prefetch_related("addresses")

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Recipient]", search_term: str
    ) -> "tuple[QuerySet[Recipient], bool]":
        """Find a recipient by its whole id or by one of its addresses, however it is written."""
        if term := search_term.strip():
            forms_ = Q(addresses__address__in=spellings.of(term))
            queryset = queryset.filter(Q(key=term) | forms_).distinct()
        return queryset, False

    def get_fieldsets(self, request: HttpRequest, obj: Recipient | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("key", "project", *self.own)}),)
        times = ("History", {"fields": ("history", "created_at", "updated_at")})
        if not disclosure.may_see(request):
            seen = ("shown_key", "test", "locale", "timezone", "country", "shown_addresses")
            return ((None, {"fields": seen}), times)
        return ((None, {"fields": ("shown_key", "test", *self.own)}), times)

    @admin.display(description="Id")
    def shown_key(self, recipient: Recipient) -> str:
        is_open = disclosure.is_open(recipient)
        return recipient.key if is_open else without_addresses(recipient.key)

    @admin.display(description="Addresses")
    def reached(self, recipient: Recipient) -> str:
        """Name the channels, with how many addresses each has."""
        channels = [address.channel for address in recipient.addresses.all()]
        return ", ".join(
            f"{name} ({channels.count(name)})" if channels.count(name) > 1 else name
            for name in dict.fromkeys(channels)
        )

    @admin.display(description="Addresses")
    def shown_addresses(self, recipient: Recipient) -> str:
        masked = [
            f"{address.channel} {mask(address.address)}" for address in recipient.addresses.all()
        ]
        return ", ".join(masked) or disclosure.HIDDEN

    @admin.display(description="Consent")
    def history(self, recipient: Recipient) -> SafeString | str:
        """Return a line for each change of what they have chosen, the newest first."""
        lines = [
            (
                f"{consent.created_at:%Y-%m-%d %H:%M} UTC",
                f"{consent.category or 'everything'} {consent.channel}",
                {True: "agreed", False: "refused", None: "the default again"}[consent.granted],
                f"{consent.means} {consent.source}",
                without_addresses(consent.text),
            )
            for consent in recipient.consents.order_by("-pk")[:SHOWN]
        ]
        return format_html_join(SafeString("<br>"), "{}: {} {} ({}) {}", lines) if lines else "-"

    def save_model(self, request: HttpRequest, obj: Recipient, form: Any, change: Any) -> None:
        """Save it as the API does; the project of a new one is chosen, and stays."""
        world = World(obj.project, obj.test)
        changes = form.changes(form.cleaned_data)
        saved = directory.save(form.given(form.cleaned_data), world=world)
        if not change and not saved.created:  # the form is checked anew, and says so
            raise IntegrityError("A recipient of this id was saved meanwhile.")
        row = directory.get(obj.key, world=world)
        how = How(Consent.Means.ADMIN, who(request).get_username())
        preferences.choose(row, changes, how)
        obj.pk = row.pk


class CategoryForm(FormOfOne):
    """A category, checked as the API checks it."""

    known_by = ("name",)

    class Meta:
        model = Category
        fields = ("project", "name", *categories.FIELDS)

    def clean_channel_defaults(self) -> dict[str, Any]:
        """Return none where the field is empty."""
        return self.cleaned_data["channel_defaults"] or {}

    def check_row(self, row: Any) -> None:
        categories.check(row)


@admin.register(Category)
class CategoryAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """What recipients may refuse notifications as. The standard ones need no row."""

    form = CategoryForm
    list_display = ("name", "title", "project", "required", "default")
    list_filter = ("required", ProjectFilter)
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Category | None = None) -> Any:
        return ("name", "project") if obj else ()

    def save_model(self, request: HttpRequest, obj: Category, form: Any, change: Any) -> None:
        super().save_model(request, obj, form, change)
        categories.forget()
