"""Templates: what they are for, which version is live, and where a new one starts."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from templates_engine import conf
from templates_engine.admin.pages import action, answer, display, to, user_of
from templates_engine.errors import TemplateError
from templates_engine.models import Status, Template, TemplateVersion
from templates_engine.parts import locales_of
from templates_engine.publishing import create_version, delete_unused, draft_from, withdraw
from templates_engine.starters import SAMPLE, starter

if TYPE_CHECKING:
    TemplateBase = forms.ModelForm[Template]
else:
    TemplateBase = forms.ModelForm

NEW_VERSION_DIALOG = {
    "title": "Start a new version?",
    "description": "The new version is a draft: a copy of the live version, or of the latest if "
    "none is live.",
    "form_submit_text": "Start it",
}
WITHDRAW_DIALOG = {
    "title": "Archive this template?",
    "description": "Nothing new is sent with it. What was accepted before is sent as it was "
    "written. Roll back to one of its versions to use it again.",
    "form_submit_text": "Archive it",
}
STATUS_LABELS = {Status.DRAFT: "info", Status.PUBLISHED: "success", Status.ARCHIVED: "warning"}


def _channels() -> list[tuple[str, str]]:
    return [(name, name) for name in conf.channels()]


class TemplateForm(TemplateBase):
    """What a template is for."""

    channel = forms.ChoiceField(
        choices=_channels,
        widget=UnfoldAdminSelectWidget,
        help_text="It cannot be changed later: it decides which parts there are.",
    )

    class Meta:
        model = Template
        fields = ("namespace", "name", "channel", "category", "description")
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 3})}
        help_texts = {
            "name": "The name that callers use, like payment-receipt.",
            "category": "A marketing template is not sent to people who have unsubscribed; "
            "a transactional one is.",
        }


class VersionInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    """The versions, newest first, each a link."""

    model = TemplateVersion
    extra = 0
    can_delete = False
    if hasattr(TabularInline, "hide_title"):
        hide_title = True
    else:  # unfold 0.110, which the lock has for Python 3.12 and later
        show_title = False
    fields = (
        *("version", "state", "locales", "created_at", "created_by", "edited_by"),
        *("published_at", "published_by"),
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Version")
    def version(self, version: TemplateVersion) -> SafeString:
        page = reverse("admin:templates_engine_templateversion_change", args=[version.pk])
        return format_html('<a class="underline" href="{}">v{}</a>', page, version.number)

    @display(description="Status", label=STATUS_LABELS)
    def state(self, version: TemplateVersion) -> str:
        return version.status

    @display(description="Locales")
    def locales(self, version: TemplateVersion) -> str:
        return ", ".join(locales_of(version.variants))


@admin.register(Template)
class TemplateAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """One that was never published may be deleted; notifications may be pinned to others."""

    form = TemplateForm
    fields = ("namespace", "name", "channel", "category", "description")
    list_display = ("name", "namespace", "channel", "category", "live", "description", "updated_at")
    list_filter = ("channel", "category", "namespace")
    search_fields = ("name", "description")
    inlines = (VersionInline,)
    actions_detail = ("new_version", "withdraw")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Template]:
        """With the versions, but without their content."""
        rows: QuerySet[Template] = super().get_queryset(request)
        versions = TemplateVersion.objects.only("template", "number", "status")
        return rows.prefetch_related(Prefetch("versions", versions))

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> tuple[type, ...]:
        """Show versions where there can be any."""
        return self.inlines if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep the name, which callers use, whose it is, and the channel: it decides the parts."""
        return ("namespace", "name", "channel") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Not from the list: whether one was ever published is asked of each.
        if obj is None or obj.versions.exclude(status=Status.DRAFT).exists():
            return False
        return bool(super().has_delete_permission(request, obj))

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> tuple[Any, ...]:
        """Return the template with its drafts, which go with it."""
        templates = list(objs)
        drafts = TemplateVersion.objects.filter(template__in=templates).count()
        counts = {"templates": len(templates), "drafts": drafts}
        return [str(template) for template in templates], counts, set(), []

    def delete_model(self, request: HttpRequest, obj: Template) -> None:
        """Delete it, unless a version was published meanwhile."""
        if not delete_unused(obj):
            raise PermissionDenied

    def has_withdraw_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("templates_engine.publish_templateversion"):
            return False
        live = TemplateVersion.objects.filter(status=Status.PUBLISHED)
        return object_id is None or live.filter(template=object_id).exists()

    @action(description="Archive", icon="archive", permissions=["withdraw"], dialog=WITHDRAW_DIALOG)
    def withdraw(self, request: HttpRequest, _form: BaseDialogForm, object_id: int) -> HttpResponse:
        template = Template.objects.get(pk=object_id)
        page = reverse("admin:templates_engine_template_change", args=[object_id])
        if not withdraw(template):
            return answer(request, page, "Nothing of it is published.", failed=True)
        self.log_change(request, template, "Archived.")
        return answer(request, page, f"{template} is archived: nothing new is sent with it.")

    def has_new_version_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("templates_engine.add_templateversion"))

    @display(description="Published")
    def live(self, template: Template) -> str:
        numbers = [
            version.number
            for version in template.versions.all()
            if version.status == Status.PUBLISHED
        ]
        return f"v{numbers[0]}" if numbers else "-"

    def response_add(
        self, request: HttpRequest, obj: Template, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Go on to write the first version."""
        if self.has_new_version_permission(request) and "_addanother" not in request.POST:
            return self._to_draft(request, obj)
        response: HttpResponse = super().response_add(request, obj, post_url_continue)
        return response

    @action(
        description="New version",
        icon="add",
        permissions=["new_version"],
        dialog=NEW_VERSION_DIALOG,
    )
    def new_version(
        self, request: HttpRequest, _form: BaseDialogForm, object_id: int
    ) -> HttpResponse:
        where = self._to_draft(request, Template.objects.get(pk=object_id)).headers["Location"]
        return to(request, where)

    def _to_draft(self, request: HttpRequest, template: Template) -> HttpResponse:
        """Start from the version that is live, else from the latest, else from a starter."""
        try:
            draft = draft_from(template, by=user_of(request)) or create_version(
                template, starter(template.channel), sample_context=SAMPLE, by=user_of(request)
            )
        except TemplateError as error:
            self.message_user(request, f"{error} {error.hint}", "error")
            return redirect("admin:templates_engine_template_change", template.pk)
        self.log_change(request, template, f"Started version {draft.number}.")
        return redirect("admin:templates_engine_templateversion_change", draft.pk)
