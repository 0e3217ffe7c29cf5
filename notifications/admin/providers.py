"""Provider accounts, limits and suppressions: what an operator sets, and history he reads."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from notifications.admin import account_form, disclosure
from notifications.admin.base import InfinitePaginator, answer, who, with_dialog
from notifications.admin.project import ProjectFilter
from notifications.channels import kinds
from notifications.core import routing
from notifications.core.attempt import Result
from notifications.core.errors import InvalidNotification
from notifications.core.masking import without_addresses
from notifications.models import AccountRule, ProviderAccount, RateLimit, Scope, Suppression
from notifications.operations import account_probes, account_tests, holds
from notifications.providers import health
from notifications.recipients import spellings, suppressions


class TestDialog(BaseDialogForm):  # type: ignore[misc]  # unfold has no types
    """Whom the test goes to."""

    recipient = forms.CharField(max_length=2000, widget=UnfoldAdminTextInputWidget)


class HoldDialog(BaseDialogForm):  # type: ignore[misc]  # as above
    """Why it is held."""

    reason = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget)


PROBE_DIALOG = {
    "title": "Probe this account now?",
    "description": "One waiting message is sent by it. If that succeeds, the others follow; "
    "if not, its circuit stays open.",
    "form_submit_text": "Probe",
}
HOLD_DIALOG = {
    "title": "Hold this account?",
    "description": "Nothing is sent by it until it is released; other accounts take over.",
    "form_class": HoldDialog,
    "form_submit_text": "Hold",
}
RELEASE_DIALOG = {"title": "Release this account?", "form_submit_text": "Release"}


class RuleInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    """What the account is for; without a rule, for everything of its channel."""

    model = AccountRule
    extra = 0


@admin.register(ProviderAccount)
class ProviderAccountAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """Accounts at providers. Secrets are references to where they are kept."""

    list_display = ("name", "channel", "kind", "enabled", "weight", "rate_limit")
    list_filter = ("channel", "enabled")
    search_fields = ("name",)
    inlines = (RuleInline,)
    actions_detail = ("send_test", "probe", "hold", "release_account")
    readonly_fields = ("kind", "created_at", "updated_at")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Ask for the kind first: it decides which fields there are."""
        if request.GET.get("kind") in kinds.names() or not self.has_add_permission(request):
            added: HttpResponse = super().add_view(request, form_url, extra_context)
            return added
        context = {
            **self.admin_site.each_context(request),
            "title": "Which kind of account?",
            "opts": self.opts,
            "kinds": account_form.kinds_by_channel(routing.CHANNELS),
        }
        return TemplateResponse(request, "notifications/admin/account_kinds.html", context)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: Any = None, **options: Any
    ) -> Any:
        """Return the form of the account's kind."""
        form = account_form.form_for(_kind(request, obj))
        made = super().get_form(request, obj, bool(change), **options | {"form": form})
        if obj is None:
            made.new_kind = _kind(request, obj)
        return made

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what every account has, and what its kind has."""
        form = account_form.form_for(_kind(request, obj))
        raw = [] if form.own else ["settings", "secrets"]
        settings, secrets = (
            account_form.own_fields(form, part) for part in ("settings", "secrets")
        )
        shown = [
            (None, {"fields": ["name", "kind", "channel", "enabled", *raw]}),
            ("Settings", {"fields": settings}),
            ("Secrets", {"fields": secrets}),
            ("How much it sends", {"fields": ["weight", "rate_limit"]}),
        ]
        if obj is not None:
            shown.append(("History", {"fields": ["created_at", "updated_at"]}))
        return [(title, options) for title, options in shown if options["fields"]]

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer a probe if the circuit is open, and to hold or to release."""
        offered: list[Any] = super().get_actions_detail(request, object_id)
        name = ProviderAccount.objects.filter(pk=object_id).values_list("name", flat=True).first()
        held = holds.in_force().filter(scope=Scope.ACCOUNT, value=name).exists()
        is_open = bool(name and health.healths([name])[name].open_until)
        hidden = {"hold" if held else "release_account", *([] if is_open else ["probe"])}
        return [action for action in offered if action.path not in hidden]

    def has_probe_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("notifications.add_hold"))

    @with_dialog("Probe now", "probe", "vital_signs", PROBE_DIALOG)
    def probe(self, request: HttpRequest, _form: BaseDialogForm, object_id: int) -> HttpResponse:
        row = ProviderAccount.objects.get(pk=object_id)
        if not account_probes.probe_now(row.name):
            return answer(request, _page(row), "Its circuit is closed: it is in use.", failed=True)
        self.log_change(request, row, "Asked for a probe.")
        return answer(request, _page(row), "The next message that waits for it probes it.")

    @with_dialog("Hold", "probe", "pause_circle", HOLD_DIALOG)
    def hold(self, request: HttpRequest, form: HoldDialog, object_id: int) -> HttpResponse:
        row = ProviderAccount.objects.get(pk=object_id)
        why = form.cleaned_data["reason"]
        held = holds.hold(Scope.ACCOUNT, row.name, reason=why, by=who(request))
        self.log_change(request, held, f"Held {row.name}: {why}")
        return answer(request, _page(row), "Held: nothing more is sent by it until it is released.")

    @with_dialog("Release", "probe", "play_circle", RELEASE_DIALOG)
    def release_account(
        self, request: HttpRequest, _form: BaseDialogForm, object_id: int
    ) -> HttpResponse:
        row = ProviderAccount.objects.get(pk=object_id)
        if not holds.release(Scope.ACCOUNT, row.name):
            return answer(request, _page(row), "It was not held.", failed=True)
        self.log_change(request, row, "Released.")
        return answer(request, _page(row), "Released.")

    def has_send_test_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("notifications.change_provideraccount"))

    @with_dialog(
        "Send a test",
        "send_test",
        "send",
        {
            "title": "Send a test",
            "description": "This account sends it, as it is saved, even if it is disabled; to "
            "your own address, or to one that TEST_RECIPIENTS lists.",
            "form_class": TestDialog,
            "form_submit_text": "Send",
        },
    )
    def send_test(self, request: HttpRequest, form: TestDialog, object_id: int) -> HttpResponse:
        row = ProviderAccount.objects.get(pk=object_id)
        where = _page(row)
        try:
            outcome = account_tests.send_test(row, form.cleaned_data["recipient"], who(request))
        except InvalidNotification as error:
            return answer(request, where, str(error), failed=True)
        sent = outcome.result is Result.SENT
        self.log_change(request, row, f"Sent a test: {outcome.result} {outcome.code}".strip())
        said = " ".join(filter(None, (f"{outcome.result}.", outcome.code, outcome.detail)))
        return answer(request, where, said.capitalize(), failed=not sent)


def _page(row: ProviderAccount) -> str:
    return reverse("admin:notifications_provideraccount_change", args=[row.pk])


def _kind(request: HttpRequest, account: ProviderAccount | None) -> str:
    return account.kind if account else request.GET.get("kind", "")


@admin.register(RateLimit)
class RateLimitAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """Limits per recipient and per template."""

    list_display = ("scope", "channel", "template", "rate")


class SuppressionForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A recipient whom somebody suppresses; one that is suppressed already stays so."""

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        recipient = suppressions.comparable(data["channel"], data["recipient"])
        same = {"channel": data["channel"], "recipient": recipient, "scope": data["scope"]}
        values = {name: getattr(self.instance, name) for name in ("project", "test", "account")}
        if Suppression.objects.filter(**same, **values, lifted_at=None).exists():
            self.add_error("recipient", "It is suppressed already.")
        return data


@admin.register(Suppression)
class SuppressionAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """Who must not be written to. One is lifted, never deleted: it stays as history."""

    form = SuppressionForm
    paginator = InfinitePaginator
    show_full_result_count = False
    list_display = ("to", "channel", "scope", "reason", "project", "created_at", "lifted_at")
    list_filter = ("channel", "reason", "scope", ProjectFilter)
    search_fields = ("=recipient",)
    search_help_text = "The recipient, in any form in which it is written."
    actions = ("lift",)

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Suppression]", search_term: str
    ) -> "tuple[QuerySet[Suppression], bool]":
        """Find a recipient however it is written, also one of which a hash is kept."""
        if term := search_term.strip():
            queryset = queryset.filter(suppressions.whose(spellings.of(term)))
        return queryset, False

    def get_fields(self, request: HttpRequest, obj: Suppression | None = None) -> Any:
        """Show of the recipient what may be seen; a new one is typed."""
        recipient = "to" if obj else "recipient"
        return ("channel", recipient, "scope", "reason", "said" if obj else "detail")

    def get_readonly_fields(self, request: HttpRequest, obj: Suppression | None = None) -> Any:
        return ("to", "said") if obj else ()

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Suppression]":
        return disclosure.noted(super().get_queryset(request), request)

    @admin.display(description="Recipient")
    def to(self, suppression: Suppression) -> str:
        return disclosure.address(suppression, suppression.recipient)

    @admin.display(description="Detail")
    def said(self, suppression: Suppression) -> str:
        """Return a provider's words without addresses."""
        return without_addresses(suppression.detail)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_suppression"))

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: Any) -> None:
        obj.recipient = suppressions.comparable(obj.channel, obj.recipient)
        obj.created_by_id = who(request).pk
        obj.source = "admin"
        super().save_model(request, obj, form, change)

    @admin.action(description="Lift: allow sending to these recipients again", permissions=["lift"])
    def lift(self, request: HttpRequest, chosen: "QuerySet[Suppression]") -> None:
        in_force = list(chosen.filter(lifted_at__isnull=True))
        lifted = suppressions.lift(in_force, by=who(request))
        for suppression in in_force:
            self.log_change(request, suppression, "Lifted.")
        self.message_user(request, f"Lifted {lifted}.")
